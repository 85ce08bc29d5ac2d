"""Ids of columns are those of their rows."""

from __future__ import annotations

import pyarrow as pa

from memlake.warehouse.identity import hash63, hash63_each

ODD = [
    "",
    "a",
    "7",
    'it\'s "so"',
    "a\0b\n\x7f\u2028",
    "naïve",
    "𐍈🏳️‍🌈",
    "x" * 300,
    "\\ud800",
    "s1:a",
    " " * 9 + "é" * 100,
]


def test_the_hash_of_a_column_is_that_of_each_row():
    column, other = pa.array(ODD), pa.chunked_array([ODD[::-1]]).combine_chunks()
    expected = [hash63("import", a, "it's", b) for a, b in zip(ODD, ODD[::-1], strict=True)]
    assert hash63_each("import", column, "it's", other).to_pylist() == expected
    assert hash63_each("\ud800", column.slice(2, 3)).to_pylist() == [hash63("\ud800", t) for t in ODD[2:5]]
    assert hash63_each("import", column.slice(0, 0)).to_pylist() == []
