"""How rows are printed."""

from __future__ import annotations

import io
import json
import sys
from datetime import date
from decimal import Decimal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
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


def printed(rows: pa.Table | pa.RecordBatchReader, form: str, capfdbinary) -> bytes:
    show(rows, FormatName(form))
    return capfdbinary.readouterr().out


def test_csv_keeps_the_values(capfdbinary):
    header, first, *rest = printed(ROWS, "csv", capfdbinary).decode().split("\n")
    assert header == "model,rate,n,match,tokens" and first == 'm,0.125,7,01ff,"[1, 2]"' and len(rest) == 2


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_json_is_an_array_and_json_lines_are_objects(form, capfdbinary):
    out = printed(ROWS, form, capfdbinary)
    found = json.loads(out) if form == "json" else [json.loads(line) for line in out.splitlines()]
    assert [row["n"] for row in found] == [7, 1000]
    assert found[0] == {"model": "m", "rate": 0.125, "n": 7, "match": "01ff", "tokens": [1, 2]}
    assert json.loads(printed(ROWS.slice(0, 0), "json", capfdbinary)) == []
    assert printed(ROWS.slice(0, 0), "jsonl", capfdbinary) == b""


NAN, INF = float("nan"), float("inf")
STRANGE = pa.table(
    {
        "x": [NAN],
        "y": pa.array([-INF], pa.float32()),
        "list": [[1.5, NAN]],
        "struct": [{"a": {"b": INF}, "c": [[NAN]], "d": 2.5, 'e"': b"\x01"}],
        "map": pa.array([[("k", NAN)]], pa.map_(pa.string(), pa.float64())),
        "decimal": [Decimal("1.25")],
        "date": [date(2020, 1, 31)],
    }
)


def test_json_has_null_where_it_has_no_number(capfdbinary):
    (found,) = json.loads(printed(STRANGE, "json", capfdbinary), parse_constant=pytest.fail)
    assert found == {
        "x": None,
        "y": None,
        "list": [1.5, None],
        "struct": {"a": {"b": None}, "c": [[None]], "d": 2.5, 'e"': "01"},
        "map": {"k": None},
        "decimal": 1.25,
        "date": "2020-01-31",
    }
    missing = pa.table({c: pa.nulls(1, STRANGE.schema.field(c).type) for c in STRANGE.column_names})
    assert json.loads(printed(missing, "json", capfdbinary)) == [dict.fromkeys(STRANGE.column_names)]


def test_csv_and_tables_keep_nan(capfdbinary):
    assert printed(STRANGE.select(["x", "y"]), "csv", capfdbinary) == b"x,y\nnan,-inf\n"
    assert aligned(STRANGE.select(["x", "y"])).splitlines()[2].split() == ["nan", "-inf"]


def test_null_is_told_from_texts(capfdbinary):
    rows = pa.table({"a": [None, "", "NULL"], "b": [1, 2, 3]})
    assert aligned(rows).splitlines()[2:5] == ["NULL    1", "        2", "'NULL'  3"]
    assert printed(rows, "csv", capfdbinary) == b'a,b\n,1\n"",2\nNULL,3\n'


TYPES = {
    "'101'::bit": ("101", "101", "101"),
    "['1'::bit]": ("[1]", "[1]", ["1"]),
    "interval 3 days + interval 1 month": ("1 month 3 days", "1 month 3 days", "1 month 3 days"),
    "12345678901234567890::hugeint": ("12345678901234567890", "12345678901234567890", 12345678901234567890),
    "true": ("True", "true", True),
    "uuid '453b3cde-2ce2-4a83-ad0b-cb37afcf4ab5'": ("453b3cde-2ce2-4a83-ad0b-cb37afcf4ab5",) * 3,
    "'a'::enum('a', 'b')": ("a", "a", "a"),
    "'\\x01\\xFF'::blob": ("01ff", "01ff", "01ff"),
    "union_value(x := 'nan'::double)": ("nan", "nan", "nan"),
    "'{\"a\":1}'::json": ('{"a":1}', '"{""a"":1}"', {"a": 1}),
    "time '12:00:00'": ("12:00:00", "12:00:00", "12:00:00"),
}


@pytest.mark.parametrize("sql", TYPES)
def test_what_only_duckdb_knows_is_printed_as_what_it_is(sql, capfdbinary):
    con = duckdb.connect()
    con.execute("set arrow_lossless_conversion = true")
    rows = con.execute(f"select {sql} as x").to_arrow_table()
    table, csv, value = TYPES[sql]
    assert aligned(rows).splitlines()[2].strip() == table
    assert printed(rows, "csv", capfdbinary).decode() == f"x\n{csv}\n"
    assert json.loads(printed(rows, "json", capfdbinary)) == [{"x": value}]
    read = pq.read_table(io.BytesIO(printed(rows, "parquet", capfdbinary)))
    assert len(read) == 1 and read.column_names == ["x"]


@pytest.mark.parametrize("form", ["json", "jsonl", "parquet"])
def test_what_would_lose_a_column_is_refused(form):
    doubled = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    with pytest.raises(BadInput, match="several columns are called x"):
        show(doubled, FormatName(form))


def test_columns_that_differ_by_case_are_all_there(capfdbinary):
    rows = pa.table({"x": [1], "X": [2]})
    assert aligned(rows).splitlines()[2] == "1  2"
    with pytest.raises(BadInput, match="several columns are called x"):
        show(rows, FormatName.json)
    assert printed(rows, "csv", capfdbinary).splitlines()[1] == b"1,2"


def test_no_columns_are_no_rows(capfdbinary):
    nothing = pa.table({})
    assert [printed(nothing, form, capfdbinary) for form in ("csv", "json", "jsonl")] == [b"", b"[]\n", b""]
    assert aligned(nothing).endswith("(0 rows)")


def test_what_has_no_form_is_one_line_and_nothing_else(capfdbinary):
    late = pa.table({"x": pa.array([2**31 - 1], pa.date32())})  # DuckDB's infinity; Python's dates end in 9999
    with pytest.raises(BadInput, match="cannot be shown as table") as raised:
        show(late)
    assert "\n" not in str(raised.value) and capfdbinary.readouterr().out == b""
    assert printed(late, "csv", capfdbinary) == b"x\ninfinity\n"


def test_a_table_fits_the_terminal():
    words = {f"text_{i}": ["word " * 12, "short"] for i in range(4)} | {"n": [12345, 1], "rate": [0.123456, None]}
    rows = pa.table(words)
    for width in range(1, 300):
        lines = aligned(rows, width).splitlines()
        assert len(lines) == 5
        assert all(len(line) <= max(width, 13) for line in lines[:-1]), width
        fits = width >= len(aligned(rows).splitlines()[1])
        assert fits == (lines[-1] == "(2 rows)") == ("…" not in "".join(lines[:-1])), width
    narrow = aligned(rows, 40).splitlines()
    assert narrow[0].split() == ["text_0", "text_1", "…", "rate"] and narrow[2].endswith("…  …  0.123456")
    assert narrow[-1] == "(2 rows, 3 of 6 columns; --format csv gives all)"


def test_letters_that_take_two_places_are_counted_so():
    first, _, *rows, _ = aligned(pa.table({"a": ["中文", "abc"], "b": [1, 2]})).splitlines()
    assert [first, *rows] == ["a     b", "中文  1", "abc   2"]
    assert aligned(pa.table({"a": ["中文" * 20]}), 20).splitlines()[2] == "中文中文中文中文中…"


def batches(n: int) -> pa.RecordBatchReader:
    schema = pa.schema([("n", pa.int64())])
    parts = (pa.record_batch([pa.array(range(i, min(i + 1000, n)))], schema=schema) for i in range(0, n, 1000))
    return pa.RecordBatchReader.from_batches(schema, parts)


@pytest.mark.parametrize(
    ("n", "last"),
    [
        (3, "(3 rows)"),
        (40, "(40 rows)"),
        (41, "(41 rows, first 40 shown; --all or --format csv gives all)"),
        (100_000, "(100000 rows, first 40 shown; --all or --format csv gives all)"),
        (10_000_000, "(more than 100,000 rows, first 40 shown; --all or --format csv gives all)"),
    ],
)
def test_a_terminal_gets_the_first_rows(n, last, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    show(batches(n), most=40)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == last and len(lines) == min(n, 40) + 3


def test_all_of_it_goes_through_the_pager(capsys, monkeypatch):
    paged = []
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("pydoc.pager", paged.append)
    show(batches(1234), paged=True)
    assert paged[0].count("\n") == 1236 and capsys.readouterr().out == ""


def test_elsewhere_all_rows_are_printed(capsys):
    show(batches(1234), most=40)
    assert capsys.readouterr().out.splitlines()[-1] == "(1234 rows)"


def test_progress_tells_rate_and_time_left():
    progress = Progress("scoring", cells=4, rows=40)
    progress._began -= 10
    assert progress.line() == "scoring: 0/4 cells, 10 s"
    progress.advance(20)
    assert progress.line() == "scoring: 1/4 cells, 10 s, 2 rows/s, 10 s left"
    progress.advance(10, failed=True)
    assert progress.line().endswith("1 failed")
