"""`memlake report`: the findings with their figures, as one HTML page; named reports and their editions."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memlake.warehouse.show.shell import on_shelf
from memlake.warehouse.show.terminal import DEFAULT_LAKE, Format, FormatName, LakePath, printable, say, show

if TYPE_CHECKING:
    from memlake.warehouse.lake import Lake

    from .change import State
    from .named import Report

app = typer.Typer(
    no_args_is_help=True, help="The findings with their figures, as one HTML page; editions on a schedule."
)
ReportsFile = Annotated[
    Path | None,
    typer.Option("--file", help="The file of named reports; default: reports.toml in the lake or beside."),
]
FAILED, YOURS = 1, 2  # exit codes: a finding could not be answered; what you can mend


class Installed(StrEnum):
    cron = "cron"
    systemd = "systemd"
    github = "github"


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
    at: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION|DATE",
            help="Draw the lake as it was: after a version of its table cells (memlake warehouse history cells), at a"
            " time (2026-11-30T06:00), or at the end of a day.",
        ),
    ] = None,
    report: Annotated[
        list[str] | None, typer.Option("--report", "-r", help="Draw an edition of this named report. May be repeated.")
    ] = None,
    due: Annotated[
        bool, typer.Option("--due", help="Draw the named reports that are due and of which something moved.")
    ] = False,
    reports: ReportsFile = None,
    on_success: Annotated[str | None, typer.Option(metavar="COMMAND", help="Run this where all went well.")] = None,
    on_failure: Annotated[str | None, typer.Option(metavar="COMMAND", help="Run this where something did not.")] = None,
) -> None:
    """Draw the page and print its path. It needs no network; long tables to save lie in a folder beside it.

    With --due or --report: an edition of each of these named reports, a line for each on stderr.

    Exit code 0: drawn, or nothing was due; 1: a finding could not be answered; 2: yours to mend.
    """
    from memlake.warehouse.errors import BadInput
    from memlake.warehouse.lake import Lake

    with _told(on_success, on_failure):
        if due or report:
            given = {"NAME": names, "--out": out, "--figures": figures, "--at": at}
            if wrong := next((option for option, value in given.items() if value), None):
                raise BadInput(f"{wrong} is of a page, and not of named reports: leave it out, or --due and --report")
            code = _editions(Lake.open(lake), report or [], reports, due, fresh)
        else:
            code = _page(Lake.open(lake), names or [], out, figures, fresh, at)
        if code:
            raise typer.Exit(code)


def _page(lake: Lake, names: list[str], out: Path | None, figures: Path | None, fresh: bool, at: str | None) -> int:
    from .page import write

    then = None if at is None else moment(at)
    if at is not None:  # beside the page of now
        out = out or lake.path / "reports" / f"at-{at.replace(':', '')}.html"
    written = write(lake, names, out, fresh=fresh, figures=figures, moment=then)
    print(written.path)
    for finding, why in written.failed.items():
        say(printable(f"{finding} could not be answered: {why}"))
    return FAILED if written.failed else 0


def _editions(lake: Lake, wanted: list[str], file: Path | None, due: bool, fresh: bool) -> int:
    from memlake.warehouse.errors import MemlakeError, UnknownName

    from . import edition, named

    listed = named.read(lake, named.file_of(lake, file))
    for name in wanted:
        if name not in listed:
            raise UnknownName("report", name, listed)
    code = 0
    for report in listed.values():
        if wanted and report.name not in wanted:
            continue
        now = datetime.now().astimezone()
        try:
            outcome = edition.make(lake, report, now, due, fresh)
        except MemlakeError as e:  # of one report: the others are drawn
            say(printable(f"{now:%Y-%m-%d %H:%M:%S} {report.name}: {e}"))
            code = YOURS
            continue
        where = f": {outcome.page}" if outcome.page else ""
        say(printable(f"{now:%Y-%m-%d %H:%M:%S} {report.name}: {outcome.said}{where}"))
        for finding, why in outcome.failed.items():
            say(printable(f"{now:%Y-%m-%d %H:%M:%S} {report.name}: {finding} could not be answered: {why}"))
            code = code or FAILED
    return code


@app.command()
def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="An edition, or a moment of the lake as --at takes it.")],
    after: Annotated[
        str, typer.Argument(metavar="B", help="The same of what is later; default: the lake now.")
    ] = "now",
    lake: LakePath = DEFAULT_LAKE,
    report: Annotated[
        str | None,
        typer.Option("--report", "-r", help="The named report of which the editions are, or which is asked."),
    ] = None,
    reports: ReportsFile = None,
    form: Format = FormatName.table,
) -> None:
    """What changed from A to B: models, corpora, checks, and values that moved by more than their intervals.

    An edition is its folder, or with --report its name, or latest.
    """
    from memlake.warehouse.lake import Lake

    from . import change, named

    opened = Lake.open(lake)
    of = None
    if report is not None:
        from memlake.warehouse.errors import UnknownName

        listed = named.read(opened, named.file_of(opened, reports))
        if report not in listed:
            raise UnknownName("report", report, listed)
        of = listed[report]
    states, failed = _states(opened, before, after, of)
    changed = change.between(*states)
    if form is FormatName.table:
        print(*(printable(line) for line in changed.lines() or ["nothing moved by more than its interval"]), sep="\n")
    else:
        show(changed.table(), form)
    for finding, why in failed.items():
        say(printable(f"{finding} could not be answered: {why}"))
    if failed:
        raise typer.Exit(FAILED)


def _states(lake: Lake, before: str, after: str, report: Report | None) -> tuple[list[State], dict[str, str]]:
    """The states that the arguments of `diff` name: editions, or moments of the lake, of which is then asked what the
    edition, or the named report, is about; and which findings could not be answered, and why."""
    from memlake.warehouse import schema
    from memlake.warehouse.errors import BadInput

    from . import change, edition
    from .answers import Scope, read

    places = [[Path(text), *([report.to / text] if report else [])] for text in (before, after)]
    folders = [next((p for p in of if (p / "edition.json").exists()), None) for of in places]
    states = {folder: edition.load(folder) for folder in folders if folder}
    scopes = [edition.scope(folder) for folder in states]
    if len(scopes) == 2 and scopes[0] != scopes[1]:
        raise BadInput(f"{before} and {after} are not about the same: what changed between them cannot be told")
    scope = scopes[0] if scopes else report.scope if report else Scope()

    def state(text: str, folder: Path | None) -> State:
        if folder:
            return states[folder]
        snapshot = None if text == "now" else lake.past(schema.names(), moment(text))
        with read(lake, scope, snapshot) as reading:
            found = change.state(reading)
            failed.update(reading.answers.failed)
            return found

    failed: dict[str, str] = {}
    return [state(text, folder) for text, folder in zip((before, after), folders, strict=True)], failed


@app.command()
def schedule(
    lake: LakePath = DEFAULT_LAKE,
    install: Annotated[
        Installed | None, typer.Option("--print", help="What to install so that reports are drawn when they are due.")
    ] = None,
    reports: ReportsFile = None,
    form: Format = FormatName.table,
) -> None:
    """The named reports: when each is due next, and its newest edition."""
    import pyarrow as pa

    from memlake.warehouse.errors import BadInput
    from memlake.warehouse.lake import Lake

    from . import edition, named
    from .schedulers import KINDS, command

    opened = Lake.open(lake)
    listed = named.read(opened, named.file_of(opened, reports))
    if install:
        if not any(report.schedule for report in listed.values()):
            raise BadInput('no report has a schedule: give one, such as schedule = "0 6 * * 1"')
        print(KINDS[install](listed.values(), command(opened.path, reports and reports.absolute())))
        return
    now = datetime.now()
    rows = []
    for report in listed.values():
        found, following = edition.editions(report.to), report.next_time(now)
        rows.append(
            {
                "report": report.name,
                "schedule": report.schedule or None,
                "next": f"{following:%Y-%m-%d %H:%M}" if following else None,
                "newest": found[0].name if found else None,
                "editions": len(found),
                "folder": str(report.to),
            }
        )
    show(pa.Table.from_pylist(rows), form)


def moment(text: str) -> int | datetime:
    """A version, a time, or the end of a day; raises `BadInput`."""
    from memlake.warehouse.errors import BadInput

    if text.isascii() and text.isdigit():
        return int(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"{text!r} is neither a version nor a date such as 2026-11-30 or 2026-11-30T06:00") from None
    if len(text) <= len("2026-11-30"):
        found += timedelta(days=1, microseconds=-1)
    try:
        found = found.astimezone()  # by the clock on the wall where it names no zone
    except (OverflowError, ValueError):
        raise BadInput(f"{text} is out of reach") from None
    if found > datetime.now().astimezone() + timedelta(days=1):  # the end of today is meant as now
        raise BadInput(f"{text} is yet to come")
    return found


@contextmanager
def _told(on_success: str | None, on_failure: str | None) -> Iterator[None]:
    """Run one of the commands when the block has ended; one that fails is told, and changes nothing."""
    command = on_failure
    try:
        yield
        command = on_success
    finally:
        if command and (code := subprocess.run(command, shell=True, check=False).returncode):
            say(printable(f"{command!r} ended with exit code {code}"))
