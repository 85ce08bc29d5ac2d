"""`memlake report`: the findings with their figures, as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from memlake.warehouse.show.shell import on_shelf
from memlake.warehouse.show.terminal import DEFAULT_LAKE, Format, FormatName, LakePath, show

app = typer.Typer(no_args_is_help=True, help="The findings with their figures, as one HTML page.")


@app.command("list")
def list_findings(form: Format = FormatName.table) -> None:
    """The findings a report can show, and which have a figure."""
    from .page import overview

    show(overview(), form)


@app.command()
def run(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Findings; default: all.",
            autocompletion=on_shelf("memlake.queries.findings", ".sql"),
        ),
    ] = None,
    lake: LakePath = DEFAULT_LAKE,
    out: Annotated[Path | None, typer.Option(help="File to write; default: reports/index.html in the lake.")] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Folder in which each figure becomes an SVG and a PNG, too.")
    ] = None,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh", help="Compute all answers and draw all figures, also those that the lake keeps of the same rows."
        ),
    ] = False,
) -> None:
    """Draw the page and print its path. It needs no network; long tables to save lie in a folder beside it."""
    from memlake.warehouse.lake import Lake

    from .page import write

    print(write(Lake.open(lake), names or (), out, fresh=fresh, figures=figures))
