"""Judge again what is published: does every row still meet what its table's file declares, is every file whole."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from memlake.warehouse import schema
from memlake.warehouse.errors import DamagedLake, one_line
from memlake.warehouse.lake import Lake
from memlake.warehouse.portions import portions
from memlake.warehouse.relation import File, quoted, relation

from . import audit
from .audit import Number, Rows
from .publish import TOGETHER, data_tables
from .second_judge import out_of_range


@dataclass(frozen=True)
class Defect:
    """What is wrong with a table; `where` is a file, a partition or a cell."""

    table_name: str
    where: str
    what: str


def steps(lake: Lake) -> int:
    """How much there is to check: each published file is looked at, and then judged."""
    return 2 * sum(len(lake.log(name).files()) for name in schema.names())


def check(lake: Lake, advance: Callable[[int], None] = lambda files: None) -> Iterator[Defect]:
    """All that is wrong with the lake's published rows; nothing when all is well. advance: is told how many `steps` are
    done."""
    damaged = False
    for name in schema.names():
        for defect in _files(lake, name, advance):
            damaged = True
            yield defect
    if damaged:
        return  # rows are judged against other tables: with a file missing every verdict would be misleading
    try:
        found = list(_judged_again(lake, advance))
    except (duckdb.Error, DamagedLake):
        found = list(_unreadable(lake))
        if not found:
            raise
    yield from found


def _judged_again(lake: Lake, advance: Callable[[int], None]) -> Iterator[Defect]:
    """What is wrong with the rows of files that are all there."""
    judged: list[Number] = []
    settings = _settings(lake)
    for name in schema.names():
        for files, rows in _judged_together(lake, name, settings):
            advance(files)
            judged += audit.numbers(rows)
    failed = out_of_range([(n.observed, n.low, n.high) for n in judged])
    yield from _broken([judged[i] for i in sorted(failed)])
    yield from _lost(lake)


def _broken(failed: Sequence[Number]) -> Iterator[Defect]:
    """One defect for the references that a cell's rows in a table break, and one for each other expectation and
    partition."""
    fallen: dict[tuple[str, str], Counter[str]] = {}
    for n in failed:
        where = f"cell {n.cell}" if n.cell else "registered rows"
        if any(r.name == n.expectation for r in schema.table(n.table_name).references):
            fallen.setdefault((n.table_name, where), Counter())[n.expectation] += int(n.observed or 0)
        else:
            yield Defect(n.table_name, n.partition or where, f"{n.expectation}: {n.observed:g} in {where}")
    for (name, where), counts in fallen.items():
        on = {r.name: r.table for r in schema.table(name).references}
        listed = ", ".join(f"{count} in {on[reference]} ({reference})" for reference, count in counts.items())
        yield Defect(name, where, f"rows stand on nothing: {listed}")


def _files(lake: Lake, name: str, advance: Callable[[int], None]) -> Iterator[Defect]:
    for file in lake.snapshot(name):
        advance(1)
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


def _unreadable(lake: Lake) -> Iterator[Defect]:
    """The files of which DuckDB cannot read every value."""
    with lake.connect([]) as con:
        for name in schema.names():
            for file in lake.snapshot(name):
                try:
                    con.execute(f"select bit_xor(hash(columns(*))) from ({relation(name, [file])})").fetchall()
                except duckdb.Error as e:
                    yield Defect(name, lake.relative(file.path), f"rows cannot be read: {one_line(e)}")


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


def _judged_together(lake: Lake, name: str, settings: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[int, Rows]]:
    """The rows of a table, those of some cells at a time (all at once where rows carry none), each against the rest of
    the table; and to how many files that comes."""
    files, spec = lake.snapshot(name), schema.table(name)
    if "cell" not in spec.schema.names:
        yield len(files), Rows(lake, name, relation(name, files), settings={}, partitions=[])
        return
    holding: dict[str, dict[File, int]] = defaultdict(dict)
    for file in files:
        for cell, n in _cells(lake, name, file):
            holding[cell][file] = n
    groups: dict[str, list[str]] = defaultdict(list)
    asked = audit.asked(spec)
    for cell in holding:
        known = {**settings.get(cell, {}), "cell": cell}
        said = [known.get(a) for a in asked]
        groups[json.dumps([said, sorted({*map(_place, holding[cell])})], sort_keys=True)].append(cell)
    counted: set[str] = set()
    for cells in groups.values():
        for some in portions(cells, lambda cell: sum(holding[cell].values()), TOGETHER):
            own = {f.path: f for cell in some for f in holding[cell]}
            listed = ", ".join(map(quoted, some))
            new = own.keys() - counted
            counted |= new
            yield (
                len(new),
                Rows(
                    lake=lake,
                    table_name=name,
                    select=f"select * from ({relation(name, [*own.values()])}) where cell in ({listed})",
                    settings=settings.get(some[0], {}),
                    partitions=[f.partition for f in own.values()],
                    cells={cell: sum(holding[cell].values()) for cell in some},
                    bounds=[f.bounds for f in own.values()],
                ),
            )


def _cells(lake: Lake, name: str, file: File) -> list[tuple[str, int]]:
    """The cells that have rows in a file, and how many: it is named by its cell, or holds the rows of several."""
    if file.cell is not None:
        return [(file.cell, file.rows)]
    with lake.connect([]) as con:
        return con.execute(
            f"select cell, count(*) from ({relation(name, [file])}) group by cell order by cell"
        ).fetchall()


def _place(file: File) -> str:
    return json.dumps(file.partition, sort_keys=True)
