"""What a table is: its columns, its key, and what every row of it must meet.

An expectation is declared once, as a name and the SQL that a good row makes true (or an aggregate and its range), or as
a reference: the rows of another table that a row stands on. The profile, its judgement and the query for the offending
rows follow from it (`publishing.audit`), and from the references what `forget` takes along.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from . import shelf

TEXT = pa.string()
INT = pa.int64()
FLOAT = pa.float32()
DOUBLE = pa.float64()
BOOL = pa.bool_()
BYTES = pa.binary()
INTS = pa.list_(pa.int32())
LONGS = pa.list_(pa.int64())
FLOATS = pa.list_(pa.float32())
TIME = pa.timestamp("us", tz="UTC")


SQL_TYPES = {TEXT: "VARCHAR", INT: "BIGINT", FLOAT: "FLOAT", DOUBLE: "DOUBLE", BOOL: "BOOLEAN", BYTES: "BLOB"}
SQL_TYPES |= {INTS: "INTEGER[]", LONGS: "BIGINT[]", FLOATS: "FLOAT[]", TIME: "TIMESTAMPTZ"}

KEY_UNIQUE = "key_unique"  # the expectation that no two rows have one key


@dataclass(frozen=True)
class Column:
    name: str
    type: pa.DataType
    doc: str
    nullable: bool = False
    later: bool = False  # declared when there were lakes already: in their older files it is missing, and read as NULL

    @property
    def sql_type(self) -> str:
        """Its type in DuckDB."""
        return SQL_TYPES[self.type]


@dataclass(frozen=True)
class Expect:
    """Every row makes `predicate` true: NULL is not true.

    The SQL may name any column of the row, `stored.TABLE` for what is published in any table, and
    `getvariable('cell')`, `getvariable('model')`, ... for the settings of the cell that is judged. What compares rows
    (`over (partition by ...)`) compares those of one cell.
    """

    name: str
    predicate: str

    @property
    def tables(self) -> set[str]:
        """The tables that it looks into."""
        return set(re.findall(r"\bstored\.(\w+)", self.predicate))


@dataclass(frozen=True)
class Reference:
    """Every row stands on rows of `table`: those whose columns `to` equal its `columns`. One that stands on none is
    refused, and a cell on whose rows others stand is not forgotten without them.

    name: of the expectation that follows.
    columns: of the row, or SQL over it, in which `rows.COLUMN` is its own.
    to: columns of `table`; those of the same names where empty.
    where: SQL over rows of `table`: only these are stood on.
    unless: SQL over the row: where it is true, the row stands on nothing.
    within: columns that have one value in both rows, that of the cell's setting of this name where it has one: other
    partitions are not read.
    """

    name: str
    columns: tuple[str, ...]
    table: str
    to: tuple[str, ...] = ()
    where: str = ""
    unless: str = ""
    within: tuple[str, ...] = ()

    @property
    def target(self) -> tuple[str, ...]:
        """The columns of `table` that are compared."""
        return self.to or self.columns

    @property
    def expectation(self) -> Expect:
        """Where partitions are named, there may be many more rows in them than are looked for. DuckDB holds what
        follows `in`: so that is only what the rows name."""
        own, other = _tuple(self.columns), _tuple(self.target)
        tests = [self.where, *(f"{c} = coalesce(getvariable('{c}'), {c})" for c in self.within)]
        tests += [f"{other} in (select {own} from rows)"] if self.within else []
        where = " and ".join(filter(None, tests))
        known = f"{own} in (select {other} from stored.{self.table}{where and ' where '}{where})"
        return Expect(self.name, f"{self.unless} or {known}" if self.unless else known)


def _tuple(columns: tuple[str, ...]) -> str:
    return columns[0] if len(columns) == 1 else f"({', '.join(columns)})"


@dataclass(frozen=True)
class Measure:
    """The aggregate `sql` over the rows of a cell lies within [low, high]."""

    name: str
    sql: str
    low: float
    high: float


@dataclass(frozen=True)
class Table:
    """One table of the lake. `grain` opens with "One row is ..."."""

    grain: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    partition: tuple[str, ...] = ()
    sort: tuple[str, ...] = ()
    expect: tuple[Expect | Reference | Measure, ...] = ()

    @cached_property
    def schema(self) -> pa.Schema:
        """All columns, partition columns included, in the declared order. Every field admits NULL: that a column has
        none is an expectation, so that a NULL ends in quarantine with its row and not in a writer's error."""
        return pa.schema([pa.field(c.name, c.type) for c in self.columns])

    @cached_property
    def expectations(self) -> tuple[Expect | Measure, ...]:
        """The declared expectations, and those that follow from the columns, the key and the references."""
        declared = (e.expectation if isinstance(e, Reference) else e for e in self.expect)
        return (*self._present(), *self._finite(), *self._unique(), *declared)

    @property
    def references(self) -> tuple[Reference, ...]:
        """What its rows stand on."""
        return tuple(e for e in self.expect if isinstance(e, Reference))

    def _present(self) -> Iterator[Expect]:
        for c in self.columns:
            if not c.nullable:
                empty = f""" and "{c.name}" <> ''""" if c.name in self.partition else ""  # Delta takes '' for NULL
                yield Expect(f"{c.name}_present", f'"{c.name}" is not null{empty}')

    def _finite(self) -> Iterator[Expect]:
        for c in self.columns:
            if pa.types.is_floating(c.type):
                yield Expect(f"{c.name}_finite", f'"{c.name}" is null or isfinite("{c.name}")')
            elif pa.types.is_list(c.type) and pa.types.is_floating(c.type.value_type):
                bad = f'list_filter("{c.name}", lambda x: x is null or not isfinite(x))'
                yield Expect(f"{c.name}_finite", f'"{c.name}" is null or len({bad}) = 0')

    def _unique(self) -> Iterator[Expect]:
        key = ", ".join(f'"{k}"' for k in self.key)
        yield Expect(KEY_UNIQUE, f"count(*) over (partition by {key}) = 1")
        # By way of the few that are in both: DuckDB holds what follows `in`, and `published` grows with the lake.
        both = f"select ({key}) from published where ({key}) in (select ({key}) from rows)"
        yield Expect("key_not_published", f"({key}) not in ({both})")


def names() -> list[str]:
    """The tables of a lake."""
    return shelf.names("memlake.warehouse.tables")


def table(name: str) -> Table:
    """The table `name`; raises `UnknownName`."""
    return shelf.take("memlake.warehouse.tables", name, "table").TABLE
