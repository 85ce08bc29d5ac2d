"""A cell is the unit of work: planned, run once, committed whole or not at all.

Its id is a hash of all that decides its rows. Batch size, device and library versions are not in it; they stand in
`cells`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from memlake.warehouse.identity import tagged
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.publish import LOG_TABLES


@dataclass(frozen=True)
class Cell:
    """One unit of work.

    experiment: what is done; `version` is bumped by hand when the same settings give other rows.
    settings: all that decides the rows, as JSON; expectations see them as `getvariable('key')`.
    tables: the data tables it writes, in order of commit.
    rows: how many rows each must have, where that is known beforehand.
    group: cells of one group run on one worker, one after the other (they share a loaded model).
    task: what the work needs and what does not decide rows: paths, batch size, device.
    """

    experiment: str
    version: int
    settings: Mapping[str, object]
    tables: tuple[str, ...]
    rows: Mapping[str, int] = field(default_factory=dict)
    group: str = ""
    task: Mapping[str, object] = field(default_factory=dict)

    @cached_property
    def id(self) -> str:
        """`c1-` and 128 bits: the same settings give the same id on any machine."""
        identity = {"experiment": self.experiment, "version": self.version, "settings": dict(self.settings)}
        return tagged("c1", identity)


def plan(lake: Lake, cells: Sequence[Cell]) -> list[Cell]:
    """The cells that are not done: not in the log of every table they write. Reads the logs, changes nothing."""
    logs = {name: lake.delta(name) for name in {*LOG_TABLES, *(t for c in cells for t in c.tables)}}
    return [c for c in cells if not all(lake.holds(t, c.id, logs[t]) for t in (*c.tables, *LOG_TABLES))]


def published(lake: Lake, experiment: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Id and settings of every published cell of an experiment."""
    import json

    with lake.connect(["cells"]) as con:
        found = con.execute(
            "select cell, settings from stored.cells where experiment = ? and outcome = 'done' order by all",
            [experiment],
        ).fetchall()
    log = lake.delta("cells")
    seen = dict(found)
    for cell, settings in seen.items():
        if lake.holds("cells", cell, log):
            yield cell, json.loads(settings)
