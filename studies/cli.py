"""`memlake study`: a whole study from one file."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from memlake.warehouse.show.terminal import DEFAULT_LAKE, Format, FormatName, LakePath, printable, say, show

app = typer.Typer(no_args_is_help=True, help="A whole study from one file: planned, run and looked at as one.")

Name = Annotated[
    str, typer.Argument(metavar="STUDY", help="A file, or the name of one that comes with memlake: see `list`.")
]


def _read(text: str) -> Any:
    from .study import find, read

    return read(find(text))


@app.command("list")
def list_studies(form: Format = FormatName.table) -> None:
    """The studies that come with memlake."""
    from .study import listing

    show(listing(), form)


@app.command("show")
def show_study(study: Name) -> None:
    """The file of a study, to be copied and changed."""
    from .study import find

    print(find(study).read_text(encoding="utf-8"), end="")


@app.command()
def plan(
    study: Name,
    flops: Annotated[
        float | None,
        typer.Option(
            metavar="FLOP/S", help="Reckon for a device that does so many, as 3e14; default: the file's, else by cells."
        ),
    ] = None,
    lake: LakePath = DEFAULT_LAKE,
    form: Format = FormatName.table,
) -> None:
    """What `run` would do, by step and model: cells, rows, bytes on disk, memory, hours of one process.

    Neither the checkpoints nor the corpora need be here: what is not known is assumed, and that is said.
    """
    from .plan import existing, items, summed, table

    asked = _read(study)
    with existing(lake) as opened:
        found = items(opened, asked, flops)
        show(table(found, short=form is FormatName.table), form)
        for line in summed(found):
            say(printable(line))


@app.command()
def run(
    study: Name,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0, help="Processes; 0: this one alone. Default: one a GPU, one a core, or 0 where that is faster."
        ),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDR", help="A running Dask scheduler, on which models run.")
    ] = None,
    lake: LakePath = DEFAULT_LAKE,
) -> None:
    """Do all that is missing of a study, in order. What fails stops nothing that does not stand on it.

    May be killed and started again, also beside another. Exit code 0: all is done; 1: something failed; 2: the file, or
    the lake, is yours to mend.
    """
    from memlake.warehouse.extras import need
    from memlake.warehouse.lake import Lake

    from .run import run as go

    asked = _read(study)
    need("torch")
    outcome = go(Lake.create(lake), asked, workers, scheduler)
    if outcome.page:
        print(f"report: {outcome.page}")
    if outcome.failed:
        raise typer.Exit(1)


@app.command()
def status(study: Name, lake: LakePath = DEFAULT_LAKE, form: Format = FormatName.table) -> None:
    """What is done, what failed and why, what runs now, what comes next, and how long it will take."""
    from .frozen import FrozenLake
    from .status import said, table

    opened, asked = FrozenLake.open(lake), _read(study)
    rows, lines = said(opened, asked)
    show(table(rows, folded=form is FormatName.table), form)
    for line in lines:
        say(printable(line))
