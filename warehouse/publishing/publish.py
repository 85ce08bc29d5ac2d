"""Write, audit, publish: how a cell's rows get into the lake, once, or into quarantine.

    staging/<run>/<cell>/TABLE/<partition>/<cell>-<run>.parquet   rows, outside the published set
    staging/<run>/<cell>/manifest.json                            written after them: the rows are whole
    staging/<run>/<cell>/verdicts.json                            written before the first commit: the rows are judged
    TABLE/<partition>/<cell>-<run>.parquet                        in the table's log: published

Delta has no transaction over two tables, so the order is: data tables, `checks`, and `cells` last. A cell is done when
it is in the log of all of them; whoever finds a manifest that nobody works on goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.transaction import AddAction

from memlake.warehouse import schema
from memlake.warehouse.json_files import json_object, write_json
from memlake.warehouse.lake import Lake
from memlake.warehouse.relation import File, relation

from . import audit
from .audit import Rows, Verdict
from .stage import StagedFile, Staging

MANIFEST = "manifest.json"
LOG_TABLES = ("checks", "cells")  # in order of commit, after the data tables


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


def publish(lake: Lake, folder: Path) -> str | None:
    """Judge the rows staged in `folder` and commit them; None, or the reason why they went to quarantine.

    Safe to call again after a kill at any moment: what is committed is left alone, the missing tail is added.
    """
    manifest = Manifest.read(folder)
    with lake.publishing():
        verdicts = _verdicts(lake, folder, manifest)
        if any(not v.passed for v in verdicts):
            return _quarantine(lake, folder, manifest, verdicts)
        for name in manifest.tables:
            commit(lake, folder, name, manifest.cell, manifest.of(name))
        rows = sum(f.rows for f in manifest.files)
        _log(lake, folder, manifest, manifest.cell, verdicts, Ending("done", rows))
    shutil.rmtree(folder)
    return None


def record(lake: Lake, attempt: Attempt, outcome: str, reason: str | None = None) -> None:
    """Leave a row in `cells` for an attempt that published nothing: it failed, or the cell was forgotten."""
    lake.staging.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=lake.staging, prefix="record-") as folder:
        _log(lake, Path(folder), attempt, _once(attempt.cell, outcome), [], Ending(outcome, reason=reason))


def _once(cell: str, outcome: str) -> str:
    """A transaction for an attempt that may be made again."""
    return f"{cell} {outcome} {datetime.now(UTC).isoformat()}"


def staged_rows(lake: Lake, folder: Path, manifest: Manifest, name: str) -> Rows:
    """The rows of one table that a manifest lists, wherever they lie by now."""

    def select(table: str) -> str:
        listed = manifest.of(table)
        return relation(table, [staged_file(folder if (folder / f.path).exists() else lake.path, f) for f in listed])

    before = manifest.tables[: manifest.tables.index(name)]
    return Rows(
        lake=lake,
        table_name=name,
        select=select(name),
        with_them={t: select(t) for t in before if not lake.holds(t, manifest.cell)},
        settings=manifest.settings | {"cell": manifest.cell},
        partitions=[f.partition for f in manifest.of(name)],
        expected=manifest.expected.get(name),
    )


def staged_file(folder: Path, staged: StagedFile) -> File:
    """A staged file that lies in `folder`."""
    path = folder / staged.path
    return File(str(path), staged.partition, staged.rows, path.stat().st_size)


def _verdicts(lake: Lake, folder: Path, manifest: Manifest) -> list[Verdict]:
    written = folder / "verdicts.json"
    begun = any(lake.holds(name, manifest.cell) for name in manifest.tables)
    if written.exists() and begun:  # else what the rows stand on may have been taken back since
        return [Verdict(**v) for v in json.loads(written.read_text())]
    verdicts = audit.judge(*(staged_rows(lake, folder, manifest, name) for name in manifest.tables))
    write_json(written, [asdict(v) for v in verdicts])
    return verdicts


def commit(lake: Lake, folder: Path, name: str, transaction: str, files: Sequence[StagedFile]) -> None:
    """Move the files of one table from `folder` to their places in the lake and commit them, once."""
    targets = [lake.path / f.path for f in files]

    def add() -> list[AddAction]:
        for file, target in zip(files, targets, strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            if (folder / file.path).exists():
                os.replace(folder / file.path, target)
        return [_action(lake.path / name, t, f) for f, t in zip(files, targets, strict=True)]

    if not lake.commit(name, transaction, add):
        published = set(lake.files(name))
        for target in targets:  # another run published this cell first: ours would lie about unread
            if str(target) not in published:
                target.unlink(missing_ok=True)


def _action(root: Path, path: Path, file: StagedFile) -> AddAction:
    stat = path.stat()
    return AddAction(
        path=path.relative_to(root).as_posix(),
        size=stat.st_size,
        partition_values=file.partition,
        modification_time=int(stat.st_mtime * 1000),
        data_change=True,
        stats=json.dumps({"numRecords": file.rows}),
    )


def _log(
    lake: Lake, folder: Path, attempt: Attempt, transaction: str, verdicts: Sequence[Verdict], ending: Ending
) -> None:
    """Commit the verdicts to `checks`, then the attempt's row to `cells`."""
    now = datetime.now(UTC)
    rows = {
        "checks": [asdict(v) | {"checked_at": now, "quarantined": ending.quarantined} for v in verdicts],
        "cells": [
            {
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
        ],
    }
    for name in LOG_TABLES:
        if name == "checks" and not verdicts and ending.outcome != "done":
            continue
        columns = [f for f in schema.table(name).schema if f.name in (rows[name] or [{}])[0]]
        with Staging(folder, attempt.cell, now.strftime("%Y%m%dT%H%M%S%f")) as stage:
            stage.write(name, pa.Table.from_pylist(rows[name], schema=pa.schema(columns)))
        commit(lake, folder, name, transaction, stage.files)


def _quarantine(lake: Lake, folder: Path, manifest: Manifest, verdicts: Sequence[Verdict]) -> str:
    """Keep the rows and those that broke an expectation apart from the published set; the reason as a line."""
    failed = [v for v in verdicts if not v.passed]
    place = lake.quarantine / manifest.cell
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for name in {v.table_name for v in failed if v.observed is not None}:
        pq.write_table(audit.offenders(staged_rows(lake, folder, manifest, name)), place / f"{name}.parquet")
    counts: dict[str, float] = {}
    for v in failed:
        name = f"{v.table_name}.{v.expectation}"
        counts[name] = counts.get(name, 0) + (v.observed or 0)
    listed = ", ".join(f"{name} ({observed:g})" for name, observed in counts.items())
    reason = f"quarantined: {listed}; rows in {lake.relative(place)}"
    ending = Ending("quarantined", reason=reason, quarantined=lake.relative(place))
    _log(lake, folder, manifest, _once(manifest.cell, "quarantined"), verdicts, ending)
    os.replace(folder, place / "staged")
    return reason
