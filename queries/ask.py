"""Ask a lake: SQL over its tables, and the findings by name.

`OpenLake` is what `memlake.open()` gives a notebook; `connect` is the DuckDB connection beneath it.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from memlake.warehouse import schema as tables
from memlake.warehouse.errors import UnknownName
from memlake.warehouse.lake import Lake
from memlake.warehouse.relation import File, quoted

from .finding import find
from .only import ALL, SHARED, Only

if TYPE_CHECKING:
    import dask.dataframe as dd
    import ibis
    import pandas as pd

HERE = Path(__file__).parent
BASE_ONLY = "(model, condition) in (select (model, base_condition) from models)"
VIEWS = ("models", "sequences", "matches", "layers", "noise", "groups", "heads")  # `views/`: each uses some before it
OF_SAMPLE = ("sample_rule", "sample_window")  # what the view of a table about sequences says beside its columns


class OpenLake:
    """A lake as it was when it was opened: what is published later shows when it is opened again.

    >>> lake = memlake.open("lake")
    >>> lake.query("memorization_rate").filter(ibis._.role == "trained").to_pandas()
    """

    def __init__(self, path: str | Path, **only: str | None):
        """Opens the lake at `path`, or of its measurements those that `Only` says: `condition="bfloat16-sdpa"`,
        `sample_window="32+32"`. Raises `NotALake`, `DamagedLake`, `UnknownName`."""
        self._lake = Lake.open(path)
        self._snapshot = snapshot(self._lake)
        self._only = Only(**only)
        self.connection = connect(self._lake, self._snapshot, self._only)
        self._narrower: dict[Only, OpenLake] = {}

    @cached_property
    def _ibis(self) -> ibis.backends.duckdb.Backend:
        import ibis

        return ibis.duckdb.from_connection(self.connection)

    def sql(self, text: str) -> ibis.Table:
        """The answer to one SELECT."""
        return self._ibis.sql(text)

    def table(self, name: str) -> ibis.Table:
        """A table or view by its name in SQL; raises `UnknownName`."""
        if name not in (known := views(self.connection)):
            raise UnknownName("table", name, known)
        return self._ibis.table(name)

    def query(self, name: str, **parameters: object) -> ibis.Table:
        """The answer of the finding `name`; raises `UnknownName`, `BadInput`. `parameters`: its own, and those of
        `Only`; with these it is asked on a connection of its own, whose tables do not join with those of this one."""
        only = {key: parameters.pop(key) for key in SHARED if key in parameters}
        lake = self._narrow(Only(**asdict(self._only) | only)) if only else self
        return lake.sql(find(name).sql(**parameters))

    def _narrow(self, only: Only) -> OpenLake:
        """The same snapshot, of which less is looked at."""
        if only not in self._narrower:
            lake = copy(self)
            vars(lake).pop("_ibis", None)
            lake._only, lake._narrower = only, {}
            lake.connection = connect(self._lake, self._snapshot, only)
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
        known = {*tables.names(), "matches_all"} - {"domains"}
        if name not in known:
            raise UnknownName("table of files", name, known)
        files, meta = self._snapshot[stored], _schema(stored).empty_table().to_pandas(types_mapper=_pandas_type)
        if not files:
            return dd.from_pandas(meta, npartitions=1)
        samples = {
            key: self.connection.execute(f"from {table}").to_arrow_table()
            for key, table in _sample_keys(stored).items()
        }
        keep = [{c: value for c in OF_SAMPLE if samples and (value := getattr(self._only, c))} for _ in files]
        if name == stored and _base_only(stored):
            base = dict(self.connection.execute("select model, base_condition from models").fetchall())
            keep = [k | {"condition": base.get(f.partition["model"])} for k, f in zip(keep, files, strict=True)]
        frame = dd.from_map(_frame, files, keep, name=stored, samples=samples, meta=meta, enforce_metadata=True)
        if name == "models" and self._only.condition:
            frame = frame.assign(base_condition=self._only.condition).astype(dict(meta.dtypes))
        return frame


def snapshot(lake: Lake) -> dict[str, list[File]]:
    """The published files of every table, as of now."""
    return {name: lake.snapshot(name) for name in tables.names()}


def connect(lake: Lake, files: dict[str, list[File]], only: Only = ALL) -> duckdb.DuckDBPyConnection:
    """A connection with `stored.TABLE` over these files, and what `prepare` adds; raises `DamagedLake`, and
    `UnknownName` for what `only` names and the lake does not hold."""
    return prepare(lake.connect(snapshot=files), only)


def prepare(con: duckdb.DuckDBPyConnection, only: Only = ALL) -> duckdb.DuckDBPyConnection:
    """Add to a connection with a schema `stored` what findings are written in: one view for each stored table, the
    views of `views/`, of which `domains` replaces one of these, the tables of `samples.sql`, and the macros of
    `macros.sql`. Raises `UnknownName` as `connect` does.

    Where a table has conditions its view shows each model's base condition (no noise, its default number format), so
    that a rate is right however many other conditions the lake holds; or the one condition that `only` names. What is
    of sequences says of which sample (sample_rule, sample_window), so that nothing is added up over several."""
    for name in ("macros", "samples"):
        con.execute((HERE / f"{name}.sql").read_text(encoding="utf-8"))
    only.check(con)
    for name in sorted(tables.names(), key=lambda n: n != "models"):  # it says which condition is the base
        con.execute(f'create view "{name}" as {_select(name, only)}')
    con.execute(f"create view matches_all as {_select('matches', only, all_conditions=True)}")
    for name in VIEWS:
        con.execute((HERE / "views" / f"{name}.sql").read_text(encoding="utf-8"))
    return con


def _select(name: str, only: Only, all_conditions: bool = False) -> str:
    """What the view of a stored table shows."""
    if name == "models" and only.condition:
        return f"select * replace ({quoted(only.condition)} as base_condition) from stored.models"
    shown = f'from stored."{name}"'
    tests = [BASE_ONLY] if _base_only(name) and not all_conditions else []
    if keys := _sample_keys(name):
        told = {c: f"coalesce({', '.join(f'of_{key}.{c}' for key in keys)})" for c in OF_SAMPLE}
        shown = f"select t.*, {', '.join(f'{value} as {c}' for c, value in told.items())} {shown} t"
        for key, table in keys.items():
            shown += f" left join {table} of_{key} on of_{key}.{key} = t.{key}"
        tests += [f"{told[c]} = {quoted(getattr(only, c))}" for c in OF_SAMPLE if getattr(only, c)]
    return f"{shown} where {' and '.join(tests) or 'true'}"


def views(con: duckdb.DuckDBPyConnection) -> list[str]:
    """The names that SQL can select from."""
    found = con.execute("select table_name from information_schema.tables where table_schema = 'main' order by 1")
    return [name for (name,) in found.fetchall()]


def table_macros(con: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """What SQL can select from by a name with arguments, as it is written: {"labelled": "labelled(measured)"}."""
    found = con.execute(
        "select function_name, parameters from duckdb_functions()"
        " where function_type = 'table_macro' and not internal order by 1"
    )
    return {name: f"{name}({', '.join(parameters)})" for name, parameters in found.fetchall()}


def _base_only(name: str) -> bool:
    """Does the view of this stored table show the base condition only? Not of a table that is about noise."""
    return name != "layer_similarity" and {"model", "condition"} <= _columns(name)


def _sample_keys(name: str) -> dict[str, str]:
    """Of a stored table of which each row is of one sample the columns that tell which, the first that does, and the
    tables of `samples.sql` that know."""
    columns = _columns(name)
    if name != "sequences" and not {"cell", "model", "condition", "corpus"} <= columns:
        return {}
    return {"cell": "cell_samples"} | ({"sequence_id": "sequence_samples"} if "sequence_id" in columns else {})


def _columns(name: str) -> set[str]:
    return {c.name for c in tables.table(name).columns}


def _frame(file: File, keep: Mapping[str, str | None], name: str, samples: Mapping[str, pa.Table]) -> pd.DataFrame:
    """The rows of a file that the view of its table shows: those with the values of `keep`. samples: the tables that
    `_sample_keys` names, by column."""
    import pyarrow.parquet as pq

    rows = pq.ParquetFile(file.path).read()
    for key, value in file.partition.items():
        rows = rows.append_column(key, pa.array([value] * len(rows), pa.string()))
    for column in OF_SAMPLE if samples else ():
        told = [found[column].take(pc.index_in(rows[key], found[key])) for key, found in samples.items()]
        rows = rows.append_column(column, pc.coalesce(*told))
    for column, value in keep.items():
        rows = rows.filter(pc.equal(rows[column], pa.scalar(value, pa.string())))
    schema = _schema(name)
    for field in schema:
        if field.name not in rows.column_names:  # declared after the file was written
            rows = rows.append_column(field, pa.nulls(len(rows), field.type))
    return rows.select(schema.names).cast(schema).to_pandas(types_mapper=_pandas_type)


def _schema(name: str) -> pa.Schema:
    """The columns of the view of a stored table."""
    own = [pa.field(column, pa.string()) for column in (OF_SAMPLE if _sample_keys(name) else ())]
    return pa.schema([*tables.table(name).schema, *own])


def _pandas_type(kind: pa.DataType) -> pd.ArrowDtype | None:
    """Arrow types: a missing whole number stays missing and the others stay whole. Booleans, which are never missing
    here, stay NumPy's: Dask takes no mean of Arrow's within groups."""
    import pandas as pd

    return None if pa.types.is_boolean(kind) else pd.ArrowDtype(kind)
