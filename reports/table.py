"""Rows as a table of the page."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

SHOWN = 100  # rows of a table that stand in the page


@dataclass(frozen=True)
class Column:
    name: str
    is_number: bool


@dataclass(frozen=True)
class Table:
    """The first rows of a table, how many are left out, and where those are."""

    columns: list[Column]
    rows: list[tuple[object, ...]]
    left_out: int
    more: str


def table(rows: pa.Table, more: str = "") -> Table:
    """Rows as a table, at most `SHOWN` of them. more: where the others are."""
    columns = [Column(f.name, pa.types.is_integer(f.type) or pa.types.is_floating(f.type)) for f in rows.schema]
    shown = [tuple(row.values()) for row in rows.slice(0, SHOWN).to_pylist()]
    return Table(columns, shown, max(0, rows.num_rows - SHOWN), more)
