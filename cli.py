"""The front door: the commands of every folder, and what becomes of an error."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Annotated

import typer

from . import __version__
from .compute import cli as compute
from .ingest import cli as ingest
from .queries import cli as queries
from .reports import cli as reports
from .warehouse import cli as warehouse
from .warehouse.errors import MemlakeError, one_line
from .warehouse.paths import utf8
from .warehouse.show.terminal import DEFAULT_LAKE, LakePath, printable

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A lakehouse for memorization research on language models.",
)
app.add_typer(ingest.app, name="ingest")
app.add_typer(compute.app, name="compute")
app.add_typer(warehouse.app, name="warehouse")
app.add_typer(queries.app, name="query")
app.command("sql")(queries.sql)
app.add_typer(reports.app, name="report")


def _version(asked: bool) -> None:
    if asked:
        print(f"memlake {__version__}")
        raise typer.Exit


@app.callback()
def memlake(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    quick: Annotated[bool, typer.Option("--quick", help="Two families in two sizes.")] = False,
    lake: LakePath = DEFAULT_LAKE,
) -> None:
    """The whole study on miniatures, offline; go on where it stopped if it is started again."""
    from . import demo as study

    study.run(lake, quick=quick)


MENDABLE = {"EACCES", "EDQUOT", "EFBIG", "ENAMETOOLONG", "ENOSPC", "EPERM", "EROFS"}  # of a disk or its rights


def main() -> None:
    """Run a command. What the user can mend is one line on stderr and exit code 2; a bug keeps its traceback. Text that
    is read and written is UTF-8, whatever the locale says."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # who started this has closed it
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                encoding="utf-8", errors="surrogateescape" if stream is sys.stdin else "backslashreplace"
            )
    try:
        for argument in sys.argv[1:]:
            utf8(argument)
        try:
            app()
        finally:
            if sys.stdout:
                sys.stdout.flush()  # while an error can still be told
    except MemlakeError as e:
        print(f"memlake: {printable(str(e))}", file=sys.stderr)
        sys.exit(2)
    except OSError as e:
        if errno.errorcode.get(e.errno or 0) not in MENDABLE | {"EPIPE"}:
            raise
        _drop_output()
        if e.errno == errno.EPIPE:  # nobody reads on
            sys.exit(1)
        print(f"memlake: {e.filename or 'the output'} cannot be used: {e.strerror}", file=sys.stderr)
        sys.exit(2)
    except Exception as e:
        duckdb = sys.modules.get("duckdb")
        if duckdb and isinstance(e, duckdb.IOException | duckdb.InvalidInputException):
            print(f"memlake: a file cannot be read ({one_line(e)}): see `memlake warehouse check`", file=sys.stderr)
            sys.exit(2)
        raise


def _drop_output() -> None:
    """Let what stdout still holds go nowhere: Python would try to write it again at its end, and complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
