"""What the commands of all folders share: options, tables on the terminal, how a run ends."""

from __future__ import annotations

import os
import pydoc
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memlake.warehouse.errors import BadInput, DamagedLake, one_line
from memlake.warehouse.words import counted

from .formats import FormatName
from .shell import before_or_behind

if TYPE_CHECKING:
    import pyarrow as pa

    from memlake.warehouse.lake import Lake
    from memlake.warehouse.work.runner import Summary

    from .formats import Rows

LakePath = Annotated[
    Path, typer.Option("--lake", envvar="MEMLAKE_LAKE", callback=before_or_behind, help="Folder of the lake.")
]
DEFAULT_LAKE = Path("lake")
Format = Annotated[
    FormatName, typer.Option("--format", help="How to print the rows; json and jsonl have null for NaN and infinity.")
]
SHOWN = 40  # rows on a terminal
COUNTED = 100_000  # rows of which a terminal is told how many there are
LEAST = 10  # characters to which a column is shortened before others are left out
GAP = "  "


def say(line: str) -> None:
    """A line for the person at the terminal, on stderr: stdout is for answers."""
    print(line, file=sys.stderr, flush=True)


def show(
    rows: Rows,
    form: FormatName = FormatName.table,
    most: int | None = None,
    seconds: float | None = None,
    paged: bool = False,
) -> None:
    """Print rows on stdout: aligned columns, CSV, JSON (one array), JSON lines (an object each) or a Parquet file. JSON
    has no NaN and no infinity: they become null. On a terminal aligned columns are made to fit it, and of rows the
    first `most` shown; if `paged` all is shown, a screen at a time. seconds: how long it may take to get them. Raises
    `BadInput` for what Python or the format has no form for, and what the rows raise that are read on."""
    from .formats import pour

    if form is not FormatName.table:
        pour(rows, form, seconds)
    elif not sys.stdout.isatty():
        print(aligned(_whole(rows, seconds)))
    elif paged:
        os.environ.setdefault("LESS", "-SFX")  # lines are not folded, and what fits a screen just stays there
        pydoc.pager(aligned(_whole(rows, seconds)))
    else:
        first, count = _first(rows, most, seconds)
        hint = "--format csv" if most is None else "--all or --format csv"
        print(aligned(first, shutil.get_terminal_size().columns, count, hint))


def _whole(rows: Rows, seconds: float | None) -> pa.Table:
    from memlake.warehouse.connections import Work

    return Work(rows.read_all, seconds).result() if hasattr(rows, "read_all") else rows


def _first(rows: Rows, most: int | None, seconds: float | None) -> tuple[pa.Table, str]:
    """The first rows, and how many there are, so far as that is counted."""
    import pyarrow as pa

    from memlake.warehouse.connections import Work

    def look() -> tuple[pa.Table, int, bool]:
        kept, count = [], 0
        for batch in rows.to_batches() if isinstance(rows, pa.Table) else rows:
            kept += [batch.slice(0, max(0, most - count))] if most is not None else [batch]
            count += batch.num_rows
            if most is not None and count > max(most, COUNTED):
                return pa.Table.from_batches(kept, rows.schema), COUNTED, True
        return pa.Table.from_batches(kept, rows.schema), count, False

    first, count, more = Work(look, seconds).result()
    return first, f"more than {COUNTED:,} rows" if more else counted(count, "row")


def aligned(rows: pa.Table, width: int | None = None, count: str = "", hint: str = "--format csv") -> str:
    """Rows as text in aligned columns, numbers to the right; control characters are escaped, for text is data, and a
    text that would pass for NULL is quoted. width: characters in which they fit, long values shortened, columns in the
    middle left out. count: how many rows there are, if not these;
    hint: by which option all of it is shown. Raises `BadInput` for what Python has no form for."""
    import pyarrow as pa

    from .formats import as_text

    names = [printable(name) for name in rows.column_names]
    try:
        shown = as_text(rows)
        columns = [[_text(v) for v in column.to_pylist()] for column in shown.columns]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError, ValueError) as e:
        raise BadInput(f"a value cannot be shown as table ({one_line(e)}): cast its column to text") from e
    if names == ["explain_key", "explain_value"]:
        return "\n".join(printable(line) for value in rows["explain_value"].to_pylist() for line in value.splitlines())
    right = [_is_number(t) for t in rows.schema.types]
    cells = [[name, *column] for name, column in zip(names, columns, strict=True)]
    widths = [max(map(_width, column)) for column in cells]
    notes = [count or counted(len(rows), "row")]
    if count and len(rows) and count != counted(len(rows), "row"):
        notes += [f"first {len(rows)} shown"]
    if width is not None and sum(widths) + len(GAP) * (len(widths) - 1) > width:
        least = [
            min(w, max(LEAST, *map(_width, column[1:])) if r and len(column) > 1 else LEAST)
            for w, r, column in zip(widths, right, cells, strict=True)
        ]
        kept = _kept(least, width)
        notes += [f"{len(kept)} of {len(cells)} columns" if len(kept) < len(cells) else "shortened"]
        widths = _fit([widths[i] for i in kept], [least[i] for i in kept], width, len(kept) < len(cells))
        cells, right = [cells[i] for i in kept], [right[i] for i in kept]
        cells = [[_shortened(text, w) for text in column] for column, w in zip(cells, widths, strict=True)]
        if len(kept) < len(names):
            middle = (len(kept) + 1) // 2
            cells.insert(middle, ["…"] * (len(rows) + 1))
            widths.insert(middle, 1)
            right.insert(middle, False)
    ruled = [[column[0], "-" * w, *column[1:]] for column, w in zip(cells, widths, strict=True)]
    lines = [GAP.join(map(_placed, line, widths, right)).rstrip() for line in zip(*ruled, strict=True)]
    if len(notes) > 1:
        notes[-1] += f"; {hint} gives all"
    return "\n".join([*lines, f"({', '.join(notes)})"])


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    return types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or "hugeint" in str(kind)


def _kept(least: Sequence[int], width: int) -> list[int]:
    """Places of the columns that stay: those in the middle go first, one stays."""
    kept = list(range(len(least)))
    while len(kept) > 1 and sum(least[i] + len(GAP) for i in kept) + (1 if len(kept) < len(least) else -2) > width:
        del kept[len(kept) // 2]
    return kept


def _fit(widths: Sequence[int], least: Sequence[int], width: int, is_cut: bool) -> list[int]:
    """The widths of columns, of which the widest are made as narrow as all together must be."""
    room = width - len(GAP) * (len(widths) - 1) - (3 if is_cut else 0)
    cap = next(c for c in range(max(widths), -1, -1) if c == 0 or sum(map(_capped(c), widths, least)) <= room)
    return list(map(_capped(cap), widths, least))


def _capped(cap: int) -> Callable[[int, int], int]:
    return lambda width, least: max(least, min(width, cap))


def _shortened(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    while _width(text) > width - 1:
        text = text[: min(len(text) - 1, width - 1)]
    return text + "…"


def _placed(text: str, width: int, right: bool) -> str:
    padding = " " * (width - _width(text))
    return padding + text if right else text + padding


def _width(text: str) -> int:
    """The columns of a terminal that a text takes: Chinese letters take two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _text(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return f"{value:.6g}"
    if value == "NULL":
        return "'NULL'"
    return printable(value if isinstance(value, str) else value.hex() if isinstance(value, bytes) else str(value))


def printable(text: str) -> str:
    """The text with what is no letter, mark or plain space escaped: it stays one line, and no terminal obeys it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


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
