"""What a file in `compute/experiments` offers: one measurement, by the name of the file.

The first line of its docstring says what it measures, as `memlake compute list` shows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from memlake.warehouse import shelf
from memlake.warehouse.lake import Lake

from .planning.cells import ModelCell
from .planning.paper import Paper
from .planning.request import Execution, Request, Subject

if TYPE_CHECKING:
    import pyarrow as pa

SHELF = "memlake.compute.experiments"


class Experiment(Protocol):
    """Such a file, imported."""

    @property
    def Options(self) -> type[Any]:
        """A frozen dataclass of its options, see `warehouse.options`."""

    @property
    def CELLS(self) -> tuple[type[ModelCell], ...]:
        """The kinds of cells that it plans."""

    def plan(self, lake: Lake, subject: Subject, request: Request, options: Any) -> Sequence[ModelCell]:
        """The cells that answer the request: those published before, and new ones for what is missing. Changes
        nothing. Raises `BadInput`, `Conflict`."""

    def on_paper(self, subject: Subject, paper: Paper, execution: Execution, options: Any) -> Iterator[ModelCell]:
        """One cell of each kind that `plan` would give of a sample that is not there or not scored yet, however long it
        would take: what such cells cost is asked of it. None where that cannot be told."""


def experiment(name: str) -> Experiment:
    """The experiment of this name; raises `UnknownName`."""
    return cast(Experiment, shelf.take(SHELF, name, "experiment"))


def names() -> list[str]:
    """The names of all experiments."""
    return shelf.names(SHELF)


def tables(of: Experiment) -> list[str]:
    """The data tables that an experiment writes, in order of commit."""
    return list(dict.fromkeys(table for cell in of.CELLS for table in cell.TABLES))


def listing() -> pa.Table:
    """One row is one experiment: its name, the tables it writes, and what it measures."""
    import pyarrow as pa

    rows = [
        {
            "experiment": name,
            "tables": ", ".join(tables(experiment(name))),
            "measures": description(name).splitlines()[0],
        }
        for name in names()
    ]
    return pa.Table.from_pylist(rows)


def description(name: str) -> str:
    """What an experiment says of itself; raises `UnknownName`."""
    return (experiment(name).__doc__ or "").strip()
