"""`memlake query` and `memlake sql`."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memlake.warehouse.show.shell import on_shelf
from memlake.warehouse.show.terminal import DEFAULT_LAKE, Format, FormatName, LakePath, say, show

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from memlake.warehouse.lake import Lake
    from memlake.warehouse.relation import File

    from .only import Only

FINDINGS = "memlake.queries.findings"
app = typer.Typer(no_args_is_help=True, help="Ask the named questions: the findings.")
Name = Annotated[str, typer.Argument(help="Name of the finding.", autocompletion=on_shelf(FINDINGS, ".sql"))]


@app.command("list")
def list_(format: Format = FormatName.table) -> None:
    """The findings there are, and what one row of each is.

    All of them also take -p condition=, sample_rule= and sample_window=, and, as though the lake held nothing else,
    models=, families=, corpora= and domains=, each a name or several: -p families=pythia,olmo.
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
            " take: what the lake holds of this one only; or models, families, corpora or domains (a,b): as though it"
            " held nothing else. May be repeated.",
        ),
    ] = [],  # noqa: B006
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Compute it, also where the lake keeps the answer over the same tables.")
    ] = False,
    lake: LakePath = DEFAULT_LAKE,
    format: Format = FormatName.table,
) -> None:
    """A finding's answer. The lake keeps it until one of the tables behind it changes."""
    from memlake.warehouse.lake import Lake

    from .answer import answer
    from .catalog import needed
    from .finding import find, parse
    from .only import SHARED, Only

    given: dict[str, Any] = dict(parse(parameter))
    only = Only(**{key: given.pop(key) for key in SHARED if key in given})
    text = find(name).sql(**given)
    names = needed(text, only)
    opened = Lake.open(lake)
    files = _snapshot(opened, names)
    show(answer(opened, files, text, only, lambda: _ask(opened, files, text, only, names, fresh), fresh), format)


def sql(
    statement: Annotated[str | None, typer.Argument(help="One SELECT; without it, a prompt.")] = None,
    lake: LakePath = DEFAULT_LAKE,
    format: Format = FormatName.table,
) -> None:
    """SQL over the lake, read-only: one statement, or an interactive prompt."""
    from memlake.warehouse.lake import Lake

    from .catalog import needed
    from .only import ALL

    if statement is None and sys.stdin.isatty():
        from . import guard
        from .catalog import table_macros, views
        from .prompt import converse
        from .sums import Unfilled

        opened = Lake.open(lake)
        files = _snapshot(opened)
        con = _connect(opened, files, ALL)
        sums = Unfilled(con, opened, files)

        def ask(text: str) -> pa.Table:
            sums.fill_for(text)
            return guard.ask(con, text)

        known = views(con) + [written for name, written in table_macros(con).items() if name in guard.FUNCTIONS]
        converse(ask, known, lambda rows: show(rows, format), say)
    else:
        text = sys.stdin.read() if statement is None else statement
        names = needed(text)
        opened = Lake.open(lake)
        show(_ask(opened, _snapshot(opened, names), text, ALL, names), format)


def catalog(lake: LakePath = DEFAULT_LAKE) -> None:
    """Rebuild catalog.duckdb, in which other DuckDB clients find tables, macros and findings, and print its path.

    Commands that change the lake do so themselves; a lake that was moved needs it.
    """
    from memlake.warehouse.errors import BadInput, one_line
    from memlake.warehouse.lake import Lake

    from .database import rebuild

    try:
        print(rebuild(Lake.open(lake)))
    except OSError as e:
        raise BadInput(f"the catalog of {lake} cannot be written ({one_line(e)})") from e


def _snapshot(lake: Lake, names: Collection[str] | None = None) -> dict[str, list[File]]:
    """The published files of every table, or of those with these names, as of now."""
    from memlake.warehouse import schema

    from .ask import snapshot

    return snapshot(lake, [name for name in schema.names() if names is None or name in names])


def _ask(
    lake: Lake,
    files: Mapping[str, Sequence[File]],
    text: str,
    only: Only,
    names: Collection[str] | None,
    fresh: bool = False,
) -> pa.Table:
    """The answer to one SELECT over these files, on a connection that holds the names it needs. Where it names
    something that is not there, it is asked of all there is, so that the error can say what is near."""
    import duckdb

    from memlake.warehouse.errors import BadInput

    from . import guard

    try:
        return guard.ask(_connect(lake, files, only, names, fresh), text)
    except BadInput as e:
        if names is None or not isinstance(e.__cause__, duckdb.CatalogException):
            raise
    return guard.ask(_connect(lake, _snapshot(lake), only), text)


def _connect(
    lake: Lake,
    files: Mapping[str, Sequence[File]],
    only: Only,
    names: Collection[str] | None = None,
    fresh: bool = False,
) -> duckdb.DuckDBPyConnection:
    """A connection that reads these files of the lake, `only` so much of them, and nothing else; with all that SQL can
    name, or these names, whose sums are filled, if `fresh` by nothing that is kept."""
    from . import guard
    from .catalog import prepare
    from .sums import fill

    con = prepare(lake.connect(files, files), only, names)
    only.check(con)
    fill(con, lake, files, only, names or (), fresh)
    guard.lock(con, [f.path for of_table in files.values() for f in of_table])
    return con
