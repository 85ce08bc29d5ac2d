"""A shelf is a folder in which one file is one thing and its name is the file's name.

Tables, sources, experiments, model families, findings and figures stand on shelves: to add one, add a file. A shelf is
a package; where its `__path__` holds further folders, their files stand on it too.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

from .errors import UnknownName


def names(package: str, suffix: str = ".py") -> list[str]:
    """The names on the shelf `package` (dotted), in alphabetical order."""
    return sorted(_files(package, suffix))


def take(package: str, name: str, kind: str) -> ModuleType:
    """The module `name` from the shelf `package`; `kind` is what a message calls such a thing."""
    if (taken := sys.modules.get(f"{package}.{name}")) and not name.startswith("_"):
        return taken  # without a look at the shelf
    known = names(package)
    if name not in known:
        raise UnknownName(kind, name, known)
    return importlib.import_module(f"{package}.{name}")


def text(package: str, name: str, suffix: str = ".py") -> str:
    """What stands in the file of the thing `name`, which is on the shelf."""
    return path(package, name, suffix).read_text(encoding="utf-8")


def path(package: str, name: str, suffix: str = ".py") -> Path:
    """The file of the thing `name`, which is on the shelf."""
    return _files(package, suffix)[name]


def _files(package: str, suffix: str) -> dict[str, Path]:
    """The files of the shelf by their things' names; of two of one name the one that Python would import."""
    folders = reversed(importlib.import_module(package).__path__)
    found = [f for folder in folders for f in Path(folder).glob(f"*{suffix}") if not f.name.startswith("_")]
    return {f.name.removesuffix(suffix): f for f in found}
