"""Judge again what is published: does every row still meet what its table's file declares, is every file whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from . import audit
from . import table as tables
from .audit import Rows
from .lake import Lake, quoted, relation


@dataclass(frozen=True)
class Finding:
    """What is wrong with a table; `where` is a file or a partition."""

    table_name: str
    where: str
    what: str


def check(lake: Lake) -> Iterator[Finding]:
    """All that is wrong with the lake's published rows; nothing when all is well."""
    damaged = set()
    for name in tables.names():
        for finding in _files(lake, name):
            damaged.add(name)
            yield finding
    if damaged:
        return  # rows are judged against other tables: with a file missing every verdict would be misleading
    settings = _settings(lake)
    for name in tables.names():
        for rows in _cells(lake, name, settings):
            for v in audit.judge(rows):
                if not v.passed:
                    what = f"{v.expectation}: {v.observed:g} in cell {rows.settings.get('cell')}"
                    yield Finding(name, v.partition, what)


def _files(lake: Lake, name: str) -> Iterator[Finding]:
    for file in lake.snapshot(name):
        path = Path(file.path)
        where = lake.relative(path)
        if not path.exists():
            yield Finding(name, where, "file is missing")
        elif path.stat().st_size != file.size:
            yield Finding(name, where, f"file has {path.stat().st_size} bytes, the log says {file.size}")
        else:
            try:
                rows = pq.read_metadata(path).num_rows
            except OSError as e:
                yield Finding(name, where, f"file cannot be read: {str(e).splitlines()[0]}")
                continue
            if rows != file.rows:
                yield Finding(name, where, f"file has {rows} rows, the log says {file.rows}")


def _settings(lake: Lake) -> dict[str, dict[str, object]]:
    with lake.connect(["cells"]) as con:
        return {c: json.loads(s) for c, s in con.execute("select cell, settings from stored.cells").fetchall()}


def _cells(lake: Lake, name: str, settings: dict[str, dict[str, object]]) -> Iterator[Rows]:
    """The rows of a table cell by cell (all at once where rows carry none), each against the rest of the table."""
    files = lake.snapshot(name)
    select = relation(name, [f.path for f in files])
    if not files:
        return
    if not any(c.name == "cell" for c in tables.table(name).columns):
        yield Rows(lake, name, select, settings={}, partitions=[])
        return
    with duckdb.connect() as con:
        cells = [c for (c,) in con.execute(f"select distinct cell from ({select}) order by all").fetchall()]
    for cell in cells:
        own = f"from ({select}) where cell = {quoted(cell)}"
        yield Rows(lake, name, own, settings.get(cell, {}) | {"cell": cell}, [f.partition for f in files])
