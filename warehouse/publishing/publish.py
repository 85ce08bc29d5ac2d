"""Write, audit, publish: how cells' rows get into the lake, once, or into quarantine.

    staging/<run>/<cell>/TABLE/<partition>/<cell>-<run>.parquet   rows, outside the published set
    staging/<run>/<cell>/manifest.json                            written after them: the rows are whole
    staging/<run>/<cell>/verdicts.json                            written before the first commit: the rows are judged
    staging/<run>/merged/...                                      small files of several cells, as one
    staging/<run>/placed.json                                     those of them that the next commit will name
    TABLE/<partition>/*.parquet                                   in the table's log: published

What is ready is judged and committed together: one entry a table for all cells. Delta has no transaction over two
tables, so the order is: data tables of which they have rows, `checks`, and `cells` last. A cell is done when it is in
the log of `cells` and none of the others has given it back, with which `forget` begins; whoever finds a manifest that
nobody works on goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.transaction import AddAction

from memlake.warehouse import schema
from memlake.warehouse.json_files import json_object, write_json
from memlake.warehouse.lake import Lake
from memlake.warehouse.log import Log
from memlake.warehouse.portions import portions
from memlake.warehouse.relation import File, relation

from . import audit
from .audit import Rows, Verdict
from .compact import merge_small
from .place import PLACED, Waiting, place, settle
from .stage import StagedFile, Staging, scratch

MANIFEST = "manifest.json"
VERDICTS = "verdicts.json"
LOG_TABLES = ("checks", "cells")  # in order of commit, after the data tables
TOGETHER = 1_000_000  # rows that are judged at once, if they are of several cells


@dataclass(frozen=True)
class Attempt:
    """One attempt at a cell, as `cells` tells of it. settings: as JSON holds them. device: where it ran. versions: of
    the libraries that its process had loaded."""

    cell: str
    experiment: str
    version: int
    settings: dict[str, Any]
    seconds: float = 0.0
    device: str = ""
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Manifest(Attempt):
    """A cell whose rows are whole. tables: those it writes, in order of commit. expected: how many rows each must get,
    where that was known. files: what was staged."""

    tables: tuple[str, ...]
    expected: dict[str, int]
    files: tuple[StagedFile, ...]

    def of(self, table: str) -> list[StagedFile]:
        """The files of one table."""
        return [f for f in self.files if f.table == table]

    def write(self, folder: Path) -> None:
        """Write it down beside the rows, which are whole from then on."""
        write_json(folder / MANIFEST, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        found = json_object(folder / MANIFEST)
        files = tuple(StagedFile(**f) for f in found.pop("files"))
        return cls(**found | {"tables": tuple(found["tables"])}, files=files)


@dataclass(frozen=True)
class Ending:
    """How an attempt ended. outcome: done, quarantined, failed or forgotten. quarantined: where its rows are."""

    outcome: str
    rows: int = 0
    reason: str | None = None
    quarantined: str | None = None


def data_tables() -> list[str]:
    """The tables that cells write, beside `LOG_TABLES`; of the rows of others it is not said which cell wrote them."""
    return [n for n in schema.names() if n not in LOG_TABLES and "cell" in schema.table(n).schema.names]


@dataclass(frozen=True)
class StagedCell:
    """A cell whose rows wait in `folder`, or in part lie in the lake already."""

    folder: Path
    manifest: Manifest

    @property
    def id(self) -> str:
        return self.manifest.cell

    @property
    def settings(self) -> dict[str, Any]:
        """As expectations ask for them."""
        return self.manifest.settings | {"cell": self.id}

    def waiting(self, table: str) -> list[Waiting]:
        """Its files of a table."""
        return [(self.folder, f) for f in self.manifest.of(table)]

    def done(self, lake: Lake) -> bool:
        """Is it published, by this run or another?"""
        return is_done({name: lake.log(name) for name in (*self.manifest.tables, *LOG_TABLES)}, self.id)

    def verdicts(self, lake: Lake) -> list[Verdict] | None:
        """What was written of it, if its publication has begun: else what its rows stand on may have been taken back
        since."""
        written = self.folder / VERDICTS
        if not written.exists() or not any(lake.log(name).holds(self.id) for name in self.manifest.tables):
            return None
        return [Verdict(**v) for v in json.loads(written.read_text())]


def is_done(logs: Mapping[str, Log], cell: str) -> bool:
    """Is the cell published? logs: those of the tables it writes, and of `LOG_TABLES`. That of `cells` comes last, and
    goes last where a cell is forgotten."""
    return logs["cells"].holds(cell) and not any(log.gave_back(cell) for log in logs.values())


def publish(lake: Lake, folders: Sequence[Path], ended: dict[Path, str | None] | None = None) -> dict[Path, str | None]:
    """Judge the rows that one run staged in these folders, a cell each, and commit them; for each folder None, or the
    reason why its rows went to quarantine. `ended`: into which this is written as it happens, for whom an error meets.

    Safe to call again after a kill at any moment: what is committed is left alone, the missing tail is added.
    """
    ended = {} if ended is None else ended
    groups = _alike([StagedCell(folder, Manifest.read(folder)) for folder in folders])
    with lake.publishing():
        for group in groups:
            settle(lake, group[0].folder.parent)
            left = [cell for cell in group if not cell.done(lake)]
            begun = {cell.id: v for cell in left if (v := cell.verdicts(lake)) is not None}
            if begun:
                _commit(lake, [cell for cell in left if cell.id in begun], begun)
            for cell in group:
                if cell not in left or cell.id in begun:
                    _end(cell, None, ended)
            _decide(lake, [cell for cell in left if cell.id not in begun], ended)
        for name in {*LOG_TABLES, *(t for group in groups for cell in group for t in cell.manifest.tables)}:
            merge_small(lake, name)
    return ended


def _end(cell: StagedCell, reason: str | None, ended: dict[Path, str | None]) -> None:
    """The cell is published, or its rows lie in quarantine for this reason."""
    ended[cell.folder] = reason
    if reason is None:
        shutil.rmtree(cell.folder)


def _alike(cells: Sequence[StagedCell]) -> list[list[StagedCell]]:
    """The cells that are judged together: they write the same tables, whose expectations ask the same of them, and no
    more rows than `TOGETHER`."""
    groups: dict[str, list[StagedCell]] = {}
    asked = {name: audit.asked(schema.table(name)) for name in {t for cell in cells for t in cell.manifest.tables}}
    for cell in cells:
        tables = cell.manifest.tables
        said = {a: cell.settings.get(a) for name in tables for a in asked[name]}
        groups.setdefault(json.dumps([tables, said], sort_keys=True), []).append(cell)
    return [some for group in groups.values() for some in portions(group, _rows, TOGETHER)]


def _rows(cell: StagedCell) -> int:
    return sum(f.rows for f in cell.manifest.files)


def _decide(lake: Lake, cells: Sequence[StagedCell], ended: dict[Path, str | None]) -> None:
    """Judge cells together, and commit them if all pass. Where some do not, it may be for the sake of another: those
    that pass are judged without them, and then those, until each that does not pass does so alone, beside what was
    published before it."""
    if not cells:
        return
    verdicts = _judge(lake, cells)
    failed = [cell for cell in cells if not all(v.passed for v in verdicts[cell.id])]
    if not failed:
        for cell in cells:
            write_json(cell.folder / VERDICTS, [vars(v) for v in verdicts[cell.id]])
        _commit(lake, cells, verdicts)
        for cell in cells:
            _end(cell, None, ended)
        return
    if len(cells) == 1:
        _end(cells[0], _quarantine(lake, cells[0], verdicts[cells[0].id]), ended)
        return
    if len(failed) < len(cells):
        parts = [[cell for cell in cells if cell not in failed], failed]
    else:
        parts = [list(cells[: len(cells) // 2]), list(cells[len(cells) // 2 :])]
    for part in parts:
        _decide(lake, part, ended)


def _judge(lake: Lake, cells: Sequence[StagedCell]) -> dict[str, list[Verdict]]:
    tables = cells[0].manifest.tables
    found = audit.judge(*(staged_rows(lake, cells, name) for name in tables))
    return {cell.id: found.get(cell.id, []) for cell in cells}


def _commit(lake: Lake, cells: Sequence[StagedCell], verdicts: Mapping[str, list[Verdict]]) -> None:
    """Commit cells that write the same tables, and were judged."""
    run = cells[0].folder.parent
    for name in cells[0].manifest.tables:
        log = lake.log(name)  # a table of which a cell has no rows need not know of it, but must not deny it
        commit(lake, run, name, {c.id: c.waiting(name) for c in cells if c.manifest.of(name) or log.gave_back(c.id)})
    endings = [Ending("done", sum(f.rows for f in cell.manifest.files)) for cell in cells]
    _log(lake, run, [Entry(c.id, c.manifest, e, verdicts[c.id]) for c, e in zip(cells, endings, strict=True)])


def record(lake: Lake, ended: Sequence[tuple[Attempt, Ending]]) -> None:
    """Leave a row in `cells` for each of some attempts that published nothing: it failed, or the cell was forgotten."""
    if not ended:
        return
    with scratch(lake.staging, "record") as folder:
        _log(lake, folder, [Entry(_once(attempt.cell, end.outcome), attempt, end) for attempt, end in ended])
        shutil.rmtree(folder)


def _once(cell: str, outcome: str) -> str:
    """A transaction for an attempt that may be made again."""
    return f"{cell} {outcome} {datetime.now(UTC).isoformat()}"


def staged_rows(lake: Lake, cells: Sequence[StagedCell], name: str) -> Rows:
    """The rows of one table of cells that are judged together, wherever they lie by now."""

    def located(table: str, of: Iterable[StagedCell]) -> list[File]:
        return [staged_file(lake, *waiting) for cell in of for waiting in cell.waiting(table)]

    def unpublished(table: str) -> list[StagedCell]:
        log = lake.log(table)
        return [cell for cell in cells if not log.holds(cell.id)]

    tables = cells[0].manifest.tables
    before = tables[: tables.index(name)]
    # Those of several cells are judged against each other, too
    beside = {t: unpublished(t) for t in ([*before, name] if len(cells) > 1 else before)}
    own = located(name, cells)
    files = [f for cell in cells for f in cell.manifest.of(name)]
    known = [(cell.id, cell.manifest.expected.get(name)) for cell in cells]
    return Rows(
        lake=lake,
        table_name=name,
        select=relation(name, own),
        with_them={t: relation(t, located(t, some)) for t, some in beside.items() if some},
        settings=cells[0].manifest.settings,
        cells={cell.id: sum(f.rows for f in cell.manifest.of(name)) for cell in cells},
        partitions=[f.partition for f in files],
        expected={cell: n for cell, n in known if n is not None},
        bounds=[f.bounds for f in files],
        size=sum(f.size for f in own),
        rows_a_file=sum(f.rows for f in own) / max(1, len(own)),
    )


def staged_file(lake: Lake, folder: Path, staged: StagedFile) -> File:
    """A staged file where it lies: in `folder`, or in its place in the lake."""
    path = folder / staged.path
    if not path.exists():
        path = lake.path / staged.path
    return File(str(path), staged.partition, staged.rows, path.stat().st_size)


def commit(lake: Lake, run: Path, name: str, staged: Mapping[str, Sequence[Waiting]]) -> None:
    """Put files of one table in place and commit them in one entry, those of each transaction once. run: the folder of
    the run that publishes them."""

    def add(missing: list[str]) -> list[AddAction]:
        return place(lake, run, name, [waiting for t in missing for waiting in staged[t]], missing[0])

    if staged:
        lake.commit(name, list(staged), add)
        (run / PLACED).unlink(missing_ok=True)


@dataclass(frozen=True)
class Entry:
    """An attempt that is written down: how it ended, the verdicts on its rows, and the transaction of its rows in
    `LOG_TABLES`."""

    transaction: str
    attempt: Attempt
    ending: Ending
    verdicts: Sequence[Verdict] = ()


def _log(lake: Lake, run: Path, entries: Sequence[Entry]) -> None:
    """Commit the verdicts to `checks`, then the attempts' rows to `cells`."""
    now = datetime.now(UTC)
    judged = [e for e in entries if e.verdicts or e.ending.outcome == "done"]
    if judged:
        commit_rows(lake, run, "checks", {e.transaction: _checks(e, now) for e in judged})
    commit_rows(lake, run, "cells", {e.transaction: _cells(e, now) for e in entries})


def commit_rows(lake: Lake, run: Path, name: str, rows: Mapping[str, list[dict[str, Any]]]) -> None:
    """Commit rows that nobody goes on with after a kill, by their transactions, each once. run: a folder for what is on
    its way."""
    folder = run / f"log-{uuid.uuid4().hex[:12]}"

    def add(missing: list[str]) -> list[AddAction]:
        made = [row for t in missing for row in rows[t]]
        with Staging(folder, run.name, uuid.uuid4().hex[:12]) as stage:
            if made:
                stage.write(name, pa.Table.from_pylist(made, schema=schema.table(name).schema))
        return place(lake, run, name, [(folder, f) for f in stage.files], missing[0], anew=True)

    lake.commit(name, list(rows), add)
    (run / PLACED).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _checks(entry: Entry, now: datetime) -> list[dict[str, Any]]:
    told = {"cell": entry.attempt.cell, "checked_at": now, "quarantined": entry.ending.quarantined}
    return [vars(v) | told for v in entry.verdicts]


def _cells(entry: Entry, now: datetime) -> list[dict[str, Any]]:
    attempt, ending = entry.attempt, entry.ending
    return [
        {
            "cell": attempt.cell,
            "experiment": attempt.experiment,
            "version": attempt.version,
            "seconds": attempt.seconds,
            "device": attempt.device,
            "settings": json.dumps(attempt.settings, sort_keys=True),
            "versions": json.dumps(attempt.versions, sort_keys=True),
            "rows": ending.rows,
            "outcome": ending.outcome,
            "reason": ending.reason,
            "finished_at": now,
        }
    ]


def _quarantine(lake: Lake, cell: StagedCell, verdicts: Sequence[Verdict]) -> str:
    """Keep the rows and those that broke an expectation apart from the published set; the reason as a line."""
    failed = [v for v in verdicts if not v.passed]
    place = lake.quarantine / cell.id
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for name in {v.table_name for v in failed if v.observed is not None}:
        pq.write_table(audit.offenders(staged_rows(lake, [cell], name)), place / f"{name}.parquet")
    counts: dict[str, float] = {}
    for v in failed:
        name = f"{v.table_name}.{v.expectation}"
        counts[name] = counts.get(name, 0) + (v.observed or 0)
    listed = ", ".join(f"{name} ({observed:g})" for name, observed in counts.items())
    reason = f"quarantined: {listed}; rows in {lake.relative(place)}"
    ending = Ending("quarantined", reason=reason, quarantined=lake.relative(place))
    _log(lake, cell.folder.parent, [Entry(_once(cell.id, "quarantined"), cell.manifest, ending, verdicts)])
    os.replace(cell.folder, place / "staged")
    return reason
