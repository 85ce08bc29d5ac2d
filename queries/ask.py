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

from warehouse import table as tables
from warehouse.errors import UnknownName
from warehouse.lake import Lake
from warehouse.relation import File, quoted

from .finding import find
from .only import ALL, SHARED, Only

if TYPE_CHECKING:
    import dask.dataframe as dd
    import ibis
    import pandas as pd

HERE = Path(__file__).parent
BASE_ONLY = "(model, condition) in (select (model, base_condition) from models)"
# Where rows of a sample are not all cut alike, as imported ones may be, each says itself how it was
OWN_WINDOW = "coalesce(sample_window, prefix_tokens || '+' || n_tokens)"
Samples = Mapping[str, tuple[str | None, str | None]]  # rule and window by cell


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
        base = None
        if name == stored and _base_only(stored):
            base = dict(self.connection.execute("select model, base_condition from models").fetchall())
        samples = {}
        if _sampled(stored):
            found = self.connection.execute("select cell, sample_rule, sample_window from cell_samples").fetchall()
            samples = {cell: (rule, window) for cell, rule, window in found}
        files, meta = self._snapshot[stored], _no_rows(stored)
        if not files:
            return dd.from_pandas(meta, npartitions=1)
        how = {"name": stored, "base": base, "samples": samples, "only": self._only}
        return dd.from_map(_frame, files, **how, meta=meta, enforce_metadata=True)


def snapshot(lake: Lake) -> dict[str, list[File]]:
    """The published files of every table, as of now."""
    return {name: lake.snapshot(name) for name in tables.names()}


def connect(lake: Lake, files: dict[str, list[File]], only: Only = ALL) -> duckdb.DuckDBPyConnection:
    """A connection with `stored.TABLE` over these files, and what `prepare` adds; raises `DamagedLake`, and
    `UnknownName` for what `only` names and the lake does not hold."""
    if only != ALL:
        with connect(lake, files) as whole:
            only.check(whole)
    return prepare(lake.connect(snapshot=files), only)


def prepare(con: duckdb.DuckDBPyConnection, only: Only = ALL) -> duckdb.DuckDBPyConnection:
    """Add to a connection with a schema `stored` what findings are written in: one view for each stored table, those of
    `samples.sql` and `views.sql`, and the macros of `macros.sql`.

    Where a table has conditions its view shows each model's base condition (no noise, its default number format), so
    that a rate is right however many other conditions the lake holds; or the one condition that `only` names."""
    for name in ("macros", "samples"):
        con.execute((HERE / f"{name}.sql").read_text(encoding="utf-8"))
    for name in sorted(tables.names(), key=lambda n: n != "models"):  # it says which condition is the base
        con.execute(f'create view "{name}" as {_select(name, only)}')
    con.execute(f"create view matches_all as {_select('matches', only, all_conditions=True)}")
    con.execute((HERE / "views.sql").read_text(encoding="utf-8"))
    return con


def _select(name: str, only: Only, all_conditions: bool = False) -> str:
    """What the view of a stored table shows."""
    if name == "models" and only.condition:
        return f"select * replace ({quoted(only.condition)} as base_condition) from stored.models"
    if not _sampled(name):
        return f'from stored."{name}" where {BASE_ONLY if _base_only(name) else "true"}'
    window = OWN_WINDOW if _tells_window(name) else "sample_window"
    asked = {"sample_rule": only.sample_rule, window: only.sample_window}
    tests = [f"{column} = {quoted(value)}" for column, value in asked.items() if value is not None]
    tests += [BASE_ONLY] if _base_only(name) and not all_conditions else []
    return (
        f'select t.*, sample_rule, {window} as sample_window from stored."{name}" t left join cell_samples using (cell)'
        f" where {' and '.join(tests) or 'true'}"
    )


def views(con: duckdb.DuckDBPyConnection) -> list[str]:
    """The names that SQL can select from."""
    found = con.execute("select table_name from information_schema.tables where table_schema = 'main' order by 1")
    return [name for (name,) in found.fetchall()]


def _base_only(name: str) -> bool:
    """Does the view of this stored table show the base condition only? Not of a table that is about noise."""
    return name != "layer_similarity" and {"model", "condition"} <= _columns(name)


def _sampled(name: str) -> bool:
    """Are the rows of this stored table about sequences, of one sample a cell?"""
    return name == "sequences" or {"cell", "model", "condition", "corpus"} <= _columns(name)


def _tells_window(name: str) -> bool:
    return _sampled(name) and {"prefix_tokens", "n_tokens"} <= _columns(name)


def _columns(name: str) -> set[str]:
    return {c.name for c in tables.table(name).columns}


def _frame(file: File, name: str, base: dict[str, str] | None, samples: Samples, only: Only) -> pd.DataFrame:
    """The rows of a file that the view of its table shows."""
    import pyarrow.parquet as pq

    rows = pq.ParquetFile(file.path).read()
    for key, value in file.partition.items():
        rows = rows.append_column(key, pa.array([value] * len(rows), pa.string()))
    for field in tables.table(name).schema:
        if field.name not in rows.column_names:  # declared after the file was written
            rows = rows.append_column(field, pa.nulls(len(rows), field.type))
    if _sampled(name):
        rule, window = zip(*(samples.get(c, (None, None)) for c in rows["cell"].to_pylist()), strict=True)
        rows = rows.append_column("sample_rule", pa.array(rule, pa.string()))
        rows = rows.append_column("sample_window", pa.array(window, pa.string()))
        if _tells_window(name):
            own = pc.binary_join_element_wise(
                *(pc.cast(rows[c], pa.string()) for c in ("prefix_tokens", "n_tokens")), "+"
            )
            rows = rows.set_column(rows.num_columns - 1, "sample_window", pc.coalesce(rows["sample_window"], own))
    keep = {"condition": base and base[file.partition["model"]], "sample_rule": only.sample_rule}
    for column, value in (keep | {"sample_window": only.sample_window}).items():
        if value is not None and column in rows.column_names:
            rows = rows.filter(pc.equal(rows[column], value))
    schema = _schema(name)
    return rows.select(schema.names).cast(schema).to_pandas(types_mapper=_pandas_type)


def _schema(name: str) -> pa.Schema:
    """The columns of a table's view."""
    schema = tables.table(name).schema
    for column in ("sample_rule", "sample_window") if _sampled(name) else ():
        schema = schema.append(pa.field(column, pa.string()))
    return schema


def _no_rows(name: str) -> pd.DataFrame:
    return _schema(name).empty_table().to_pandas(types_mapper=_pandas_type)


def _pandas_type(kind: pa.DataType) -> pd.ArrowDtype | None:
    """Arrow types: a missing whole number stays missing and the others stay whole. Booleans, which are never missing
    here, stay NumPy's: Dask takes no mean of Arrow's within groups."""
    import pandas as pd

    return None if pa.types.is_boolean(kind) else pd.ArrowDtype(kind)
