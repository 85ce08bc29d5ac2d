"""Rows as CSV, JSON or Parquet, written by DuckDB a batch at a time: what there is of them need not fit into memory."""

from __future__ import annotations

import os
import select
import sys
from collections import Counter
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import uuid4

from memlake.warehouse.connections import Work, connect, interruptible
from memlake.warehouse.errors import BadInput, one_line

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    Rows: TypeAlias = pa.Table | pa.RecordBatchReader


class FormatName(StrEnum):
    """How rows are printed."""

    table = "table"
    csv = "csv"
    json = "json"
    jsonl = "jsonl"
    parquet = "parquet"


OPTIONS = {
    FormatName.csv: "format csv, header",
    FormatName.json: "format json, array true",
    FormatName.jsonl: "format json, array false",
    FormatName.parquet: "format parquet",
}
SUFFIXES = {f".{form.value}": form for form in OPTIONS} | {".ndjson": FormatName.jsonl}
COMPRESSED = {".gz": "gzip", ".zst": "zstd"}


def pour(rows: Rows, form: FormatName, seconds: float | None = None) -> None:
    """Write rows to stdout. seconds: how long that may take, else `connections.Overtime`. Raises `BadInput` for what
    the format has no form for, and what the rows raise that are read on."""
    sys.stdout.flush()
    out = sys.stdout.buffer
    read, write = os.pipe()

    def copy() -> None:
        try:
            _copy(rows, form, f"/dev/fd/{write}")
        finally:
            os.close(write)

    work = Work(copy, seconds)
    try:
        with interruptible():
            while select.select([read], [], [], work.left)[0] and (part := os.read(read, 2**16)):
                out.write(part)
    except BaseException:
        os.close(read)  # so that it waits for nobody
        work.stop()
        raise
    os.close(read)
    work.result()


def save(rows: Rows, form: FormatName, path: Path, seconds: float | None = None) -> int:
    """Write rows into a file, whole or not at all, as `pour` does; how many there are. A `.gz` or `.zst` at the end of
    its name compresses it."""
    import duckdb

    part = path.with_name(f".{path.name[:100]}-{uuid4().hex[:12]}.part")
    compression = COMPRESSED.get(path.suffix.lower())
    if compression and form is FormatName.parquet:
        raise BadInput(f"{path.name}: Parquet is compressed in itself, call it {path.stem}")
    try:
        written = Work(lambda: _copy(rows, form, str(part.absolute()), compression), seconds).result()
        os.replace(part, path)
    except OSError as e:
        raise BadInput(f"{path} cannot be written: {e.strerror}") from e
    except duckdb.IOException as e:
        raise BadInput(f"{path} cannot be written: {one_line(e)}") from e
    finally:
        part.unlink(missing_ok=True)
    return written


def destination(path: Path, form: FormatName | None = None) -> FormatName:
    """The format of a file that is to be written: `form`, or what its name ends in. Raises `BadInput` where neither
    tells, and where something else than a file lies there."""
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    found = form or (SUFFIXES.get(suffixes[-1]) if suffixes else None)
    if found not in OPTIONS:
        raise BadInput(f"{path.name} names no format: end it in {', '.join(SUFFIXES)}, or give --format")
    if path.exists() and not path.is_file():
        raise BadInput(f"{path} is no file that could be replaced")
    if not path.absolute().parent.is_dir():
        raise BadInput(f"{path} cannot be written: there is no folder {path.parent}")
    return found


def as_text(rows: pa.Table) -> pa.Table:
    """The rows with those columns as text of whose types only DuckDB knows what they mean: bits, huge numbers,
    intervals."""
    strange = [any(word in str(t) for word in ("opaque", "interval", "union")) for t in rows.schema.types]
    if not any(strange):
        return rows
    with connect() as con:
        con.register("rows", rows)
        places = [f"c{i}" for i in range(rows.num_columns)]
        forms = (f"{c}::varchar as {c}" if s else c for c, s in zip(places, strange, strict=True))
        shown = con.execute(f"select {', '.join(forms)} from rows as t({', '.join(places)})").to_arrow_table()
    return shown.rename_columns(rows.column_names)


def _copy(rows: Rows, form: FormatName, place: str, compression: str | None = None) -> int:
    import duckdb
    import pyarrow as pa

    from memlake.warehouse.relation import quoted  # with it comes all that tables are declared by

    names = list(rows.schema.names)
    doubled = [name for name, n in Counter(map(str.lower, names)).items() if n > 1]
    if doubled and form is not FormatName.csv:
        raise BadInput(f"several columns are called {doubled[0]}, {form.value} would keep one: rename them with `as`")
    if not names:
        return _nothing(form, place)
    places = [f"c{i}" for i in range(len(names))]
    if doubled:  # DuckDB tells no columns apart by case
        batches = rows.to_batches() if isinstance(rows, pa.Table) else rows
        schema = pa.schema([field.with_name(c) for field, c in zip(rows.schema, places, strict=True)])
        rows = pa.RecordBatchReader.from_batches(schema, (batch.rename_columns(places) for batch in batches))
    options = f"{OPTIONS[form]}, use_tmp_file false" + (f", compression {compression}" if compression else "")
    with connect() as con:
        con.execute("set TimeZone = 'UTC'")
        # One thread keeps the order by itself; what DuckDB would do to keep it holds all rows
        con.execute("set threads = 1; set preserve_insertion_order = false")
        con.register("rows", rows)
        kinds = _kinds(rows.schema)
        columns = (
            f"{_form(form, c, kind) or c} as {_name(name)}" for c, kind, name in zip(places, kinds, names, strict=True)
        )
        select_ = f"select {', '.join(columns)} from rows as t({', '.join(places)})"
        try:
            return con.execute(f"copy ({select_}) to {quoted(place)} ({options})").fetchall()[0][0]
        except duckdb.Error as e:
            if "get_next failed()" in str(e) or isinstance(e, (duckdb.InterruptException, duckdb.IOException)):
                raise
            raise BadInput(f"a value cannot be shown as {form.value} ({one_line(e)}): cast its column to text") from e


def _kinds(schema: pa.Schema) -> list[duckdb.sqltypes.DuckDBPyType]:
    """The types of columns in DuckDB."""
    import pyarrow as pa

    with connect() as con:
        con.register("rows", pa.RecordBatchReader.from_batches(schema, []))
        return con.sql("from rows").types


def _nothing(form: FormatName, place: str) -> int:
    """No rows without columns."""
    if form is FormatName.parquet:
        raise BadInput("there are no columns, of which Parquet needs one")
    with suppress(BrokenPipeError):
        Path(place).write_text("[]\n" if form is FormatName.json else "")
    return 0


def _form(form: FormatName, value: str, kind: Any, depth: int = 0) -> str | None:
    """The SQL of a value as the format can hold it; None: as it is. JSON has null for NaN and infinity; bytes are in
    hexadecimal; Parquet has no numbers of 128 bits but decimals. kind: its type in DuckDB."""

    def within(value: str, kind: Any) -> str | None:
        return _form(form, value, kind, depth + 1)

    if kind.id in ("list", "array"):
        item = within(f"x{depth}", kind.children[0][1])
        return item and f"list_transform({value}, lambda x{depth}: {item})"
    if kind.id == "struct":
        fields = {name: (f"{value}.{_name(name)}", of) for name, of in kind.children}
        forms = {name: within(*field) for name, field in fields.items()}
        if not any(forms.values()):
            return None
        packed = ", ".join(f"{_name(name)} := {forms[name] or field}" for name, (field, _) in fields.items())
        return f"if({value} is null, null, struct_pack({packed}))"
    if kind.id == "map":
        of = dict(kind.children)
        key, item = within(f"x{depth}.key", of["key"]), within(f"x{depth}.value", of["value"])
        if not key and not item:
            return None
        entry = f"struct_pack(k := {key or f'x{depth}.key'}, v := {item or f'x{depth}.value'})"
        return f"map_from_entries(list_transform(map_entries({value}), lambda x{depth}: {entry}))"
    return _FORMS[form].get(kind.id, "").format(value) or None


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


_HEX = {"blob": "lower(hex({}))"}
_FINITE = {"float": "if(isfinite({0}), {0}, null)", "double": "if(isfinite({0}), {0}, null)", "union": "{}::varchar"}
_FORMS = {
    FormatName.csv: _HEX,
    FormatName.json: _HEX | _FINITE,
    FormatName.jsonl: _HEX | _FINITE,
    FormatName.parquet: {
        **dict.fromkeys(("hugeint", "uhugeint"), "{}::decimal(38, 0)"),
        **dict.fromkeys(("bit", "bignum", "union"), "{}::varchar"),
    },
}
