"""The chapters of the report, as `chapters.toml` lists them."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

FILE = Path(__file__).with_suffix(".toml")
MORE = "More"  # the title over what is in no chapter


@dataclass(frozen=True)
class Chapter:
    """A chapter. names: of its sections, in order; first: of those whose sentences stand on the first screen."""

    title: str
    names: tuple[str, ...]
    first: tuple[str, ...] = ()

    @property
    def anchor(self) -> str:
        """What a link to it says; no name of a section is like it."""
        return "chapter-" + self.title.lower().replace(" ", "-")


def chapters() -> list[Chapter]:
    """All chapters of the file, in order."""
    listed = tomllib.loads(FILE.read_text(encoding="utf-8"))["chapter"]
    return [Chapter(c["title"], tuple(c["sections"]), tuple(c.get("first", ()))) for c in listed]


def arrange(names: Collection[str]) -> list[Chapter]:
    """These sections in the chapters that hold some of them; those that are in no chapter at the end, by name."""
    listed = chapters()
    rest = sorted(set(names).difference(*(chapter.names for chapter in listed)))
    kept = [replace(c, names=_among(c.names, names), first=_among(c.first, names)) for c in listed]
    return [chapter for chapter in (*kept, Chapter(MORE, tuple(rest))) if chapter.names]


def _among(names: Iterable[str], some: Collection[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name in some)
