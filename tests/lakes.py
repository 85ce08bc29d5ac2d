"""A new lake to test on, and what stands in one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from memlake.warehouse.lake import Lake

from .small import made_cell, put_cell


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.create(tmp_path / "lake")


def rows(lake: Lake, sql: str) -> list[tuple[Any, ...]]:
    with lake.connect() as con:
        return con.sql(sql).fetchall()


def publish_rows(lake: Lake, corpus: str, table: str, given: list[dict[str, object]]) -> None:
    """Publish these rows, as a cell that is about the corpus."""
    assert put_cell(lake, made_cell("given", {"corpus": corpus}, table), {table: given}) is None
