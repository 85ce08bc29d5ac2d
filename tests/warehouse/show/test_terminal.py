"""How rows are printed."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import pyarrow as pa
import pytest

from memlake.warehouse.errors import BadInput
from memlake.warehouse.show.terminal import FormatName, aligned, show
from memlake.warehouse.work.progress import Progress

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


NAN, INF = float("nan"), float("inf")
STRANGE = pa.table(
    {
        "x": [NAN],
        "y": pa.array([-INF], pa.float32()),
        "list": [[1.5, NAN]],
        "struct": [{"a": {"b": INF}, "c": [[NAN]], "d": 2.5}],
        "map": pa.array([[("k", NAN)]], pa.map_(pa.string(), pa.float64())),
        "decimal": [Decimal("1.25")],
        "date": [date(2020, 1, 31)],
    }
)


def test_json_has_null_where_it_has_no_number(capsys):
    show(STRANGE, FormatName.json)
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {
        "x": None,
        "y": None,
        "list": [1.5, None],
        "struct": {"a": {"b": None}, "c": [[None]], "d": 2.5},
        "map": [["k", None]],
        "decimal": "1.25",
        "date": "2020-01-31",
    }


def test_csv_and_tables_keep_nan(capsys):
    show(STRANGE.select(["x", "y"]), FormatName.csv)
    assert capsys.readouterr().out == "x,y\nnan,-inf\n"
    assert aligned(STRANGE.select(["x", "y"])).splitlines()[2].split() == ["nan", "-inf"]


def test_json_refuses_to_lose_a_column():
    doubled = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    with pytest.raises(BadInput, match="several columns are called x"):
        show(doubled, FormatName.json)


@pytest.mark.parametrize("form", list(FormatName))
def test_what_has_no_form_is_one_line_and_nothing_else(form, capsys):
    late = pa.array([2**31 - 1], pa.date32())  # DuckDB's infinity; Python's dates end in 9999
    rows = pa.table({"x": pa.array([(1, 2, 3)], pa.month_day_nano_interval()) if form is FormatName.parquet else late})
    with pytest.raises(BadInput, match="cannot be shown as") as raised:
        show(rows, form)
    assert "\n" not in str(raised.value) and capsys.readouterr().out == ""


def test_progress_tells_rate_and_time_left():
    progress = Progress("scoring", cells=4, rows=40)
    progress._began -= 10
    assert progress.line() == "scoring: 0/4 cells, 10 s"
    progress.advance(20)
    assert progress.line() == "scoring: 1/4 cells, 10 s, 2 rows/s, 10 s left"
    progress.advance(10, failed=True)
    assert progress.line().endswith("1 failed")
