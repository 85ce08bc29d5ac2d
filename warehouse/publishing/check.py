"""Judge again what is published: does every row still meet what its table's file declares, is every file whole."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from memlake.warehouse import schema as tables
from memlake.warehouse.errors import one_line
from memlake.warehouse.lake import Lake
from memlake.warehouse.relation import File, relation

from . import audit
from .audit import Rows
from .publish import LOG_TABLES


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
            cell = rows.settings.get("cell")
            try:
                failed = [v for v in audit.judge(rows) if not v.passed]
            except duckdb.Error as e:
                yield Finding(name, f"cell {cell}", f"rows cannot be read: {one_line(e)}")
                continue
            for v in failed:
                yield Finding(name, v.partition, f"{v.expectation}: {v.observed:g} in cell {cell}")
    yield from _lost(lake)


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
            except (OSError, pa.ArrowException) as e:
                yield Finding(name, where, f"file cannot be read: {one_line(e)}")
                continue
            if rows != file.rows:
                yield Finding(name, where, f"file has {rows} rows, the log says {file.rows}")


def _lost(lake: Lake) -> Iterator[Finding]:
    """Cells with more or fewer rows than were published with them."""
    data = [n for n in tables.names() if n not in LOG_TABLES and "cell" in tables.table(n).schema.names]
    counts = " union all ".join(f"select cell from stored.{name}" for name in data)
    with lake.connect([*data, "cells"]) as con:
        found = con.execute(
            f"""
            with last as (
                from stored.cells qualify row_number() over (partition by cell order by finished_at desc) = 1
            ), counted as (select cell, count(*) as n from ({counts}) group by cell)
            select last.cell, rows, coalesce(n, 0) from last left join counted using (cell)
            where outcome = 'done' and rows <> coalesce(n, 0) order by all
            """
        ).fetchall()
    for cell, rows, n in found:
        yield Finding("cells", f"cell {cell}", f"published {rows} rows, the tables hold {n}")


def _settings(lake: Lake) -> dict[str, dict[str, object]]:
    with lake.connect(["cells"]) as con:
        return {c: json.loads(s) for c, s in con.execute("select cell, settings from stored.cells").fetchall()}


def _cells(lake: Lake, name: str, settings: dict[str, dict[str, object]]) -> Iterator[Rows]:
    """The rows of a table cell by cell (all at once where rows carry none), each against the rest of the table. A file
    is named by its cell."""
    files: dict[str, list[File]] = defaultdict(list)
    for file in lake.snapshot(name):
        named = re.match(r"c\d+-[0-9a-f]{32}(?=-)", Path(file.path).name)
        files[named[0] if named and "cell" in tables.table(name).schema.names else ""].append(file)
    for cell, own in files.items():
        select = relation(name, own)
        if cell:
            known = settings.get(cell, {}) | {"cell": cell}
            yield Rows(lake, name, select, known, [f.partition for f in own])
        else:
            yield Rows(lake, name, select, settings={}, partitions=[])
