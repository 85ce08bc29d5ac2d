"""The findings' rows, as the page and its figures ask for them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa

from memlake.queries import ask
from memlake.queries.answer import answer
from memlake.queries.catalog import prepare
from memlake.queries.finding import find, names
from memlake.queries.only import ALL, Only
from memlake.queries.sums import Unfilled
from memlake.warehouse import schema
from memlake.warehouse.connections import damage
from memlake.warehouse.errors import MemlakeError, one_line
from memlake.warehouse.lake import Lake, Snapshots


@dataclass(frozen=True)
class Scope:
    """What a report is about. findings: their names, all for none; parameters: of some of them, by the finding's name;
    only: which measurements are looked at. Raises `UnknownName` and `BadInput`, before anything is asked."""

    findings: Sequence[str] = ()
    parameters: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    only: Only = ALL

    def __post_init__(self) -> None:
        for name in (*self.findings, *self.parameters):
            self.sql(name)

    @property
    def asked(self) -> list[str]:
        """The names of the findings, each once."""
        return list(dict.fromkeys(self.findings or names()))

    def sql(self, finding: str) -> str:
        return find(finding).sql(**self.parameters.get(finding, {}))

    def command(self, finding: str) -> str:
        """The command that answers the same."""
        given = {**self.parameters.get(finding, {}), **self.only.given}
        options = "".join(f" -p {shlex.quote(f'{name}={value}')}" for name, value in given.items())
        return f"memlake query run {finding}{options}"


class Answers(dict[str, pa.Table]):
    """The findings' rows by name, each asked once. ask: the rows of a finding. failed: why there are none of a finding
    that could not be answered, which stands for one without rows."""

    def __init__(self, ask: Callable[[str], pa.Table], nothing: Callable[[str], pa.Table] | None = None):
        self._ask, self._nothing = ask, nothing
        self.failed: dict[str, str] = {}

    def __missing__(self, finding: str) -> pa.Table:
        try:
            self[finding] = self._ask(finding)
        except (duckdb.Error, MemlakeError) as e:
            mendable = isinstance(e, MemlakeError | duckdb.OutOfMemoryException)
            line = damage(e) or (one_line(e) if mendable else None)
            if line is None or self._nothing is None:
                raise
            self.failed[finding] = line
            self[finding] = self._nothing(finding)
        return self[finding]


@dataclass(frozen=True)
class Reading:
    """A snapshot of a lake, open, so far as a report is about it."""

    lake: Lake
    scope: Scope
    snapshot: Snapshots
    con: duckdb.DuckDBPyConnection
    answers: Answers


@contextmanager
def read(lake: Lake, scope: Scope, snapshot: Snapshots | None = None, fresh: bool = False) -> Iterator[Reading]:
    """Open the lake as it is now, or as it was at `snapshot`. fresh: take no answer that the lake keeps. Raises
    `UnknownName` for what the scope names and the lake does not hold."""
    snapshot = snapshot or lake.snapshots(schema.names())
    files, only = snapshot.files, scope.only
    with ask.connect(lake, files, only) as con:
        sums = Unfilled(con, lake, files, only, fresh)

        def compute(text: str) -> pa.Table:
            sums.fill_for(text)
            return con.execute(text).to_arrow_table()

        def rows(finding: str) -> pa.Table:
            text = scope.sql(finding)
            return answer(lake, files, text, only, lambda: compute(text), fresh)

        def nothing(finding: str) -> pa.Table:
            with prepare(lake.connect(files, {name: [] for name in files})) as empty:
                return empty.execute(scope.sql(finding)).to_arrow_table()

        yield Reading(lake, scope, snapshot, con, Answers(rows, nothing))
