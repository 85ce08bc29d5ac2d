"""Which sequence a row is about: one that the lake holds, or one of an id made from where the row comes from.

DuckDB compares the ids of a file with those of the lake, within `MEMORY` and else on disk: there may be more of either
than memory holds. What it finds comes in the order of the rows, to be laid beside them when they are read again.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.stage import scratch
from memlake.warehouse.relation import quoted

MEMORY = "768MB"
ROWS = 100_000  # that DuckDB is given, or gives, at a time
DIGITS = 19  # of the largest id of a sequence
LARGEST = pa.scalar(2**63 - 1, pa.uint64())


def from_text(texts: pa.Array) -> pa.Array:
    """The number that a text is, where it can be an id of the lake, else NULL: digits of any script, as `int` takes
    them."""
    digits = pc.and_(pc.utf8_is_decimal(texts), pc.less_equal(pc.utf8_length(texts), DIGITS))
    numbers = pc.if_else(digits, texts, None)
    if pc.any(pc.invert(pc.string_is_ascii(numbers))).as_py():
        numbers = pa.array([n and str(int(n)) for n in numbers.to_pylist()], pa.string())
    large = numbers.cast(pa.uint64())
    return pc.if_else(pc.less_equal(large, LARGEST), large, None).cast(pa.int64())


@dataclass
class Span:
    """The least and the largest of some ids; NULL is none."""

    least: int | None = None
    largest: int | None = None

    def add(self, ids: pa.Array | None) -> None:
        found = [] if ids is None else [v for v in pc.min_max(ids).as_py().values() if v is not None]
        both = [v for v in (self.least, self.largest, *found) if v is not None]
        self.least, self.largest = min(both, default=None), max(both, default=None)


class Found:
    """Rows that DuckDB has found, in the order of their `position`, to be taken from the front."""

    def __init__(self, found: duckdb.DuckDBPyConnection):
        self._batches = found.to_arrow_reader(ROWS)
        self._next = self._batches.schema.empty_table()

    def before(self, position: int) -> pa.Table:
        """Those before this position that were not taken yet."""
        taken = []
        while True:
            n = int(np.searchsorted(self._next["position"].to_numpy(), position))
            taken.append(self._next.slice(0, n))
            self._next = self._next.slice(n)
            if self._next.num_rows:
                break
            try:
                self._next = pa.Table.from_batches([self._batches.read_next_batch()])
            except StopIteration:
                break
        return pa.concat_tables(taken).combine_chunks()


class Candidates:
    """The ids of rows, each with its place among them, to be compared with those of the lake's sequences. `own`: the
    id with which the row came, where it may be one of the lake; `made`: the one it has else."""

    def __init__(self, con: duckdb.DuckDBPyConnection):
        self._con, self._waiting, self._n = con, list[pa.Table](), 0
        con.execute("create temp table candidates (position bigint, own bigint, made bigint)")

    def add(self, position: int, own: pa.Array, made: pa.Array) -> None:
        """Of rows that follow one another, the first at this position. One without any id is left out."""
        places = pa.array(np.arange(position, position + len(own)))
        rows = pa.table({"position": places, "own": own, "made": made})
        self._waiting.append(rows.filter(pc.or_(pc.is_valid(own), pc.is_valid(made))))
        self._n += self._waiting[-1].num_rows
        if self._n >= ROWS:
            self._store()

    def _store(self) -> None:
        if self._n:
            self._con.register("added", pa.concat_tables(self._waiting))
            self._con.execute("insert into candidates from added")
            self._con.unregister("added")
        self._waiting, self._n = [], 0

    def may_be_held(self, own: Span) -> bool:
        """Has the lake a sequence whose id lies among these?"""
        sql = "select exists (from stored.sequences where sequence_id between ? and ?)"
        ((found,),) = self._con.execute(sql, [own.least, own.largest]).fetchall()
        return bool(found)

    def new(self) -> Found:
        """`position` and `sequence_id` of the first row of each sequence that the lake does not hold."""
        self._store()
        # Of the lake's ids those of the rows: DuckDB holds what follows `in`
        held = "select sequence_id from stored.sequences where sequence_id in (select {} from candidates)"
        return Found(
            self._con.execute(
                "select min(position) as position, made as sequence_id from candidates"
                f" where own is null or own not in ({held.format('own')})"
                f" group by made having made not in ({held.format('made')}) order by position"
            )
        )

    def held(self) -> Found:
        """`position`, `sequence_id` and `anchor_id` of the rows whose own id is that of a sequence of the lake."""
        self._store()
        return Found(
            self._con.execute(
                "select position, sequence_id, anchor_id from candidates join stored.sequences on own = sequence_id"
                " order by position"
            )
        )


@contextmanager
def candidates(lake: Lake) -> Iterator[Candidates]:
    """To compare ids with the lake as it is now."""
    with scratch(lake.staging, "import") as folder:
        with lake.connect(["sequences"]) as con:
            con.execute(f"set memory_limit = '{MEMORY}'")
            con.execute(f"set temp_directory = {quoted(str(folder))}")
            yield Candidates(con)
        shutil.rmtree(folder)
