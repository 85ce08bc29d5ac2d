"""Ibis over the connection of an open lake: what goes wrong while DuckDB is at work is told in memlake's errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import ibis
from ibis.backends.duckdb import Backend

from memlake.warehouse.connections import damage, interruptible
from memlake.warehouse.errors import BadInput, DamagedLake, one_line
from memlake.warehouse.identity import tagged

from .guard import without_brackets


@contextmanager
def told(before: int | None = None) -> Iterator[None]:
    """What DuckDB refuses is a `BadInput` within, what it cannot read a `DamagedLake`. Ctrl-C ends the query. before:
    lines that stand before what the user wrote: the message then has the line that DuckDB points to."""
    try:
        with interruptible():
            yield
    except duckdb.Error as e:
        if line := damage(e):
            gone = ", or `refresh()` where it was compacted away meanwhile" if "No files found" in line else ""
            raise DamagedLake(line + gone) from e
        raise BadInput(
            (without_brackets(e) or one_line(e)) + ("" if before is None else _pointed(str(e), before))
        ) from e


def _pointed(message: str, before: int) -> str:
    """The line that DuckDB points to, with its caret, counted from what the user wrote."""
    found = re.search(r"\n\nLINE (\d+): (.*)\n( *)\^", message)
    if not found:
        return ""
    number = int(found[1]) - before
    return f"\nLINE {number}: {found[2]}\n{found[3][len(found[1]) - len(str(number)) :]}^"


class LakeBackend(Backend):
    """DuckDB as Ibis has it. All that gives rows is `told`."""

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self._named: dict[str, ibis.Table] = {}

    def execute(self, expr: Any, /, **options: Any) -> Any:
        with told():
            return super().execute(expr, **options)

    def to_pyarrow(self, expr: Any, /, **options: Any) -> Any:
        with told():
            return super().to_pyarrow(expr, **options)

    def to_pyarrow_batches(self, expr: Any, /, **options: Any) -> Any:
        with told():
            return super().to_pyarrow_batches(expr, **options)

    def to_polars(self, expr: Any, /, **options: Any) -> Any:
        try:
            import polars  # noqa: F401
        except ModuleNotFoundError as e:
            raise BadInput("to_polars() needs polars: pip install polars") from e
        return super().to_polars(expr, **options)

    def raw_sql(self, query: Any, **options: Any) -> Any:
        with told():
            return super().raw_sql(query, **options)

    def named(self, expr: ibis.Table) -> str:
        """The name in SQL of a view of the expression, also of one over rows of the caller's (`ibis.memtable`)."""
        self._run_pre_execute_hooks(expr)
        text = self.compile(expr)
        self._named[name := tagged("given", text)] = expr  # whose rows go with it
        with told():
            self.con.execute(f'create or replace temp view "{name}" as {text}')
        return name


def over(con: duckdb.DuckDBPyConnection) -> LakeBackend:
    """Ibis over this connection."""
    return LakeBackend.from_connection(con)
