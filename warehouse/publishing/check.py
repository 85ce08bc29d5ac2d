"""Judge again what is published: does every row still meet what its table's file declares, is every file whole."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from memlake.warehouse import schema
from memlake.warehouse.errors import DamagedLake, one_line
from memlake.warehouse.lake import Lake
from memlake.warehouse.portions import portions
from memlake.warehouse.relation import File, quoted, relation

from . import audit
from .audit import Number, Rows
from .passed import Passed
from .publish import TOGETHER, data_tables
from .second_judge import out_of_range

# The cells that are done, and how many rows were published with them
LAST_DONE = """
    select cell, rows from (
        from stored.cells qualify row_number() over (partition by cell order by finished_at desc) = 1
    ) where outcome = 'done' order by cell
"""


@dataclass(frozen=True)
class Defect:
    """What is wrong with a table; `where` is a file, a partition or a cell."""

    table_name: str
    where: str
    what: str


class Check:
    """A look at all that is published, or at what has changed since `passed` was written.

    Rows of files that are new are judged again, against all rows that are there; of a table that stands on rows which
    were taken back or amended, all rows are. What is kept of it is of one look at each log, before anything is judged,
    so that what is amended or taken back meanwhile is seen as changed by the next.
    """

    def __init__(self, lake: Lake, passed: Passed | None = None):
        self.lake, self.passed = lake, passed
        self.now = Passed.begun()
        # `cells` first: of what it tells as done all rows are then seen
        logs = {name: lake.log(name) for name in sorted(schema.names(), key=lambda name: name != "cells")}
        self._files = {name: log.files() for name, log in logs.items()}
        self._transactions = {name: dict(log.transactions) for name, log in logs.items()}
        lost = {name for name in schema.names() if passed and self._lost(passed, name)}
        self._whole = {name for name in schema.names() if passed is None or lost & audit.mentioned(schema.table(name))}
        self.files = sum(map(len, self._files.values()))
        self.looked_at = sum(len(self._new(name)) for name in schema.names())

    @property
    def steps(self) -> int:
        """How much there is to do: each file is looked at, and then judged."""
        return 2 * self.looked_at

    def defects(self, advance: Callable[[int], None] = lambda files: None) -> Iterator[Defect]:
        """All that is wrong; nothing when all is well. advance: is told how many `steps` are done."""
        damaged = False
        for name in schema.names():
            for defect in self._damaged(name, advance):
                damaged = True
                yield defect
        if damaged:
            return  # rows are judged against other tables: with a file missing every verdict would be misleading
        try:
            found = list(self._judged_again(advance))
        except (duckdb.Error, DamagedLake):
            found = list(_unreadable(self.lake))
            if not found:
                raise
        yield from found

    def _lost(self, passed: Passed, name: str) -> bool:
        """Are rows gone that were there when `passed` was written, or were cells published anew? Of tables whose rows
        are of no cell also: are rows others than they were?"""
        if "cell" not in schema.table(name).schema.names:
            return not passed.rows[name] <= self._names(name)
        return any(self._transactions[name].get(cell) != n for cell, n in passed.published[name].items())

    def _names(self, name: str) -> frozenset[str]:
        """A digest of each row of a table of names."""
        if name not in self.now.rows:
            with self.lake.connect([name], snapshot=self._files) as con:
                found = con.execute(f"select md5(r::varchar) from stored.{name} r").fetchall()
            self.now.rows[name] = frozenset(digest for (digest,) in found)
        return self.now.rows[name]

    def _new(self, name: str) -> list[File]:
        """The files of a table that are to be looked at."""
        files = self._files[name]
        if self.passed is None or name in self._whole:
            return files
        known = self.passed.files[name]
        return [f for f in files if self.lake.relative(f.path) not in known]

    def _damaged(self, name: str, advance: Callable[[int], None]) -> Iterator[Defect]:
        """What is wrong with the files themselves: of each is seen that it is there, of new ones the end is read."""
        new = {f.path for f in self._new(name)}
        for file in self._files[name]:
            if file.path in new:
                advance(1)
            path = Path(file.path)
            where = self.lake.relative(path)
            if not path.exists():
                yield Defect(name, where, "file is missing")
            elif path.stat().st_size != file.size:
                yield Defect(name, where, f"file has {path.stat().st_size} bytes, the log says {file.size}")
            elif file.path in new:
                try:
                    rows = pq.read_metadata(path).num_rows
                except (OSError, pa.ArrowException) as e:
                    yield Defect(name, where, f"file cannot be read: {one_line(e)}")
                    continue
                if rows != file.rows:
                    yield Defect(name, where, f"file has {rows} rows, the log says {file.rows}")

    def _judged_again(self, advance: Callable[[int], None]) -> Iterator[Defect]:
        """What is wrong with the rows of files that are all there."""
        judged: list[Number] = []
        settings = _settings(self.lake)
        for name in schema.names():
            for files, rows in self._judged_together(name, settings):
                advance(files)
                judged += audit.numbers(rows)
        failed = out_of_range([(n.observed, n.low, n.high) for n in judged]) if judged else set()
        yield from _broken([judged[i] for i in sorted(failed)])
        yield from _lost(self.lake) if self.passed is None else self._miscounted()

    def _judged_together(self, name: str, settings: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[int, Rows]]:
        """The rows of a table that are to be judged, those of some cells at a time (all at once where rows carry none),
        each against the rest of the table; and to how many files that comes."""
        files, spec = self._files[name], schema.table(name)
        new = {f.path for f in self._new(name)}
        if "cell" not in spec.schema.names:
            self._names(name)
            self.now.add(self.lake, name, {f: {} for f in files}, {})
            if new:
                select = relation(name, files)
                yield len(new), Rows(self.lake, name, select, settings={}, partitions=[])
            return
        holds = {f: self._cells(name, f, new=f.path in new) for f in files}
        self.now.add(self.lake, name, holds, self._transactions[name])
        asked = {cell for f, cells in holds.items() if f.path in new for cell in cells}
        holding: dict[str, dict[File, int]] = defaultdict(dict)
        for file, cells in holds.items():
            for cell in asked & cells.keys():
                holding[cell][file] = cells[cell]
        groups: dict[str, list[str]] = defaultdict(list)
        of_settings = audit.asked(spec)
        for cell in holding:
            known = {**settings.get(cell, {}), "cell": cell}
            said = [known.get(a) for a in of_settings]
            groups[json.dumps([said, sorted({*map(_place, holding[cell])})], sort_keys=True)].append(cell)
        counted: set[str] = set()
        for cells_alike in groups.values():
            for some in portions(cells_alike, lambda cell: sum(holding[cell].values()), TOGETHER):
                own = {f.path: f for cell in some for f in holding[cell]}
                listed = ", ".join(map(quoted, some))
                through = (own.keys() & new) - counted
                counted |= through
                yield (
                    len(through),
                    Rows(
                        lake=self.lake,
                        table_name=name,
                        select=f"select * from ({relation(name, [*own.values()])}) where cell in ({listed})",
                        settings=settings.get(some[0], {}),
                        partitions=[f.partition for f in own.values()],
                        cells={cell: sum(holding[cell].values()) for cell in some},
                        bounds=[f.bounds for f in own.values()],
                    ),
                )

    def _cells(self, name: str, file: File, new: bool) -> Mapping[str, int]:
        """The cells that have rows in a file, and how many: it is named by its cell, or holds the rows of several."""
        known = self.passed.files[name].get(self.lake.relative(file.path)) if self.passed and not new else None
        if known is not None:
            return known
        if file.cell is not None:
            return {file.cell: file.rows}
        with self.lake.connect([]) as con:
            found = con.execute(
                f"select cell, count(*) from ({relation(name, [file])}) group by cell order by cell"
            ).fetchall()
        return dict(found)

    def _miscounted(self) -> Iterator[Defect]:
        """As `_lost`, by the counts of this look and of the last."""
        counts: Counter[str] = Counter()
        for name in data_tables():
            for cells in self.now.files[name].values():
                counts.update(cells)
        with self.lake.connect(["cells"], snapshot=self._files) as con:
            for cell, rows in con.execute(LAST_DONE).fetchall():
                if rows != counts[cell]:
                    yield Defect("cells", f"cell {cell}", f"published {rows} rows, the tables hold {counts[cell]}")


def check(lake: Lake, advance: Callable[[int], None] = lambda files: None) -> Iterator[Defect]:
    """All that is wrong with the lake's published rows; nothing when all is well."""
    return Check(lake).defects(advance)


def _broken(failed: Sequence[Number]) -> Iterator[Defect]:
    """One defect for the references that a cell's rows in a table break, and one for each other expectation and
    partition."""
    fallen: dict[tuple[str, str], Counter[str]] = {}
    for n in failed:
        where = f"cell {n.cell}" if n.cell else "registered rows"
        if any(r.name == n.expectation for r in schema.table(n.table_name).references):
            fallen.setdefault((n.table_name, where), Counter())[n.expectation] += int(n.observed or 0)
        else:
            yield Defect(n.table_name, n.partition or where, f"{n.expectation}: {n.observed:g} in {where}")
    for (name, where), counts in fallen.items():
        on = {r.name: r.table for r in schema.table(name).references}
        listed = ", ".join(f"{count} in {on[reference]} ({reference})" for reference, count in counts.items())
        yield Defect(name, where, f"rows stand on nothing: {listed}")


def _unreadable(lake: Lake) -> Iterator[Defect]:
    """The files of which DuckDB cannot read every value."""
    with lake.connect([]) as con:
        for name in schema.names():
            for file in lake.snapshot(name):
                try:
                    con.execute(f"select bit_xor(hash(columns(*))) from ({relation(name, [file])})").fetchall()
                except duckdb.Error as e:
                    yield Defect(name, lake.relative(file.path), f"rows cannot be read: {one_line(e)}")


def _lost(lake: Lake) -> Iterator[Defect]:
    """Cells with more or fewer rows than were published with them."""
    counts = " union all ".join(f"select cell from stored.{name}" for name in data_tables())
    with lake.connect([*data_tables(), "cells"]) as con:
        found = con.execute(
            f"""
            with last as ({LAST_DONE}), counted as (select cell, count(*) as n from ({counts}) group by cell)
            select last.cell, rows, coalesce(n, 0) from last left join counted using (cell)
            where rows <> coalesce(n, 0) order by all
            """
        ).fetchall()
    for cell, rows, n in found:
        yield Defect("cells", f"cell {cell}", f"published {rows} rows, the tables hold {n}")


def _settings(lake: Lake) -> dict[str, dict[str, Any]]:
    with lake.connect(["cells"]) as con:
        return {c: json.loads(s) for c, s in con.execute("select cell, settings from stored.cells").fetchall()}


def _place(file: File) -> str:
    return json.dumps(file.partition, sort_keys=True)
