"""Judge rows before anyone can read them.

DuckDB profiles the rows in one pass: for each partition, how many rows break each expectation, and the aggregates. Rows
pass where every number of the profile lies in its range. What breaks an expectation is then selected by the same SQL.
"""

from __future__ import annotations

import re
import uuid
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import accumulate
from math import inf
from typing import Any

import duckdb
import pyarrow as pa

from memlake.warehouse import schema
from memlake.warehouse.connections import connect, watched
from memlake.warehouse.errors import one_line
from memlake.warehouse.lake import Lake
from memlake.warehouse.relation import File, partition_path, quoted, relation
from memlake.warehouse.schema import KEY_UNIQUE, Expect, Measure, Table

# Bytes of files, and rows of each, that are judged in memory: of more it costs less to read them again
IN_MEMORY, A_FILE = 64 << 20, 2_000
ONE_THREAD = 4 << 20  # bytes of files below which one thread is faster than several


@dataclass(frozen=True)
class Verdict:
    """One expectation on one partition. `observed`: offending rows, or the aggregate's value."""

    table_name: str
    partition: str
    expectation: str
    passed: bool
    observed: float | None


@dataclass(frozen=True, slots=True)
class Number:
    """One number of a profile, and the range in which it lies when all is well. `observed` as in `Verdict`. cell: whose
    rows they are; None where rows tell no cell."""

    cell: str | None
    table_name: str
    partition: str
    expectation: str
    observed: float | None
    low: float
    high: float

    @property
    def passed(self) -> bool:
        return in_range(self.observed, self.low, self.high)


@dataclass(frozen=True)
class Rows:
    """The rows of one cell, or of several that are judged together, for one table, and what they are judged against.

    Of several cells each row is judged as it were with its cell alone, with two differences: what is `stored` holds the
    rows of the others, too, and a key that two of them have is unique in none.
    """

    lake: Lake
    table_name: str
    select: str  # SQL of the rows, all declared columns
    settings: Mapping[str, Any]  # of the cells: what the table's expectations ask for, all have in common
    partitions: Sequence[Mapping[str, str | None]]  # the partitions they lie in
    cells: Mapping[str, int] = field(default_factory=dict)  # whose they are, and how many each has; none: of no cell
    expected: Mapping[str, int] = field(default_factory=dict)  # how many there must be of a cell
    with_them: Mapping[str, str] = field(default_factory=dict)  # table: SQL of the rows that are published before these
    bounds: Sequence[Mapping[str, Sequence[Any]]] | None = None  # least and greatest values in each part of the rows
    size: float = inf  # bytes of their files, where that is known
    rows_a_file: float = inf

    @property
    def small(self) -> bool:
        """Are they judged in memory?"""
        return self.size < IN_MEMORY and self.rows_a_file < A_FILE

    @property
    def spec(self) -> Table:
        return schema.table(self.table_name)

    @property
    def together(self) -> bool:
        """Are they of several cells?"""
        return len(self.cells) > 1

    @contextmanager
    def connect(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection with `rows`, the view `published` (of the committed snapshot, without the cells that are judged,
        all rows of the same partitions that can have a key of theirs), the views `stored.*` and the cells' settings as
        variables."""
        with _database(one_thread=self._looked_at() < ONE_THREAD) as con:
            self._views(con)
            yield con

    def _looked_at(self) -> float:
        """Bytes of the files of all that is read."""
        other = (f.size for name in mentioned(self.spec) for f in self.lake.snapshot(name))
        return self.size + sum(f.size for f in self._beside) + sum(other)

    @cached_property
    def _beside(self) -> list[File]:
        """The published files of the same partitions that may hold a key of theirs."""
        if self._keys_are_their_own():
            return []
        return [f for f in self.lake.log(self.table_name).beside(self.partitions) if self._may_share(f)]

    def _keys_are_their_own(self) -> bool:
        """Is the cell a part of the key, and of all rows one of those that are judged?"""
        named = [b.get("cell", [None]) for b in self.bounds or ()]
        return "cell" in self.spec.key and bool(named) and all(len({*b}) == 1 and b[0] in self.cells for b in named)

    def _views(self, con: duckdb.DuckDBPyConnection) -> None:
        # Tables without partitions are small; of as many files as there were runs each question would open all
        held = {name for name in mentioned(self.spec) if not schema.table(name).partition}
        self.lake.connect(mentioned(self.spec) - held, con=con)
        for name in held:
            con.register("held", self.lake.rows(name, con))
            parts = ["from held", *filter(None, [self.with_them.get(name)])]
            con.execute(f"create table stored.{name} as {' union all '.join(parts)}")
            con.unregister("held")
        settings = dict(self.settings)
        if len(self.cells) == 1:
            settings["cell"] = next(iter(self.cells))
        for key, value in settings.items():
            if isinstance(value, str | int | float | bool):
                literal = quoted(value) if isinstance(value, str) else value
                con.execute(f'set variable "{key}" = {literal}')
        others = f" where cell not in ({', '.join(map(quoted, self.cells))})" if self.cells else ""
        con.execute(f"create view published as from ({relation(self.table_name, self._beside)}){others}")
        con.execute(f"create {'table' if self.small else 'view'} rows as {self.select}")
        for name, select in self.with_them.items():
            if name in mentioned(self.spec) - held:
                both = f"{relation(name, self.lake.snapshot(name))} union all {select}"
                con.execute(f"create or replace view stored.{name} as {both}")

    def _may_share(self, file: File) -> bool:
        """May a row of the file have a key of these?"""
        shared = [k for k in self.spec.key if k in file.bounds]
        if self.bounds is None or not shared:
            return True
        key = shared[0]
        low, high = file.bounds[key]
        spans = self._spans(key)
        if spans is None:
            return True
        lows, highs = spans
        place = bisect_right(lows, high)
        return place > 0 and highs[place - 1] >= low

    def _spans(self, key: str) -> tuple[list[Any], list[Any]] | None:
        """The least values of a column in the parts of the rows, in order, and the greatest up to each of them."""
        if key not in self._known_spans:
            known = sorted((b[key][0], b[key][1]) for b in self.bounds or () if key in b)
            whole = self.bounds is not None and len(known) == len(self.bounds)
            highs = list(accumulate((high for _, high in known), max))
            self._known_spans[key] = ([low for low, _ in known], highs) if whole else None
        return self._known_spans[key]

    @cached_property
    def _known_spans(self) -> dict[str, tuple[list[Any], list[Any]] | None]:
        return {}


@cache
def _duckdb(one_thread: bool) -> duckdb.DuckDBPyConnection:
    """To make one takes 11 ms of CPU, and what is judged of a cell no longer than that. It keeps no bytes of files: in
    a run of many cells they would come to all that the lake holds."""
    con = connect()
    con.execute("set enable_external_file_cache = false")
    if one_thread:
        con.execute("set threads = 1")
    return con


@contextmanager
def _database(one_thread: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to an empty database in memory, which is gone with the block. one_thread: to wake others takes
    longer than what there is to do."""
    name = f"judged_{uuid.uuid4().hex}"
    with watched(_duckdb(one_thread).cursor()) as con:
        con.execute(f"attach ':memory:' as {name}")
        try:
            con.execute(f"use {name}")
            yield con
        finally:
            con.execute("use memory")
            con.execute(f"detach {name}")


def mentioned(spec: Table) -> set[str]:
    """The tables that the expectations look into."""
    return set().union(*(e.tables for e in spec.expectations if isinstance(e, Expect)))


def asked(spec: Table) -> list[str]:
    """The settings of cells for which the table's expectations ask: cells in which they are equal can be judged
    together. `cell`, the id, is among them where an expectation cannot be asked of several cells at once."""
    predicates = [e.predicate for e in spec.expectations if isinstance(e, Expect)]
    names = {name for p in predicates for name in re.findall(r"getvariable\('(\w+)'\)", p)} - {"cell"}
    # What narrows another table down to what the rows name compares no two of them
    declared = [re.sub(r"\bin \(select \w+ from rows\b", "", e.predicate) for e in spec.expect if isinstance(e, Expect)]
    if any("getvariable('cell')" in p and "stored." in p for p in predicates) or any(
        re.search(r"\bover \((?!partition by)|\b(from|join) rows\b", p) for p in declared
    ):
        names.add("cell")
    return sorted(names)


def judged(expectations: Sequence[Expect | Measure], together: bool = False) -> str:
    """SELECT of `rows` with one more column `ok:NAME` for each expectation on rows. NULL is not ok. together: the rows
    are of several cells; what compares rows compares those of a cell, but for the key."""

    def predicate(e: Expect) -> str:
        if not together or e.name == KEY_UNIQUE:
            return e.predicate
        own = e.predicate.replace("getvariable('cell')", "rows.cell")
        return own.replace(" over (partition by ", " over (partition by rows.cell, ")

    tests = [f'coalesce(({predicate(e)}), false) as "ok:{e.name}"' for e in expectations if isinstance(e, Expect)]
    return f"select {', '.join(['*', *tests])} from rows"


def profile(
    con: duckdb.DuckDBPyConnection, spec: Table, together: bool = False, small: bool = False
) -> list[dict[str, Any]]:
    """One row a partition, and a cell where the rows are of several: its columns, how many rows (`n`), and for each
    expectation the number of offending rows or the aggregate. small: the rows fit into memory."""
    names = [*spec.partition, *(["cell"] if together else [])]
    keys = [f'"{k}"' for k in names]
    group = f" group by {', '.join(keys)} order by all" if keys else ""
    found: dict[tuple, dict[str, Any]] = {}
    for expectations in [spec.expectations] if small else _asked_together(spec):
        columns = [
            f'count(*) filter (not "ok:{e.name}") as "{e.name}"'
            if isinstance(e, Expect)
            else f'({e.sql})::double as "{e.name}"'
            for e in expectations
        ]
        asked = ", ".join([*keys, 'count(*) as "n"', *columns])
        result = con.execute(f"select {asked} from ({judged(expectations, together)}){group}")
        for row in result.to_arrow_table().to_pylist():
            found.setdefault(tuple(row[k] for k in names), {}).update(row)
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


def judge(*tables: Rows) -> dict[str | None, list[Verdict]]:
    """The verdicts on the rows of each cell in one or several tables: one for each partition and expectation, and one
    on the number of rows."""
    found: dict[str | None, list[Verdict]] = {}
    for rows in tables:
        for n in numbers(rows):
            found.setdefault(n.cell, []).append(Verdict(n.table_name, n.partition, n.expectation, n.passed, n.observed))
    return found


def in_range(observed: float | None, low: float, high: float) -> bool:
    """Does the number lie in its range? None passes: an aggregate over no value has nothing to say. NaN fails."""
    return observed is None or low <= observed <= high


def numbers(rows: Rows) -> list[Number]:
    """Everything that is judged of one table. Rows with a value that a predicate cannot take (a cast refuses it, say)
    do not pass, nor do those that are judged with them; what is no fault of theirs, such as a damaged file of the lake,
    is raised."""
    spec, name = rows.spec, rows.table_name
    cells: list[str | None] = [*rows.cells] or [None]
    if rows.cells and not any(rows.cells.values()):
        profiles: list[dict[str, Any]] = []
    else:
        try:
            with rows.connect() as con:
                profiles = profile(con, spec, rows.together, rows.small)
        except duckdb.DataError as e:
            return [Number(cell, name, "", f"judged without error: {one_line(e)}", 1, 0, 0) for cell in cells]
    found = []
    counts: Counter[str | None] = Counter()
    ranges = [(e.name, *bounds(e)) for e in spec.expectations]
    for p in profiles:
        cell = p["cell"] if rows.together else cells[0]
        counts[cell] += p["n"]
        partition = partition_path(spec, p)
        found += [Number(cell, name, partition, e, p[e], low, high) for e, low, high in ranges]
    if rows.together and +counts != +Counter(rows.cells):  # some rows call themselves another cell's
        found += [Number(cell, name, "", "rows_of_their_cell", counts[cell], n, n) for cell, n in rows.cells.items()]
    found += [Number(c, name, "", "row_count_as_planned", counts[c], n, n) for c, n in rows.expected.items()]
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
