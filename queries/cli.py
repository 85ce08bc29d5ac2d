"""`memlake query` and `memlake sql`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from memlake.warehouse.show.terminal import DEFAULT_LAKE, Format, FormatName, LakePath, say, show

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
    ask, _ = _open(lake, only)
    show(ask(text), format)


def sql(
    statement: Annotated[str | None, typer.Argument(help="One SELECT; without it, a prompt.")] = None,
    lake: LakePath = DEFAULT_LAKE,
    format: Format = FormatName.table,
) -> None:
    """SQL over the lake, read-only: one statement, or an interactive prompt."""
    from .only import ALL

    ask, tables = _open(lake, ALL)
    if statement is None and sys.stdin.isatty():
        from .prompt import converse

        converse(ask, tables, lambda rows: show(rows, format), say)
    else:
        show(ask(sys.stdin.read() if statement is None else statement), format)


def _open(path, only):
    """What asks the lake at `path` as it is now, `only` so much of it, and what can stand after FROM: its tables, and
    the macros that make tables of them."""
    from memlake.warehouse.lake import Lake

    from . import guard
    from .ask import connect, snapshot, table_macros, views

    lake = Lake.open(path)
    files = snapshot(lake)
    con = connect(lake, files, only)
    known = views(con) + [written for name, written in table_macros(con).items() if name in guard.FUNCTIONS]
    guard.lock(con, [f.path for of_table in files.values() for f in of_table])
    return lambda text: guard.ask(con, text), known
