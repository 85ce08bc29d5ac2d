"""Cells run in this process, without Dask: staged, judged and published as ever."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.publish import publish, record
from memlake.warehouse.work.cells import plan
from memlake.warehouse.work.runner import Summary, run_batch


def run_here(lake: Lake, cells, work, **_) -> Summary:
    """In place of `warehouse.run.run`."""
    todo = plan(lake, cells)
    summary = Summary(skipped=len(cells) - len(todo))
    folder = lake.staging / "here"
    for cell in todo:
        run_batch([cell], work, str(lake.path), str(folder))
        failed = folder / cell.id / "failed.json"
        reason = json.loads(failed.read_text())["reason"] if failed.exists() else publish(lake, folder / cell.id)
        if reason is None:
            summary.done.append(cell.id)
        else:
            summary.failed.append((cell, reason))
        if failed.exists():
            record(lake, cell.id, cell.experiment, cell.version, dict(cell.settings), outcome="failed", reason=reason)
    shutil.rmtree(folder, ignore_errors=True)
    return summary


@pytest.fixture
def lake(tmp_path: Path, monkeypatch) -> Lake:
    """A new lake; `ingest` and `sample` run their cells here."""
    monkeypatch.setattr("memlake.ingest.run.run", run_here)
    monkeypatch.setattr("memlake.ingest.sampling.sample.run", run_here)
    return Lake.create(tmp_path / "lake")


def rows(lake: Lake, sql: str) -> list[tuple]:
    with lake.connect() as con:
        return con.sql(sql).fetchall()
