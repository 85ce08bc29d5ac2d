"""Ask a lake: SQL over its tables, and the findings by name.

`OpenLake` is what `memlake.open()` gives a notebook; `connect` is the DuckDB connection beneath it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from memlake.warehouse import schema
from memlake.warehouse.errors import UnknownName
from memlake.warehouse.identity import tagged
from memlake.warehouse.lake import Lake
from memlake.warehouse.relation import File

from .answer import answer
from .catalog import OF_SAMPLE, base_only, prepare, sample_keys, views
from .finding import find
from .only import ALL, SHARED, Only
from .sums import Unfilled

if TYPE_CHECKING:
    import dask.dataframe as dd
    import ibis
    import pandas as pd


class OpenLake:
    """A lake as it was when it was opened: what is published later shows when it is opened again.

    >>> lake = memlake.open("lake")
    >>> lake.query("memorization_rate").filter(ibis._.role == "trained").to_pandas()
    """

    def __init__(self, path: str | Path, **only: Any):
        """Opens the lake at `path`, or of its measurements those that `Only` says: `condition="bfloat16-sdpa"`,
        `sample_window="32+32"`, `families=["pythia", "olmo"]`. Raises `NotALake`, `DamagedLake`, `UnknownName`."""
        self._lake = Lake.open(path)
        self._snapshot = snapshot(self._lake)
        self._only = Only(**only)
        self._connect()
        self._narrower: dict[Only, OpenLake] = {}

    def _connect(self) -> None:
        self.connection = connect(self._lake, self._snapshot, self._only)
        self._sums = Unfilled(self.connection, self._lake, self._snapshot, self._only)

    @cached_property
    def _ibis(self) -> ibis.backends.duckdb.Backend:
        import ibis

        return ibis.duckdb.from_connection(self.connection)

    def sql(self, text: str) -> ibis.Table:
        """The answer to one SELECT."""
        self._sums.fill_for(text)
        return self._ibis.sql(text)

    def table(self, name: str) -> ibis.Table:
        """A table or view by its name in SQL; raises `UnknownName`."""
        if name not in (known := views(self.connection)):
            raise UnknownName("table", name, known)
        return self._ibis.table(name)

    def query(self, name: str, **parameters: object) -> ibis.Table:
        """The answer of the finding `name`; raises `UnknownName`, `BadInput`. `parameters`: its own, and those of
        `Only`; with these it is asked on a connection of its own, whose tables do not join with those of this one."""
        only: dict[str, Any] = {key: parameters.pop(key) for key in SHARED if key in parameters}
        lake = self._narrow(Only(**asdict(self._only) | only)) if only else self
        return lake._answer(find(name).sql(**parameters))

    def _answer(self, text: str) -> ibis.Table:
        """What `sql` gives, computed once for the files that it is of (see `answer`)."""
        rows = answer(self._lake, self._snapshot, text, self._only, lambda: self.sql(text).to_pyarrow())
        self.connection.register(name := tagged("answer", text), rows)
        return self._ibis.table(name)

    def _narrow(self, only: Only) -> OpenLake:
        """The same snapshot, of which less is looked at."""
        if only not in self._narrower:
            lake = copy(self)
            vars(lake).pop("_ibis", None)
            lake._only, lake._narrower = only, {}
            lake._connect()
            self._narrower[only] = lake
        return self._narrower[only]

    def dask(self, name: str) -> dd.DataFrame:
        """A table as a Dask DataFrame, one partition for each of its Parquet files.

        It holds the rows of the view of that name in SQL, which is the base condition where the table has conditions;
        `matches_all` has all of them. `domains`, a sum over files, and other views have no files of their own: raises
        `UnknownName`.
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

    rows = pq.ParquetFile(file.path).read()
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
