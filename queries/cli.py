"""`memlake query` and `memlake sql`."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memlake.warehouse.show.terminal import DEFAULT_LAKE, Format, FormatName, LakePath, say, show

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from .only import Only

app = typer.Typer(no_args_is_help=True, help="Ask the named questions: the findings.")
Name = Annotated[str, typer.Argument(help="Name of the finding.")]


@app.command("list")
def list_(format: Format = FormatName.table) -> None:
    """The findings there are, and what one row of each is.

    All of them also take -p condition=, -p sample_rule= and -p sample_window=.
    """
    import pyarrow as pa

    from .finding import find, names

    found = [find(name) for name in names()]
    rows = [{"finding": f.name, "parameters": " ".join(f.parameters), "rows": f.grain} for f in found]
    show(pa.Table.from_pylist(rows), format)


@app.command("show")
def show_(name: Name) -> None:
    """A finding's help, parameters and SQL, ready to paste."""
    from .finding import find

    print(find(name).text, end="")


@app.command()
def run(
    name: Name,
    parameter: Annotated[
        list[str],
        typer.Option(
            "--parameter",
            "-p",
            help="key=value: a parameter of the finding; or condition, sample_rule or sample_window, which all findings"
            " take: what the lake holds of this one only. May be repeated.",
        ),
    ] = [],  # noqa: B006
    lake: LakePath = DEFAULT_LAKE,
    format: Format = FormatName.table,
) -> None:
    """A finding's answer."""
    from .finding import find, parse
    from .only import SHARED, Only

    given = parse(parameter)
    only = Only(**{key: given.pop(key) for key in SHARED if key in given})
    text = find(name).sql(**given)
    show(_answer(lake, text, only), format)


def sql(
    statement: Annotated[str | None, typer.Argument(help="One SELECT; without it, a prompt.")] = None,
    lake: LakePath = DEFAULT_LAKE,
    format: Format = FormatName.table,
) -> None:
    """SQL over the lake, read-only: one statement, or an interactive prompt."""
    from .only import ALL

    if statement is None and sys.stdin.isatty():
        from . import guard
        from .catalog import table_macros, views
        from .prompt import converse

        con = _connect(lake, ALL)
        known = views(con) + [written for name, written in table_macros(con).items() if name in guard.FUNCTIONS]
        converse(lambda text: guard.ask(con, text), known, lambda rows: show(rows, format), say)
    else:
        show(_answer(lake, sys.stdin.read() if statement is None else statement, ALL), format)


def _answer(lake: Path, text: str, only: Only) -> pa.Table:
    """The answer to one SELECT, on a connection that holds what it needs. Where it names something that is not there,
    it is asked of all there is, so that the error can say what is near."""
    import duckdb

    from memlake.warehouse.errors import BadInput

    from . import guard
    from .catalog import needed

    names = needed(text, only)
    try:
        return guard.ask(_connect(lake, only, names), text)
    except BadInput as e:
        if names is None or not isinstance(e.__cause__, duckdb.CatalogException):
            raise
    return guard.ask(_connect(lake, only), text)


def _connect(path: Path, only: Only, names: Collection[str] | None = None) -> duckdb.DuckDBPyConnection:
    """A connection that reads the lake at `path` as it is now, `only` so much of it, and nothing else; with all that
    SQL can name, or these names."""
    from memlake.warehouse import schema
    from memlake.warehouse.lake import Lake

    from . import guard
    from .ask import snapshot
    from .catalog import prepare
    from .sums import fill

    lake = Lake.open(path)
    files = snapshot(lake, [name for name in schema.names() if names is None or name in names])
    con = prepare(lake.connect(files, files), only, names)
    fill(con, lake, files, only, names)
    guard.lock(con, [f.path for of_table in files.values() for f in of_table])
    return con
