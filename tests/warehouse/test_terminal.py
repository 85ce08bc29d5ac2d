"""How rows are printed."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from warehouse.progress import Progress
from warehouse.terminal import FormatName, aligned, show

ROWS = pa.table(
    {
        "model": ["m", "a\tlong\x1b[31m one"],
        "rate": [0.125, None],
        "n": [7, 1000],
        "match": [b"\x01\xff", b""],
        "tokens": [[1, 2], []],
    }
)


def test_aligned_columns_escape_what_a_terminal_would_obey():
    assert aligned(ROWS).splitlines() == [
        "model                 rate     n  match  tokens",
        "-------------------  -----  ----  -----  ------",
        "m                    0.125     7  01ff   [1, 2]",
        r"a\tlong\x1b[31m one   NULL  1000         []",
        "(2 rows)",
    ]


def test_columns_of_one_name_are_all_shown():
    doubled = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    assert aligned(doubled).splitlines()[2] == "1  2"


@pytest.mark.parametrize("form", ["csv", "json"])
def test_text_formats_keep_the_values(form, capsys):
    show(ROWS, FormatName(form))
    out = capsys.readouterr().out.splitlines()
    if form == "csv":
        assert out[0] == "model,rate,n,match,tokens"
        assert out[1] == 'm,0.125,7,01ff,"[1, 2]"' and len(out) == 3
    else:
        assert [json.loads(line)["n"] for line in out] == [7, 1000]
        assert json.loads(out[0]) == {"model": "m", "rate": 0.125, "n": 7, "match": "01ff", "tokens": [1, 2]}


def test_progress_tells_rate_and_time_left():
    progress = Progress("scoring", cells=4, rows=40)
    progress._began -= 10
    assert progress.line() == "scoring: 0/4 cells, 10 s"
    progress.advance(20)
    assert progress.line() == "scoring: 1/4 cells, 10 s, 2 rows/s, 10 s left"
    progress.advance(10, failed=True)
    assert progress.line().endswith("1 failed")
