"""What a source is: a file of `ingest/sources` whose class `Source` reads text or results from outside into the lake.

The fields of the class are its options. A source of documents inherits `ingest.documents.base.DocumentSource` and says
which files it reads (`inputs`), what stands in one of them (`read`) and what kind of text a domain holds
(`domain_class`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from memlake.warehouse import options, shelf
from memlake.warehouse.lake import Lake
from memlake.warehouse.work.cells import Cell

SHELF = "memlake.ingest.sources"
HEAD = 200  # bytes of a rejected record that are kept


@dataclass(frozen=True)
class Document:
    """One text. `source` is the file it stands in, relative to the root that was read; `position` its place there,
    from 0. Both together are unique within a corpus."""

    source: str
    position: int
    domain: str
    text: str


@dataclass(frozen=True)
class Reject:
    """One record that is not taken, and why; `head` is its first bytes, at most `HEAD`."""

    source: str
    position: int
    reason: str
    head: bytes


def nothing() -> None:
    """What most stages do before and after their cells."""


@dataclass(frozen=True)
class Stage:
    """Cells that may run at once, and what is done in this process before them and, if none of them failed, after them.
    Either may raise `BadInput`. The next stage begins when this one is done."""

    cells: Sequence[Cell] = ()
    before: Callable[[], None] = nothing
    after: Callable[[], None] = nothing


@dataclass(frozen=True)
class Reader:
    """The part of a source that runs on a worker: a frozen dataclass, whose fields are its options."""

    def __getstate__(self) -> dict[str, Any]:
        """What goes to the worker: the options, and not the list of all files, which is kept beside them."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}


class Source(Protocol):
    """What `ingest.run` asks of a source."""

    def validate(self, corpus: str | None) -> None:
        """Raise `BadInput` where there is nothing to read, or no usable `corpus`: before a lake is made for it."""

    def stages(self, lake: Lake, corpus: str | None, keep: int | None, strict: bool) -> Iterable[Stage]:
        """What is to be done, in this order: a stage is asked for when the one before is done. Raises `BadInput` where
        it takes no `keep`."""

    def report(self, lake: Lake, cells: Sequence[Cell]) -> list[str]:
        """What the cells left in the lake, as lines for the user."""


def source_class(name: str) -> Any:
    """The class of the source `name`; raises `UnknownName`."""
    return shelf.take(SHELF, name, "source").Source


def make(name: str, given: Mapping[str, Any]) -> Source:
    """The source `name` with these options; raises `UnknownName`, and `BadInput` for one that it does not take."""
    made: Source = options.make(source_class(name), given, f"source {name!r}")
    return made


def source_name(source: object) -> str:
    """The name of a source: that of its file."""
    return type(source).__module__.rpartition(".")[2]


def listing() -> pa.Table:
    """One row is one source."""
    rows = [{"source": name, "reads": description(name).splitlines()[0]} for name in shelf.names(SHELF)]
    return pa.Table.from_pylist(rows)


def description(name: str) -> str:
    """What a source says of itself; raises `UnknownName`."""
    return (shelf.take(SHELF, name, "source").__doc__ or "").strip()


def listed(counts: Sequence[tuple[str, object]]) -> str:
    """Counts within a line of a report: `github 12, arxiv 3`."""
    return ", ".join(f"{name} {n}" for name, n in counts)
