"""What a source is: a file of `ingest/sources` whose class `Source` reads text or results from outside into the lake.

The fields of the class are its options. A source of documents inherits `ingest.documents.DocumentSource` and says which
files it reads (`inputs`), what stands in one of them (`read`) and what kind of text a domain holds (`domain_class`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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


class Source(Protocol):
    """What `ingest.run` asks of a source."""

    def look(self, corpus: str | None) -> None:
        """Raise `BadInput` where there is nothing to read, or no usable `corpus`: before a lake is made for it."""

    def stages(self, lake: Lake, corpus: str | None, keep: int | None, strict: bool) -> Iterator[list[Cell]]:
        """The cells to run; those of one stage may run at once, the next stage is planned when they are done. Raises
        `BadInput` where it takes no `keep`."""

    def rows(self, cell: Cell, lake: Lake) -> Iterator[tuple[str, pa.Table]]:
        """The rows of one of these cells, a piece at a time. Runs on a worker."""

    def report(self, lake: Lake, cells: list[Cell]) -> list[str]:
        """What the cells left in the lake, as lines for the user."""


def source_class(name: str) -> type:
    """The class of the source `name`; raises `UnknownName`."""
    return shelf.take(SHELF, name, "source").Source


def make(name: str, given: Mapping[str, Any]) -> Source:
    """The source `name` with these options; raises `UnknownName`, and `BadInput` for one that it does not take."""
    return options.make(source_class(name), given, f"source {name!r}")


def source_name(source: Source) -> str:
    """The name of a source: that of its file."""
    return type(source).__module__.rpartition(".")[2]


def listing() -> pa.Table:
    """One row is one source."""
    rows = [{"source": name, "reads": description(name).splitlines()[0]} for name in shelf.names(SHELF)]
    return pa.Table.from_pylist(rows)


def description(name: str) -> str:
    """What a source says of itself; raises `UnknownName`."""
    return (shelf.take(SHELF, name, "source").__doc__ or "").strip()
