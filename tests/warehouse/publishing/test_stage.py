"""Rows by partition, beside a plain sort and a dict."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from memlake.warehouse.publishing.stage import split
from memlake.warehouse.schema import INT, TEXT, Column, Table

NAMES = ["a", "b", "", "ü", None]
COLUMNS = (Column("p", TEXT, ""), Column("q", TEXT, ""), Column("rank", INT, ""), Column("text", TEXT, ""))


def spec(partition: tuple[str, ...], sort: tuple[str, ...]) -> Table:
    return Table("One row is a row.", COLUMNS, ("rank",), partition, sort)


@pytest.mark.parametrize("partition", [(), ("p",), ("p", "q")])
@pytest.mark.parametrize("sort", [(), ("rank",), ("q", "rank")])
@pytest.mark.parametrize("n", [0, 1, 7, 400])
def test_the_rows_of_each_partition_in_order(partition, sort, n):
    draw = random.Random(n)
    rows = [
        {"p": draw.choice(NAMES), "q": draw.choice(NAMES), "rank": draw.choice([None, *range(20)]), "text": str(i)}
        for i in range(n)
    ]
    table = spec(partition, sort)
    pieces = [rows[: n // 3], rows[n // 3 :]]  # of several chunks
    given = pa.concat_tables([pa.Table.from_pylist(piece, table.schema) for piece in pieces])
    found = list(split(table, given))

    def place(row):
        return [(row[k] is None, "" if row[k] is None else row[k]) for k in sort]  # NULL is last

    expected: dict[tuple, list[dict]] = {}
    for row in sorted(rows, key=place):
        rest = {k: v for k, v in row.items() if k not in partition}
        expected.setdefault(tuple(row[k] for k in partition), []).append(rest)
    assert [tuple(values[k] for k in partition) for values, _ in found] == list(expected)
    assert [piece.to_pylist() for _, piece in found] == list(expected.values())


def test_more_partitions_than_two_bytes_count():
    n = 70_000
    table = spec(("p",), ("rank",))
    rows = pa.table(
        {"p": [str(i) for i in range(n)], "q": pa.nulls(n, TEXT), "rank": range(n), "text": pa.nulls(n, TEXT)}
    )
    found = [(values["p"], piece["rank"].to_pylist()) for values, piece in split(table, rows)]
    assert found == [(str(i), [i]) for i in range(n)]
