"""Judge again what is published: does every row still meet what its table's file declares, is every file whole."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from memlake.warehouse import schema
from memlake.warehouse.errors import one_line
from memlake.warehouse.lake import Lake
from memlake.warehouse.relation import File, quoted, relation

from . import audit
from .audit import Number, Rows
from .publish import data_tables
from .second_judge import out_of_range


@dataclass(frozen=True)
class Defect:
    """What is wrong with a table; `where` is a file, a partition or a cell."""

    table_name: str
    where: str
    what: str


def check(lake: Lake) -> Iterator[Defect]:
    """All that is wrong with the lake's published rows; nothing when all is well."""
    damaged = False
    for name in schema.names():
        for defect in _files(lake, name):
            damaged = True
            yield defect
    if damaged:
        return  # rows are judged against other tables: with a file missing every verdict would be misleading
    judged: list[tuple[str | None, Number]] = []  # with the cell of its rows
    settings = _settings(lake)
    for name in schema.names():
        for rows in _cells(lake, name, settings):
            cell = rows.settings.get("cell")
            try:
                judged += [(cell, number) for number in audit.numbers(rows)]
            except duckdb.Error as e:
                yield Defect(name, f"cell {cell}", f"rows cannot be read: {one_line(e)}")
    failed = out_of_range([(n.observed, n.low, n.high) for _, n in judged])
    yield from _broken([judged[i] for i in sorted(failed)])
    yield from _lost(lake)


def _broken(failed: Sequence[tuple[str | None, Number]]) -> Iterator[Defect]:
    """One defect for the references that a cell's rows in a table break, and one for each other expectation and
    partition."""
    fallen: dict[tuple[str, str], Counter[str]] = {}
    for cell, n in failed:
        where = f"cell {cell}" if cell else "registered rows"
        if any(r.name == n.expectation for r in schema.table(n.table_name).references):
            fallen.setdefault((n.table_name, where), Counter())[n.expectation] += int(n.observed or 0)
        else:
            yield Defect(n.table_name, n.partition or where, f"{n.expectation}: {n.observed:g} in {where}")
    for (name, where), counts in fallen.items():
        on = {r.name: r.table for r in schema.table(name).references}
        listed = ", ".join(f"{count} in {on[reference]} ({reference})" for reference, count in counts.items())
        yield Defect(name, where, f"rows stand on nothing: {listed}")


def _files(lake: Lake, name: str) -> Iterator[Defect]:
    for file in lake.snapshot(name):
        path = Path(file.path)
        where = lake.relative(path)
        if not path.exists():
            yield Defect(name, where, "file is missing")
        elif path.stat().st_size != file.size:
            yield Defect(name, where, f"file has {path.stat().st_size} bytes, the log says {file.size}")
        else:
            try:
                rows = pq.read_metadata(path).num_rows
            except (OSError, pa.ArrowException) as e:
                yield Defect(name, where, f"file cannot be read: {one_line(e)}")
                continue
            if rows != file.rows:
                yield Defect(name, where, f"file has {rows} rows, the log says {file.rows}")


def _lost(lake: Lake) -> Iterator[Defect]:
    """Cells with more or fewer rows than were published with them."""
    counts = " union all ".join(f"select cell from stored.{name}" for name in data_tables())
    with lake.connect([*data_tables(), "cells"]) as con:
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
        yield Defect("cells", f"cell {cell}", f"published {rows} rows, the tables hold {n}")


def _settings(lake: Lake) -> dict[str, dict[str, Any]]:
    with lake.connect(["cells"]) as con:
        return {c: json.loads(s) for c, s in con.execute("select cell, settings from stored.cells").fetchall()}


def _cells(lake: Lake, name: str, settings: dict[str, dict[str, Any]]) -> Iterator[Rows]:
    """The rows of a table cell by cell (all at once where it is none that cells write), each against the rest of the
    table. A file is named by its cell; of one that was merged, or rewritten by a `forget`, the rows tell."""
    files = lake.snapshot(name)
    if name not in data_tables():
        if files:
            yield Rows(lake, name, relation(name, files), settings={}, partitions=[])
        return
    own: dict[str | None, list[File]] = defaultdict(list)
    merged: dict[str | None, list[File]] = defaultdict(list)
    with lake.connect([]) as con:
        for file in files:
            if file.cell:
                own[file.cell].append(file)
            else:
                for (cell,) in con.execute(f"select distinct cell from ({relation(name, [file])})").fetchall():
                    merged[cell].append(file)
    for cell in own | merged:
        selects = [relation(name, own[cell])] if cell in own else []
        if cell in merged:
            where = f"cell = {quoted(cell)}" if cell else "cell is null"
            selects.append(f"select * from ({relation(name, merged[cell])}) where {where}")
        known = settings.get(cell or "", {}) | {"cell": cell}
        partitions = [f.partition for f in (*own[cell], *merged[cell])]
        yield Rows(lake, name, " union all ".join(selects), known, partitions)
