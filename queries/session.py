"""Statements of `memlake sql`, and what bounds them: only what is published is read, so much memory, so much time."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from memlake.warehouse import schema
from memlake.warehouse.connections import Overtime, Work, stuck
from memlake.warehouse.errors import BadInput, MemlakeError
from memlake.warehouse.lake import Lake
from memlake.warehouse.paths import local
from memlake.warehouse.relation import File
from memlake.warehouse.scratch import limit
from memlake.warehouse.show.formats import FormatName, destination, save
from memlake.warehouse.show.terminal import SHOWN, printable, say, show
from memlake.warehouse.words import counted

from . import guard
from .ask import snapshot
from .catalog import make_findings, needed, prepare
from .only import ALL, Only
from .sums import Unfilled, fill

Files = Mapping[str, Sequence[File]]


@dataclass(frozen=True)
class Limits:
    """What a statement may take: seconds, and memory as DuckDB writes it; None: as much as it does."""

    seconds: float | None = None
    memory: str | None = None


class Once:
    """One statement, on a connection of its own that holds what the statement names."""

    def __init__(self, lake: Lake, limits: Limits):
        self._lake, self._limits = lake, limits

    def ask(self, text: str) -> tuple[pa.RecordBatchReader, float | None]:
        """The answer, a batch of rows at a time, and the seconds that are left to read it. Raises `BadInput`."""
        work = Work(lambda: self._stream(text), self._limits.seconds)
        return work.result(), work.left

    def _stream(self, text: str) -> pa.RecordBatchReader:
        names = needed(text)
        files = files_of(self._lake, names)
        # Held until the rows are read, so that Ctrl-C finds it
        self._con = connect(self._lake, files, ALL, names, self._limits.memory, text)
        try:
            return guard.stream(self._con, text)
        except BadInput as e:
            if names is None or not isinstance(e.__cause__, duckdb.CatalogException):
                raise
        # Of all there is, so that the error can say what is near
        self._con = connect(self._lake, files_of(self._lake), ALL, None, self._limits.memory, text)
        return guard.stream(self._con, text)


class Conversation:
    """Statements one after the other, over the lake as it is at first."""

    def __init__(self, lake: Lake, limits: Limits):
        """Begins to connect, while somebody types."""
        self._lake, self._limits = lake, limits
        self.columns: list[str] = []  # of all tables, as soon as they are known
        self._files: Files | None = None
        self._opening: Work | None = Work(self._open)
        self._left = stuck()

    def _open(self) -> tuple[duckdb.DuckDBPyConnection, Unfilled]:
        if self._files is None:
            self._files = files_of(self._lake)
        con = connect(self._lake, self._files, ALL, None, self._limits.memory)
        found = con.execute("select distinct column_name from duckdb_columns() where not internal order by 1")
        self.columns = [name for (name,) in found.fetchall()]
        return con, Unfilled(con, self._lake, self._files)

    def ask(self, text: str) -> tuple[pa.RecordBatchReader, float | None]:
        """As `Once.ask`."""
        if self._opening is None:
            self._opening = Work(self._open)
        try:
            con, sums = self._opening.result()
        except BaseException:
            self._opening = None
            raise

        def stream() -> pa.RecordBatchReader:
            sums.fill_for(text)
            make_findings(con, text)
            return guard.stream(con, text)

        work = Work(stream, self._limits.seconds)
        try:
            return work.result(), work.left
        finally:
            self.leave_stuck()

    def close(self) -> None:
        """Stop connecting: DuckDB does not bear the end of the process."""
        if self._opening:
            self._opening.stop()

    def leave_stuck(self) -> None:
        """Go on with another connection, if this one cannot be stopped."""
        if stuck() - self._left:
            self._opening, self._left = None, stuck()


@contextmanager
def bounded(limits: Limits) -> Iterator[None]:
    """What takes too long, and what DuckDB refuses while rows are read, is a `BadInput`."""
    try:
        with guard.told():
            yield
    except Overtime:
        raise BadInput(
            f"the statement took longer than {limits.seconds:g} s: --timeout gives it more, --timeout 0 all it wants"
        ) from None


@contextmanager
def at_once() -> Iterator[None]:
    """Where DuckDB cannot be stopped the process ends all the same, as it would have ended."""
    code = 0
    try:
        yield
    except (KeyboardInterrupt, MemlakeError) as e:
        if not stuck():
            raise
        code = 130 if isinstance(e, KeyboardInterrupt) else 2
        if isinstance(e, MemlakeError):
            say(f"memlake: {printable(str(e))}")
    if stuck():
        sys.stdout.flush()
        os._exit(code)


class Output:
    """Where the answers of statements go."""

    def __init__(self, lake: Path, limits: Limits, form: FormatName = FormatName.table, whole: bool = False):
        self.lake, self.limits, self.form, self.whole = lake, limits, form, whole
        self._place: tuple[Path, FormatName] | None = None

    def place(self, out: Path) -> None:
        """The next goes into this file; raises `BadInput`."""
        path = local(out)
        if path.resolve().is_relative_to(self.lake.resolve()):
            raise BadInput(f"{path} lies in the lake, which only `memlake` commands write to")
        self._place = path, destination(path, None if self.form is FormatName.table else self.form)

    def give(self, session: Once | Conversation, text: str) -> None:
        """Ask the session, and show the answer or write it; raises `BadInput`."""
        place, self._place = self._place, None
        with bounded(self.limits):
            rows, left = session.ask(text)
            if place:
                path, form = place
                say(f"{path}: {counted(save(rows, form, path, left), 'row')}")
            else:
                most = None if self.whole else SHOWN
                show(rows, self.form, most=most, seconds=left, paged=self.whole)


def files_of(lake: Lake, names: Collection[str] | None = None) -> dict[str, list[File]]:
    """The published files of every table, or of those with these names, as of now."""
    return snapshot(lake, [name for name in schema.names() if names is None or name in names])


def connect(
    lake: Lake,
    files: Files,
    only: Only,
    names: Collection[str] | None = None,
    memory: str | None = None,
    text: str = "",
    fresh: bool = False,
    exact: bool = True,
) -> duckdb.DuckDBPyConnection:
    """A connection that reads these files of the lake, `only` so much of them, and nothing else; with all that SQL can
    name, or these names, whose sums are filled, if `fresh` by nothing that is kept; and the findings that the statement
    `text` calls. exact: DuckDB's own types are handed on as they are, and not as the nearest that Arrow has."""
    con = prepare(lake.connect(files, files), only, names)
    only.check(con)
    limit(con, memory)
    fill(con, lake, files, only, names or (), fresh)
    make_findings(con, text)
    if exact:
        con.execute("set arrow_lossless_conversion = true")
    guard.lock(con, [f.path for of_table in files.values() for f in of_table])
    return con
