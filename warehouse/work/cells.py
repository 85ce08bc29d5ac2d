"""A cell is the unit of work: planned, run once, committed whole or not at all.

A kind of cell is a frozen dataclass that inherits from `Cell`. Its `settings` are all that decides its rows, and its id
is their hash; its other fields are what the work needs besides and what does not decide rows (paths, batch size,
device). Library versions and where it ran stand in `cells`.
"""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from memlake.warehouse.identity import tagged
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.publish import LOG_TABLES, is_done

if TYPE_CHECKING:
    import pyarrow as pa

CellRows = Iterator[tuple[str, "pa.Table"]]  # the table, and a piece of its rows


@dataclass(frozen=True)
class Settings:
    """All that decides a cell's rows. A kind of cell declares its own as a frozen dataclass of what JSON can hold;
    expectations see them as `getvariable('NAME')`."""

    def to_json(self) -> dict[str, Any]:
        """As they are hashed and stored. A field that is None is left out, so that one that is declared later leaves
        the ids as they are."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Those that `cells` holds; lists become tuples."""
        return cls(**{f.name: _frozen(stored[f.name]) for f in dataclasses.fields(cls) if f.name in stored})


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value


@dataclass(frozen=True)
class Cell(ABC):
    """One unit of work. `VERSION` is bumped by hand when the same settings give other rows."""

    EXPERIMENT: ClassVar[str]
    VERSION: ClassVar[int] = 1
    TABLES: ClassVar[tuple[str, ...]] = ()

    settings: Settings

    @property
    def experiment(self) -> str:
        """What is done, as `cells` calls it."""
        return self.EXPERIMENT

    @property
    def tables(self) -> tuple[str, ...]:
        """The data tables it writes, in order of commit."""
        return self.TABLES

    @property
    def expected(self) -> Mapping[str, int]:
        """How many rows each table must get, where that is known beforehand."""
        return {}

    @property
    def group(self) -> str:
        """Cells of one group run in one process, one after the other: they share a loaded model. By default a cell is a
        group of its own."""
        return self.id

    @property
    def device(self) -> str:
        """What it computes on: cpu, cuda, or auto (cuda where the process has a GPU)."""
        return "cpu"

    @property
    def seconds(self) -> float:
        """About how long it takes on one core: whether it pays to start processes for it."""
        return 1.0

    @abstractmethod
    def rows(self, lake: Lake) -> CellRows:
        """Its rows, a piece at a time, in bounded memory. Runs wherever the runner puts it."""

    @cached_property
    def id(self) -> str:
        """`c1-` and 128 bits: the same settings give the same id on any machine."""
        identity = {"experiment": self.experiment, "version": self.VERSION, "settings": self.settings.to_json()}
        return tagged("c1", identity)


C = TypeVar("C", bound=Cell)
S = TypeVar("S", bound=Settings)


def plan(lake: Lake, cells: Sequence[C]) -> list[C]:
    """The cells that are not done, by the logs of the tables they write. Changes nothing."""
    logs = {name: lake.log(name) for name in {*LOG_TABLES, *(t for c in cells for t in c.tables)}}
    return [c for c in cells if not is_done({t: logs[t] for t in (*c.tables, *LOG_TABLES)}, c.id)]


def published(lake: Lake, experiment: str, kind: type[S]) -> Iterator[tuple[str, S]]:
    """Id and settings of every published cell of an experiment, by id."""
    with lake.connect(["cells"]) as con:
        found = con.execute(
            "select cell, any_value(settings) from stored.cells where experiment = ? and outcome = 'done'"
            " group by cell order by cell",
            [experiment],
        ).fetchall()
    log = lake.log("cells")
    for cell, settings in found:
        if log.holds(cell):
            yield cell, kind.from_json(json.loads(settings))
