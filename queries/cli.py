"""`memlake query` and `memlake sql`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memlake.warehouse.show.shell import on_shelf
from memlake.warehouse.show.terminal import DEFAULT_LAKE, SHOWN, Format, FormatName, LakePath, show

if TYPE_CHECKING:
    import pyarrow as pa

FINDINGS = "memlake.queries.findings"
TABLES = "memlake.warehouse.tables"
app = typer.Typer(no_args_is_help=True, help="Ask the named questions: the findings.")
Name = Annotated[str, typer.Argument(help="Name of the finding.", autocompletion=on_shelf(FINDINGS, ".sql"))]
All = Annotated[
    bool, typer.Option("--all", help="On a terminal, all rows and columns, a screen at a time, and not what fits.")
]


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
    all_rows: All = False,
    lake: LakePath = DEFAULT_LAKE,
    format: Format = FormatName.table,
) -> None:
    """A finding's answer. The lake keeps it until one of the tables behind it changes."""
    from memlake.warehouse.connections import Work
    from memlake.warehouse.lake import Lake

    from . import guard
    from .answer import answer
    from .catalog import needed
    from .finding import find, parse
    from .only import SHARED, Only
    from .session import at_once, connect, files_of

    given: dict[str, Any] = dict(parse(parameter))
    only = Only(**{key: given.pop(key) for key in SHARED if key in given})
    text = find(name).sql(**given)
    names = needed(text, only)
    opened = Lake.open(lake)

    def compute() -> pa.Table:
        return guard.ask(connect(opened, files, only, names, fresh=fresh, exact=False), text)

    with at_once():
        files = files_of(opened, names)
        rows = Work(lambda: answer(opened, files, text, only, compute, fresh)).result()
        show(rows, format, most=None if all_rows else SHOWN, paged=all_rows)


def sql(
    statement: Annotated[
        str | None, typer.Argument(help="Statements, ended by ; where there are several; without them, a prompt.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Write the answer there: .csv, .json, .jsonl (.gz, .zst), .parquet."
        ),
    ] = None,
    all_rows: All = False,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds that a statement may take; 0: all it wants.")] = 600,
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="What it may take, like 8GB; by default 80 % of what there is.")
    ] = None,
    lake: LakePath = DEFAULT_LAKE,
    format: Format = FormatName.table,
) -> None:
    """SQL over the lake, read-only: statements, of which each answers, or an interactive prompt.

    Findings are tables, too: from scaling_law(minimum_sizes := 2).
    """
    from memlake.warehouse.errors import BadInput
    from memlake.warehouse.lake import Lake

    from .session import Conversation, Limits, Once, Output, at_once

    limits = Limits(timeout or None, memory)
    if statement is None and sys.stdin.isatty():
        from .prompt import Prompt

        if out:
            raise BadInput("--out takes the answer of one statement: in the prompt, .once FILE")
        with at_once():
            Prompt(Conversation(Lake.open(lake), limits), Output(lake, limits, format, all_rows)).converse()
        return
    from .statements import split

    texts = split(sys.stdin.read() if statement is None else statement)
    if len(texts) > 1 and (out or format is not FormatName.table):
        raise BadInput(f"{len(texts)} statements have {len(texts)} answers, a file and --format take one")
    answers = Output(lake, limits, format, all_rows)
    if out:
        answers.place(out)
    session = Once(Lake.open(lake), limits)
    with at_once():
        for text in texts:
            answers.give(session, text)


def tables(lake: LakePath = DEFAULT_LAKE, form: Format = FormatName.table) -> None:
    """Every table: rows, files, bytes, version, and what one row is. Then views, macros and findings."""
    from memlake.warehouse.lake import Lake

    from . import names

    show(names.tables(Lake.open(lake)), form)


def show_table(
    table: Annotated[
        str, typer.Argument(help="Name of the table, view, macro or finding.", autocompletion=on_shelf(TABLES))
    ],
    form: Format = FormatName.table,
) -> None:
    """A table's columns and the expectations that every row of it meets; what a view, macro or finding is."""
    from .names import show_name

    show_name(table, form)


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
