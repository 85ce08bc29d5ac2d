"""A shelf is a folder in which one file is one thing and its name is the file's name.

Tables, sources, experiments, model families, findings and figures stand on shelves: to add one, add a file.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from .errors import UnknownName


def names(package: str, suffix: str = ".py") -> list[str]:
    """The names on the shelf `package` (dotted), in alphabetical order."""
    return sorted(f.name.removesuffix(suffix) for f in folder(package).glob(f"*{suffix}") if not f.name.startswith("_"))


def take(package: str, name: str, kind: str) -> ModuleType:
    """The module `name` from the shelf `package`; `kind` is what a message calls such a thing."""
    known = names(package)
    if name not in known:
        raise UnknownName(kind, name, known)
    return importlib.import_module(f"{package}.{name}")


def folder(package: str) -> Path:
    """Where the files of the shelf lie."""
    return Path(importlib.import_module(package).__path__[0])
