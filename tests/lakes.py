"""A new lake to test on, and what stands in one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from memlake.warehouse.lake import Lake
from memlake.warehouse.work.cells import Cell, CellRows, Settings
from memlake.warehouse.work.runner import run_cells


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.create(tmp_path / "lake")


def rows(lake: Lake, sql: str) -> list[tuple[Any, ...]]:
    with lake.connect() as con:
        return con.sql(sql).fetchall()


@dataclass(frozen=True)
class GivenSettings(Settings):
    corpus: str


@dataclass(frozen=True)
class Given(Cell):
    """Rows of one table that a test made."""

    EXPERIMENT = "given"

    settings: GivenSettings
    table: str
    given: list[dict[str, object]]

    @property
    def tables(self) -> tuple[str, ...]:
        return (self.table,)

    def rows(self, lake: Lake) -> CellRows:
        yield self.table, pa.Table.from_pylist(self.given)


def publish_rows(lake: Lake, corpus: str, table: str, given: list[dict[str, object]]) -> None:
    """Publish these rows, as a cell that is about the corpus."""
    summary = run_cells(lake, [Given(GivenSettings(corpus), table, given)])
    assert summary.done and not summary.failed, summary.failed
