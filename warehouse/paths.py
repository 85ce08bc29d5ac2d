"""Paths as users write them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .errors import BadInput


def local(text: str | Path) -> Path:
    """The path that is meant: `~` is the home folder, and `~x` a folder of that name where there is no user x. Raises
    `BadInput` for one that rows cannot hold."""
    return Path(utf8(os.path.expanduser(text)))


def utf8(text: str) -> str:
    """The text itself; raises `BadInput` where it is not UTF-8: Python has then put lone surrogates into it."""
    try:
        text.encode()
    except UnicodeEncodeError as e:
        locale = "" if sys.getfilesystemencoding() == "utf-8" else ", or this locale is not (LC_ALL=C.UTF-8 would be)"
        raise BadInput(f"{text!a} is not UTF-8{locale}: write or name it otherwise") from e
    return text
