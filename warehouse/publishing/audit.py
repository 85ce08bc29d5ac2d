"""Judge rows before anyone can read them.

DuckDB profiles the rows in one pass: for each partition, how many rows break each expectation, and the aggregates. Rows
pass where every number of the profile lies in its range. What breaks an expectation is then selected by the same SQL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa

from memlake.warehouse import schema
from memlake.warehouse.errors import one_line
from memlake.warehouse.lake import Lake
from memlake.warehouse.relation import partition_path, quoted, relation
from memlake.warehouse.schema import Expect, Measure, Table


@dataclass(frozen=True)
class Verdict:
    """One expectation on one partition. `observed`: offending rows, or the aggregate's value."""

    table_name: str
    partition: str
    expectation: str
    passed: bool
    observed: float | None


@dataclass(frozen=True)
class Number:
    """One number of a profile, and the range in which it lies when all is well. `observed` as in `Verdict`."""

    table_name: str
    partition: str
    expectation: str
    observed: float | None
    low: float
    high: float


@dataclass(frozen=True)
class Rows:
    """The rows of one cell for one table, and what they are judged against."""

    lake: Lake
    table_name: str
    select: str  # SQL of the rows, all declared columns
    settings: Mapping[str, Any]  # of the cell, with its id as `cell`
    partitions: Sequence[Mapping[str, str | None]]  # the partitions they lie in
    expected: int | None = None  # how many there must be
    with_them: Mapping[str, str] = field(default_factory=dict)  # table: SQL of the rows that are published before these

    @property
    def spec(self) -> Table:
        return schema.table(self.table_name)

    def connect(self) -> duckdb.DuckDBPyConnection:
        """A connection with the view `rows`, the view `published` (the same partitions of the committed snapshot,
        without the cell that is judged), the views `stored.*` and the cell's settings as variables."""
        con = self.lake.connect(self._mentioned())
        for key, value in self.settings.items():
            if isinstance(value, str | int | float | bool):
                literal = quoted(value) if isinstance(value, str) else value
                con.execute(f'set variable "{key}" = {literal}')
        files = self.lake.snapshot(self.table_name)
        beside = [f for f in files if f.partition in self.partitions]
        own = any(c.name == "cell" for c in self.spec.columns)
        others = " where cell <> getvariable('cell')" if own else ""
        con.execute(f"create view published as from ({relation(self.table_name, beside)}){others}")
        con.execute(f"create view rows as {self.select}")
        for name, select in self.with_them.items():
            if name not in self._mentioned():
                continue
            both = f"{relation(name, self.lake.snapshot(name))} union all {select}"
            con.execute(f"create or replace view stored.{name} as {both}")
        return con

    def _mentioned(self) -> set[str]:
        """The tables that the expectations look into."""
        return set().union(*(e.tables for e in self.spec.expectations if isinstance(e, Expect)))


def judged(expectations: Sequence[Expect | Measure]) -> str:
    """SELECT of `rows` with one more column `ok:NAME` for each expectation on rows. NULL is not ok."""
    tests = [f'coalesce(({e.predicate}), false) as "ok:{e.name}"' for e in expectations if isinstance(e, Expect)]
    return f"select {', '.join(['*', *tests])} from rows"


def profile(con: duckdb.DuckDBPyConnection, spec: Table) -> list[dict[str, Any]]:
    """One row a partition: its columns, and for each expectation the number of offending rows or the aggregate."""
    keys = [f'"{k}"' for k in spec.partition]
    group = f" group by {', '.join(keys)} order by all" if keys else ""
    found: dict[tuple, dict[str, Any]] = {}
    for expectations in _asked_together(spec):
        columns = [
            f'count(*) filter (not "ok:{e.name}") as "{e.name}"'
            if isinstance(e, Expect)
            else f'({e.sql})::double as "{e.name}"'
            for e in expectations
        ]
        result = con.execute(f"select {', '.join([*keys, *columns])} from ({judged(expectations)}){group}")
        for row in result.to_arrow_table().to_pylist():
            found.setdefault(tuple(row[k] for k in spec.partition), {}).update(row)
    return list(found.values())


def _asked_together(spec: Table) -> list[list[Expect | Measure]]:
    """The expectations on a row, the aggregates, and one by one those that compare rows. To answer all at once DuckDB
    would hold whole rows, and with them all texts of a file, while it compares a few numbers of each."""
    alone: list[list[Expect | Measure]] = [
        [e] for e in spec.expectations if isinstance(e, Expect) and " over (" in e.predicate
    ]
    rows: list[Expect | Measure] = [e for e in spec.expectations if isinstance(e, Expect) and [e] not in alone]
    measures: list[Expect | Measure] = [e for e in spec.expectations if isinstance(e, Measure)]
    return [group for group in (rows, measures, *alone) if group]


def judge(*tables: Rows) -> list[Verdict]:
    """The verdicts on rows of one or several tables: one for each partition and expectation, and one on the number of
    rows."""
    return [
        Verdict(n.table_name, n.partition, n.expectation, in_range(n.observed, n.low, n.high), n.observed)
        for rows in tables
        for n in numbers(rows)
    ]


def in_range(observed: float | None, low: float, high: float) -> bool:
    """Does the number lie in its range? None passes: an aggregate over no value has nothing to say. NaN fails."""
    return observed is None or low <= observed <= high


def numbers(rows: Rows) -> list[Number]:
    """Everything that is judged of one table. Rows with a value that a predicate cannot take (a cast refuses it, say)
    do not pass; what is no fault of theirs, such as a damaged file of the lake, is raised."""
    spec, name = rows.spec, rows.table_name
    try:
        with rows.connect() as con:
            profiles = profile(con, spec)
            ((count,),) = con.execute("select count(*) from rows").fetchall()
    except duckdb.DataError as e:
        return [Number(name, "", f"judged without error: {one_line(e)}", 1, 0, 0)]
    found = [
        Number(name, partition_path(spec, p), e.name, p[e.name], *bounds(e))
        for p in profiles
        for e in spec.expectations
    ]
    if rows.expected is not None:
        found.append(Number(name, "", "row_count_as_planned", count, rows.expected, rows.expected))
    return found


def bounds(expectation: Expect | Measure) -> tuple[float, float]:
    """The range in which its number in the profile lies when all is well: no offending row, or the declared range."""
    return (expectation.low, expectation.high) if isinstance(expectation, Measure) else (0, 0)


def offenders(rows: Rows) -> pa.Table:
    """The rows that break an expectation, with the names of those they break as the column `broken`."""
    names = [e.name for e in rows.spec.expectations if isinstance(e, Expect)]
    broken = ", ".join(f"if(\"ok:{n}\", null, '{n}')" for n in names)
    columns = ", ".join(f'"{c.name}"' for c in rows.spec.columns)
    with rows.connect() as con:
        return con.execute(
            f"select * from (select {columns}, list_filter([{broken}], lambda x: x is not null) as broken"
            f" from ({judged(rows.spec.expectations)})) where len(broken) > 0"
        ).to_arrow_table()
