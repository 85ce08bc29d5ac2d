"""Ask a lake: SQL over its tables, and the findings by name.

`OpenLake` is what `memlake.open()` gives a notebook; `connect` is the DuckDB connection beneath it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from memlake.warehouse import schema
from memlake.warehouse.errors import BadInput, DamagedLake, UnknownName, one_line
from memlake.warehouse.identity import tagged
from memlake.warehouse.lake import Lake
from memlake.warehouse.paths import utf8
from memlake.warehouse.relation import File
from memlake.warehouse.words import counted

from .answer import answer
from .catalog import OF_SAMPLE, base_only, make_findings, prepare, sample_keys, views
from .finding import find
from .namespaces import Findings, Functions, Tables, html, listing
from .only import ALL, SHARED, Only
from .sums import Unfilled

if TYPE_CHECKING:
    import dask.dataframe as dd
    import ibis
    import pandas as pd

    from .backend import LakeBackend


class OpenLake:
    """A lake as it was when it was opened: what is published later shows after `refresh()`.

    >>> lake = memlake.open("lake")
    >>> lake.findings.memorization_rate().filter(ibis._.role == "trained").to_pandas()
    >>> lake.tables.matches.group_by("model").agg(rate=lake.functions.share(ibis._.memorized))

    What DuckDB refuses, also later when rows are asked for, is `BadInput`; a file that cannot be read `DamagedLake`.
    """

    def __init__(self, path: str | Path, **only: Any):
        """Opens the lake at `path`, or of its measurements those that `Only` says: `condition="bfloat16-sdpa"`,
        `sample_window="32+32"`, `families=["pythia", "olmo"]`. Raises `NotALake`, `DamagedLake`, `UnknownName`."""
        self._lake = Lake.open(path)
        self._only = Only(**only)
        self._look()

    def _look(self) -> None:
        """Take what is published now."""
        self._snapshot, self._versions = self._lake.snapshots(schema.names())
        self._looked_at = datetime.now(UTC)
        self._connect()

    def _connect(self) -> None:
        self.connection = connect(self._lake, self._snapshot, self._only)
        self._sums = Unfilled(self.connection, self._lake, self._snapshot, self._only)
        self._narrower: dict[Only, OpenLake] = {}
        for name in ("_ibis", "_views", "tables", "findings", "functions"):
            vars(self).pop(name, None)

    @cached_property
    def _ibis(self) -> LakeBackend:
        from .backend import over

        return over(self.connection)

    @cached_property
    def _views(self) -> list[str]:
        return views(self.connection)

    def refresh(self) -> Self:
        """Look at what is published now; returns the lake. Tables that were made before stay as they were, and do not
        join with those made afterwards."""
        if self._lake.snapshots(schema.names()).versions != self._versions:
            self._look()
        self._looked_at = datetime.now(UTC)
        return self

    @cached_property
    def tables(self) -> Tables:
        """Tables and views by name: `lake.tables.matches`."""
        return Tables(self._views, self.table)

    @cached_property
    def findings(self) -> Findings:
        """The findings by name: `lake.findings.scaling_law(minimum_sizes=2)`."""
        return Findings(self.query)

    @cached_property
    def functions(self) -> Functions:
        """The macros of SQL, for Ibis: `lake.functions.labelled("matches")`."""
        return Functions(self._ibis, self.sql, self.table)

    def sql(self, text: str) -> ibis.Table:
        """The answer to one SELECT; raises `BadInput`."""
        from .backend import told

        with told(before=0):
            select = one_select(self.connection, text)
        with told(before=1):
            self._sums.fill_for(select)
            make_findings(self.connection, select)
            # As a view, so that nothing but DuckDB reads what was written
            view = f'create or replace temp view "{tagged("select", select)}" as select * from (\n{select}\n)'
            self.connection.execute(view)
        return self._ibis.table(tagged("select", select))

    def table(self, name: str) -> ibis.Table:
        """A table or view by its name in SQL; raises `UnknownName`."""
        if name not in self._views:
            raise UnknownName("table", str(name), self._views)
        return self._ibis.table(name)

    def query(self, name: str, **parameters: object) -> ibis.Table:
        """The answer of the finding `name`; raises `UnknownName`, `BadInput`. `parameters`: its own, and those of
        `Only`; with these it is asked on a connection of its own, whose tables do not join with those of this one."""
        only: dict[str, Any] = {key: parameters.pop(key) for key in SHARED if key in parameters}
        lake = self._narrow(Only(**asdict(self._only) | only)) if only else self
        return lake._answer(find(name).sql(**parameters))

    def _answer(self, text: str) -> ibis.Table:
        """The answer to the SELECT of a finding, computed once for the files that it is of (see `answer`)."""
        from .backend import told

        def compute() -> pa.Table:
            with told():
                self._sums.fill_for(text)
                return self.connection.execute(text).to_arrow_table()

        rows = answer(self._lake, self._snapshot, text, self._only, compute)
        self.connection.register(name := tagged("answer", text), rows)
        return self._ibis.table(name)

    def _narrow(self, only: Only) -> OpenLake:
        """The same snapshot, of which less is looked at."""
        if only not in self._narrower:
            lake = copy(self)
            lake._only = only
            lake._connect()
            self._narrower[only] = lake
        return self._narrower[only]

    def dask(self, name: str) -> dd.DataFrame:
        """A table as a Dask DataFrame, one partition for each of its Parquet files.

        It holds the rows of the view of that name in SQL, which is the base condition where the table has conditions;
        `matches_all` has all of them. `domains`, a sum over files, and other views have no files of their own: raises
        `UnknownName`. Rows are read later; a file that cannot be read raises `DamagedLake` then.
        """
        import dask.dataframe as dd

        stored = "matches" if name == "matches_all" else name
        known = {*schema.names(), "matches_all"} - {"domains"}
        if name not in known:
            raise UnknownName("table of files", name, known)
        files, meta = self._snapshot[stored], _schema(stored).empty_table().to_pandas(types_mapper=_pandas_type)
        if not files:
            return dd.from_pandas(meta, npartitions=1)
        samples = {
            key: self.connection.execute(f"from {table}").to_arrow_table() for key, table in sample_keys(stored).items()
        }
        shown: dict[str, tuple[str | None, ...]] = {**self._only.columns(self.connection, stored)}
        shown |= {c: (value,) for c in OF_SAMPLE if samples and (value := getattr(self._only, c))}
        keep = [shown] * len(files)
        if name == stored and base_only(stored):
            base = dict(self.connection.execute("select model, base_condition from models").fetchall())
            keep = [k | {"condition": (base.get(f.partition["model"]),)} for k, f in zip(keep, files, strict=True)]
        frame = dd.from_map(_frame, files, keep, name=stored, samples=samples, meta=meta, enforce_metadata=True)
        if name == "models" and self._only.condition:
            frame = frame.assign(base_condition=self._only.condition).astype(dict(meta.dtypes))
        return frame

    def _held(self) -> dict[str, str]:
        """What the lake holds, and as of when, in words."""
        from .backend import told

        with told():
            models = "select count(*)::int, list(distinct family order by family) from models"
            ((n_models, families),) = self.connection.execute(models).fetchall()
            done = "select max(finished_at)::timestamp from stored.cells where outcome = 'done'"
            ((last,),) = self.connection.execute(done).fetchall()
            counts = "select (select count(*) from stored.sequences), (select count(*) from stored.matches)"
            ((n_sequences, n_matches),) = self.connection.execute(counts).fetchall()
            places = "select distinct corpus from stored.documents union select distinct corpus from stored.sequences"
            corpora = sorted(corpus for (corpus,) in self.connection.execute(places).fetchall())
        asked = "".join(f", {key} {value}" for key, value in self._only.given.items())
        when = f"{last:%Y-%m-%d %H:%M} UTC" if last else "nothing yet"
        return {
            "lake": f"{self._lake.path}{asked}",
            "models": f"{n_models} of {counted(len(families or ()), 'family', 'families')}{_some(families or ())}",
            "corpora": f"{len(corpora)}{_some(corpora)}",
            "sequences": f"{n_sequences:,}",
            "matches": f"{n_matches:,}, of all conditions",
            "published": f"{when} (table cells, version {self._versions['cells']})",
            "read": f"{self._looked_at:%Y-%m-%d %H:%M:%S} UTC",
            "ask": ".tables, .findings, .functions, .sql(...)",
        }

    def __repr__(self) -> str:
        return listing(self._held())

    def _repr_html_(self) -> str:
        return html(self._held())


def _some(names: Sequence[str]) -> str:
    """The first of the names, where there are any, in brackets."""
    shown = [*names[:8], *(["..."] if len(names) > 8 else [])]
    return f" ({', '.join(shown)})" if shown else ""


def one_select(con: duckdb.DuckDBPyConnection, text: str) -> str:
    """The one SELECT in the text, without a semicolon behind it; raises `BadInput`, and DuckDB's errors."""
    if not isinstance(text, str):
        raise BadInput(f"SQL is a text, not {text!r}")
    kinds = [statement.type.name for statement in con.extract_statements(utf8(text))]
    written = text.encode()
    ends = [at for at, _ in duckdb.tokenize(text) if written[at : at + 1] == b";"]
    parts = [written[a:b] for a, b in zip([0, *(e + 1 for e in ends)], [*ends, len(written)], strict=True)]
    selects = [part for part in (p.decode() for p in parts) if duckdb.tokenize(part)]
    if len(selects) != 1 or kinds[-1] != "SELECT":
        raise BadInput(f"one SELECT is wanted, this is {', '.join(kinds) or 'nothing'}")
    return selects[0]


def snapshot(lake: Lake, names: Iterable[str] | None = None) -> dict[str, list[File]]:
    """The published files of every table, or of these, at one moment."""
    return lake.snapshots(schema.names() if names is None else names).files


def connect(lake: Lake, files: Mapping[str, list[File]], only: Only = ALL) -> duckdb.DuckDBPyConnection:
    """A connection with `stored.TABLE` over these files, and what `catalog.prepare` makes of them.

    Raises `DamagedLake`, and `UnknownName` for what `only` names and the lake does not hold."""
    con = prepare(lake.connect(files, files), only)
    only.check(con)
    return con


def _frame(
    file: File, keep: Mapping[str, Sequence[str | None]], name: str, samples: Mapping[str, pa.Table]
) -> pd.DataFrame:
    """The rows of a file that the view of its table shows: those with values of `keep`. samples: the tables that
    `sample_keys` names, by column."""
    import pyarrow.parquet as pq

    try:
        rows = pq.ParquetFile(file.path).read()
    except (OSError, pa.ArrowException) as e:
        raise DamagedLake(f"{file.path} cannot be read ({one_line(e)}): see `memlake warehouse check`") from e
    for key, value in file.partition.items():
        rows = rows.append_column(key, pa.array([value] * len(rows), pa.string()))
    for column in OF_SAMPLE if samples else ():
        candidates = [found[column].take(pc.index_in(rows[key], found[key])) for key, found in samples.items()]
        rows = rows.append_column(column, pc.coalesce(*candidates))
    for column, values in keep.items():
        rows = rows.filter(pc.is_in(rows[column], pa.array([v for v in values if v is not None], pa.string())))
    declared = _schema(name)
    for field in declared:
        if field.name not in rows.column_names:  # declared after the file was written
            rows = rows.append_column(field, pa.nulls(len(rows), field.type))
    return rows.select(declared.names).cast(declared).to_pandas(types_mapper=_pandas_type)


def _schema(name: str) -> pa.Schema:
    """The columns of the view of a stored table."""
    own = [pa.field(column, pa.string()) for column in (OF_SAMPLE if sample_keys(name) else ())]
    return pa.schema([*schema.table(name).schema, *own])


def _pandas_type(kind: pa.DataType) -> pd.ArrowDtype | None:
    """Arrow types: a missing whole number stays missing and the others stay whole. Booleans, which are never missing
    here, stay NumPy's: Dask takes no mean of Arrow's within groups."""
    import pandas as pd

    return None if pa.types.is_boolean(kind) else pd.ArrowDtype(kind)
