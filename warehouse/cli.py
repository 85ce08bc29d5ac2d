"""`memlake warehouse`: what the lake holds, where it came from, and whether it is whole."""

from __future__ import annotations

from typing import Annotated

import typer

from memlake.warehouse.show.shell import on_shelf
from memlake.warehouse.show.terminal import DEFAULT_LAKE, Format, FormatName, LakePath, say, show
from memlake.warehouse.words import counted, volume

app = typer.Typer(no_args_is_help=True, help="What the lake holds, where it came from, and whether it is whole.")
TABLES = on_shelf("memlake.warehouse.tables")
Table = Annotated[str, typer.Argument(help="Name of the table.", autocompletion=TABLES)]


@app.command()
def status(lake: LakePath = DEFAULT_LAKE, form: Format = FormatName.table) -> None:
    """Cells by experiment and outcome: what is done, what failed, what lies in quarantine. Tables in too many files."""
    from memlake.warehouse.show import describe

    from .lake import Lake

    opened = Lake.open(lake)
    with opened.connect(["cells"]) as con:
        show(describe.status(con), form)
    for line in (*describe.pending(opened), *describe.fragments(opened)):
        say(line)


@app.command()
def history(
    table: Table,
    lake: LakePath = DEFAULT_LAKE,
    form: Format = FormatName.table,
) -> None:
    """A table's versions, the newest first."""
    from memlake.warehouse.show import describe

    from .lake import Lake

    show(describe.history(Lake.open(lake), table), form)


@app.command()
def check(
    all_: Annotated[
        bool, typer.Option("--all", help="Look at everything, also at what passed before and has not changed since.")
    ] = False,
    lake: LakePath = DEFAULT_LAKE,
) -> None:
    """Judge published rows again, and look at their files: what is new since the last check that passed.

    Damage done since to a file that had passed shows with --all, if its size is what it was. Exit code 1 if anything is
    wrong.
    """
    from memlake.warehouse.publishing.check import Check
    from memlake.warehouse.publishing.passed import Passed
    from memlake.warehouse.work.progress import Progress

    from .extras import need
    from .lake import Lake

    opened = Lake.open(lake)
    need("great_expectations")  # at the end, when all rows are profiled
    passed = None if all_ else Passed.read(opened)
    checking = Check(opened, passed)
    with Progress("check", checking.steps, None, of="steps") as progress:

        def advance(files: int) -> None:
            progress.advance(files, cells=files)
            progress.tick()

        found = list(checking.defects(advance))
    if not found:
        checking.now.keep(opened)
    for defect in found:
        print(f"{defect.table_name} {defect.where}: {defect.what}")
    rest = (
        f", {checking.files - checking.looked_at} passed at {passed.at} and have not changed (--all)" if passed else ""
    )
    print(f"looked at {checking.looked_at} of {counted(checking.files, 'file')}{rest}")
    print(f"{counted(len(found), 'thing')} wrong" if found else "all is well")
    if found:
        raise typer.Exit(1)


@app.command()
def forget(
    cell: Annotated[str | None, typer.Option(help="Id of one cell.")] = None,
    model: Annotated[str | None, typer.Option(help="All cells of a model, and its name.")] = None,
    corpus: Annotated[
        str | None, typer.Option(help="All cells of a corpus: documents, sequences, measurements.")
    ] = None,
    with_dependents: Annotated[
        bool, typer.Option("--with-dependents", help="Forget the cells that stand on them, too.")
    ] = False,
    lake: LakePath = DEFAULT_LAKE,
) -> None:
    """Take back published rows; the tables' older versions keep them."""
    from memlake.warehouse.publishing import forget as forgetting

    from .errors import BadInput
    from .lake import Lake

    if sum(x is not None for x in (cell, model, corpus)) != 1:
        raise BadInput("name one of --cell, --model and --corpus")
    taken = forgetting.forget(Lake.open(lake), cell=cell, model=model, corpus=corpus, with_dependents=with_dependents)
    print(f"{counted(len(taken), 'cell')} forgotten")


@app.command()
def compact(
    tables: Annotated[
        list[str] | None, typer.Argument(metavar="TABLE", help="By default all tables.", autocompletion=TABLES)
    ] = None,
    vacuum: Annotated[
        bool, typer.Option("--vacuum", help="Remove what no snapshot of the last days needs: files, and log entries.")
    ] = False,
    keep_days: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            min=0,
            help="The days whose snapshots --vacuum leaves readable, also to who has them open; by default 7.",
        ),
    ] = None,
    lake: LakePath = DEFAULT_LAKE,
) -> None:
    """Rewrite partitions of many small files as few large ones; who reads and writes meanwhile is not disturbed.

    Exit code 2 if something cannot be read or written; all else is done.
    """
    from itertools import groupby

    from memlake.warehouse.publishing import compact as compacting
    from memlake.warehouse.publishing.vacuum import vacuum as remove
    from memlake.warehouse.show.describe import spread

    from . import schema
    from .errors import BadInput, one_line
    from .lake import Lake
    from .relation import File

    if keep_days is not None and not vacuum:
        raise BadInput("--keep-days says what --vacuum keeps: name both")
    opened = Lake.open(lake)
    names = [name for name in dict.fromkeys(tables or schema.names()) if schema.table(name)]
    damaged = told = False
    for name, partitions in groupby(compacting.compact(opened, names), key=lambda p: p.table):
        old: list[File] = []
        new: list[File] = []
        for partition in partitions:
            old += partition.old
            new += partition.new
            damaged |= partition.damaged
            if partition.why:
                told = True
                say(f"{' '.join(filter(None, (name, partition.partition)))}: {partition.why}")
        if new:
            told = True
            print(f"{name}: {spread(old)} became {spread(new)}", flush=True)
    if not told:
        print("nothing to compact")
    files = size = entries = 0
    for name in names if vacuum else ():
        try:
            removed = remove(opened, name, 7 if keep_days is None else keep_days)
            files, size, entries = files + removed.files, size + removed.size, entries + removed.entries
        except compacting.DAMAGED as e:
            damaged = True
            say(f"{name}: {one_line(e)}")
    if vacuum:
        entry = counted(entries, "log entry", "log entries")
        print(f"removed {counted(files, 'file')} ({volume(size)}) and {entry}")
    if damaged:
        raise typer.Exit(2)
