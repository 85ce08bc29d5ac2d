"""What the commands of all folders share: options, tables on the terminal, how a run ends."""

from __future__ import annotations

import math
import sys
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memlake.warehouse.errors import BadInput, DamagedLake, one_line
from memlake.warehouse.words import counted

from .shell import before_or_behind

if TYPE_CHECKING:
    import pyarrow as pa

    from memlake.warehouse.lake import Lake
    from memlake.warehouse.work.runner import Summary

LakePath = Annotated[
    Path, typer.Option("--lake", envvar="MEMLAKE_LAKE", callback=before_or_behind, help="Folder of the lake.")
]
DEFAULT_LAKE = Path("lake")


class FormatName(StrEnum):
    """How rows are printed."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


Format = Annotated[
    FormatName, typer.Option("--format", help="How to print the rows; json has null for NaN and infinity.")
]


def say(line: str) -> None:
    """A line for the person at the terminal, on stderr: stdout is for answers."""
    print(line, file=sys.stderr, flush=True)


def show(rows: pa.Table, form: FormatName = FormatName.table) -> None:
    """Print rows on stdout: aligned columns, CSV, JSON (one object a line) or a Parquet file. JSON has no NaN and no
    infinity: they become null. Raises `BadInput` for what Python or the format has no form for."""
    import pyarrow as pa

    try:
        _write(rows, form)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError, ValueError) as e:
        raise BadInput(f"a value cannot be shown as {form.value} ({one_line(e)}): cast its column to text") from e


def _write(rows: pa.Table, form: FormatName) -> None:
    if form is FormatName.table:
        print(aligned(rows))
    elif form is FormatName.csv:
        import csv

        writer = csv.writer(sys.stdout, lineterminator="\n")
        cells = [c.to_pylist() for c in rows.columns]
        writer.writerow(rows.column_names)
        for row in zip(*cells, strict=True):
            writer.writerow("" if v is None else _plain(v) if isinstance(v, bytes) else v for v in row)
    elif form is FormatName.json:
        import json

        if doubled := [name for name, n in Counter(rows.column_names).items() if n > 1]:
            raise BadInput(f"several columns are called {doubled[0]}, JSON would keep one: rename them with `as`")
        for row in rows.to_pylist():
            print(json.dumps(_finite(row), default=_plain, ensure_ascii=False, allow_nan=False))
    else:
        import pyarrow.parquet as pq

        pq.write_table(rows, sys.stdout.buffer)


def aligned(rows: pa.Table) -> str:
    """Rows as text in aligned columns, numbers to the right; control characters are escaped, for text is data."""
    import pyarrow.types as types

    names = rows.column_names
    cells = list(zip(*([_text(v) for v in column.to_pylist()] for column in rows.columns), strict=True))
    right = [types.is_integer(t) or types.is_floating(t) for t in rows.schema.types]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    lines = [
        "  ".join(v.rjust(w) if r else v.ljust(w) for v, w, r in zip(line, widths, right, strict=True)).rstrip()
        for line in [names, ["-" * w for w in widths], *cells]
    ]
    return "\n".join([*lines, f"({counted(len(cells), 'row')})"])


def _text(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return f"{value:.6g}"
    return printable(value if isinstance(value, str) else str(_plain(value)))


def printable(text: str) -> str:
    """The text with what is no letter, mark or plain space escaped: it stays one line, and no terminal obeys it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _plain(value: object) -> object:
    """A value that text has no form for: bytes in hexadecimal."""
    return value.hex() if isinstance(value, bytes) else str(value)


def _finite(value: object) -> object:
    """The value with None for NaN and infinities, in lists and structs too."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list | tuple) else value


def finish(summary: Summary, what: str, lake: Lake | None = None) -> None:
    """Say how a run ended, and that a compaction of the lake pays, where one is given and it does; where cells failed,
    their reasons, and exit code 1."""
    counts = [f"{len(summary.done)} done", f"{summary.skipped} done before", f"{len(summary.failed)} failed"]
    say(f"{what}: {', '.join(counts)}")
    if lake and summary.done:
        _offer_compaction(lake)
    for cell, reason in summary.failed:
        about = " ".join(
            str(v) for k, v in cell.settings.to_json().items() if k in ("model", "source", "corpus", "domain", "file")
        )
        say(f"  {cell.id} {about}: {reason.strip()}")
    if summary.failed:
        say("Run the same command again to retry what failed.")
        raise typer.Exit(1)


def _offer_compaction(lake: Lake) -> None:
    from memlake.warehouse import schema
    from memlake.warehouse.publishing.compact import layout, offer

    try:
        line = offer(layout(lake, name) for name in schema.names())
    except DamagedLake:
        return  # no matter of the run's: `memlake warehouse check` tells
    if line:
        say(line)
