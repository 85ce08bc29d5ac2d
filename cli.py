"""The front door: the commands of every folder, and what becomes of an error."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from . import __version__
from .compute import cli as compute
from .ingest import cli as ingest
from .queries import cli as queries
from .queries.upkeep import catalogs
from .reports import cli as reports
from .studies import cli as studies
from .warehouse import cli as warehouse
from .warehouse.connections import damage, interruptible
from .warehouse.errors import MemlakeError, UnknownName, of_a_disk
from .warehouse.extras import lacking, need
from .warehouse.options import hint
from .warehouse.paths import utf8
from .warehouse.show.terminal import DEFAULT_LAKE, LakePath, printable

QUIET = "--quiet"


class Commands(TyperGroup):
    """Commands by name; an unknown name is told as everywhere else."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = super().get_command(ctx, cmd_name)
        if found is None and not cmd_name.startswith("-") and not ctx.resilient_parsing:
            raise UnknownName("command", cmd_name, self.commands)
        return found


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},  # of all commands below, too
    help="A lakehouse for memorization research on language models.",
)
app.add_typer(ingest.app, name="ingest", cls=Commands)
app.add_typer(compute.app, name="compute", cls=Commands)
app.add_typer(warehouse.app, name="warehouse", cls=Commands)
app.add_typer(queries.app, name="query", cls=Commands)
app.command("sql")(queries.sql)
warehouse.app.command("tables")(queries.tables)
warehouse.app.command("show")(queries.show_table)
warehouse.app.command("catalog")(queries.catalog)
app.add_typer(reports.app, name="report", cls=Commands)
app.add_typer(studies.app, name="study", cls=Commands)


def _version(asked: bool) -> None:
    if asked:
        print(f"memlake {__version__}")
        raise typer.Exit


@app.callback()
def memlake(
    lake: Annotated[
        Path | None, typer.Option("--lake", help="Folder of the lake, of any command; as well behind it.")
    ] = None,
    quiet: Annotated[
        bool,
        typer.Option(
            QUIET, help="Nothing on stderr unless the command fails: no progress, no notes. As well behind the command."
        ),
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass  # each command looks for the lake itself, and `main` is quiet


@app.command()
def demo(
    quick: Annotated[bool, typer.Option("--quick", help="Two families in two sizes.")] = False,
    lake: LakePath = DEFAULT_LAKE,
) -> None:
    """The whole study on miniatures, offline; go on where it stopped if it is started again."""
    from . import demo as study

    need("torch")
    study.run(lake, quick=quick)


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
        words = [utf8(argument) for argument in sys.argv[1:]]
        options = words[: words.index("--")] if "--" in words else words
        try:
            prompts = _command(options) == "sql" and sys.stdin.isatty()  # errors are told at once
            with waiting(QUIET in options and not prompts), catalogs(), interruptible():
                rest = [word for word in options if word != QUIET] + words[len(options) :]
                if code := app(rest, prog_name="memlake", standalone_mode=False):
                    sys.exit(code)
        finally:
            if sys.stdout:
                sys.stdout.flush()  # while an error can still be told
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
    except typer.TyperException as e:
        if message := mistake(e):  # else help has been printed instead
            print(f"memlake: {printable(message)}", file=sys.stderr)
        sys.exit(e.exit_code)
    except MemlakeError as e:
        if "_MEMLAKE_COMPLETE" not in os.environ:  # else the shell asks in the midst of a line
            print(f"memlake: {printable(str(e))}", *getattr(e, "__notes__", ()), sep="\n", file=sys.stderr)
        sys.exit(2)
    except ModuleNotFoundError as e:
        if line := lacking(e):
            print(f"memlake: {line}", file=sys.stderr)
            sys.exit(2)
        raise
    except OSError as e:
        line = of_a_disk(e, unnamed="the output")
        if line is None and e.errno != errno.EPIPE:
            raise
        _drop_output()
        if line is None:  # nobody reads on
            sys.exit(1)
        print(f"memlake: {line}", file=sys.stderr)
        sys.exit(2)
    except Exception as e:
        if line := damage(e):
            print(f"memlake: {printable(line)}", file=sys.stderr)
            sys.exit(2)
        raise


def _command(words: list[str]) -> str:
    """The first of the words that names a command, before which `--lake PATH` may stand."""
    named = [w for i, w in enumerate(words) if not w.startswith("-") and (i == 0 or words[i - 1] != "--lake")]
    return named[0] if named else ""


@contextmanager
def waiting(quiet: bool) -> Iterator[None]:
    """If `quiet`, what the block says on stderr waits until it ends, and is told only where it fails."""
    if not quiet:
        yield
        return
    told, sys.stderr = sys.stderr, io.StringIO()
    said = sys.stderr
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException:
        told.write(said.getvalue())
        raise
    finally:
        sys.stderr = told


def mistake(error: typer.TyperException) -> str:
    """What Typer finds wrong with the arguments, in one line; empty where it has shown help instead."""
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    option = getattr(error, "option_name", "") if hasattr(error, "possibilities") else ""  # one that is unknown
    text = error.format_message().rstrip(".")
    text = text[:1].lower() + text[1:]
    if context is not None and option:
        known = [flag for p in context.command.get_params(context) for flag in (*p.opts, *p.secondary_opts)]
        text = f"no option {option}{hint(option, known)}"
    elif parameter is not None:
        is_option = parameter.param_type_name == "option"
        name = parameter.opts[0] if is_option else (parameter.metavar or parameter.name).upper()
        text = f"{name}: {_refusal(error)}" if error.message else f"{name} is missing"
    if context is None or not text:
        return text
    path = f"{context.parent.command_path} {context.command.name}" if context.parent else context.command_path
    return f"{text} ({path} --help)"


def _refusal(error: typer.TyperException) -> str:
    """Why a value is refused, in Pydantic's words, about the value."""
    errors: list[Any] = getattr(error.__cause__, "errors", list)()
    value = repr(errors[0]["input"]) if errors else "input"
    return error.message.removeprefix("Value error, ").replace("Input", value, 1).rstrip(".")


def _drop_output() -> None:
    """Let what stdout still holds go nowhere: Python would try to write it again at its end, and complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
