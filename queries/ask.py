"""Ask a lake: SQL over its tables, and the findings by name.

`OpenLake` is what `memlake.open()` gives a notebook; `connect` is the DuckDB connection beneath it.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from warehouse import table as tables
from warehouse.errors import UnknownName
from warehouse.lake import File, Lake

from .finding import find

if TYPE_CHECKING:
    import dask.dataframe as dd
    import ibis
    import pandas as pd

HERE = Path(__file__).parent
BASE_ONLY = "where (model, condition) in (select (model, base_condition) from stored.models)"


class OpenLake:
    """A lake as it was when it was opened: what is published later shows when it is opened again.

    >>> lake = memlake.open("lake")
    >>> lake.query("memorization_rate").filter(ibis._.role == "trained").to_pandas()
    """

    def __init__(self, path: str | Path):
        """Opens the lake at `path`; raises `NotALake`, `DamagedLake`."""
        lake = Lake.open(path)
        self._snapshot = snapshot(lake)
        self.connection = connect(lake, self._snapshot)

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
        """The answer of the finding `name`; raises `UnknownName`, `BadInput`."""
        return self.sql(find(name).sql(**parameters))

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
        files = self._snapshot[stored]
        if not files:
            return dd.from_pandas(_no_rows(stored), npartitions=1)
        return dd.from_map(_frame, files, name=stored, base=base, meta=_no_rows(stored), enforce_metadata=True)


def snapshot(lake: Lake) -> dict[str, list[File]]:
    """The published files of every table, as of now."""
    return {name: lake.snapshot(name) for name in tables.names()}


def connect(lake: Lake, files: dict[str, list[File]]) -> duckdb.DuckDBPyConnection:
    """A connection with `stored.TABLE` over these files, and what `prepare` adds; raises `DamagedLake`."""
    return prepare(lake.connect(snapshot=files))


def prepare(con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Add to a connection with a schema `stored` what findings are written in: one view for each stored table, those of
    `views.sql`, and the macros of `macros.sql`.

    Where a table has conditions its view shows each model's base condition (no noise, its default number format), so
    that a rate is right however many other conditions the lake holds."""
    for name in tables.names():
        con.execute(f'create view "{name}" as from stored."{name}" {BASE_ONLY if _base_only(name) else ""}')
    con.execute((HERE / "macros.sql").read_text(encoding="utf-8"))
    con.execute((HERE / "views.sql").read_text(encoding="utf-8"))
    return con


def views(con: duckdb.DuckDBPyConnection) -> list[str]:
    """The names that SQL can select from."""
    found = con.execute("select table_name from information_schema.tables where table_schema = 'main' order by 1")
    return [name for (name,) in found.fetchall()]


def _base_only(name: str) -> bool:
    """Does the view of this stored table show the base condition only? Not of a table that is about noise."""
    return name != "layer_similarity" and {"model", "condition"} <= {c.name for c in tables.table(name).columns}


def _frame(file: File, name: str, base: dict[str, str] | None) -> pd.DataFrame:
    import pyarrow.parquet as pq

    schema = tables.table(name).schema
    rows = pq.ParquetFile(file.path).read()
    for key, value in file.partition.items():
        rows = rows.append_column(key, pa.array([value] * len(rows), pa.string()))
    for field in schema:
        if field.name not in rows.schema.names:  # declared after the file was written
            rows = rows.append_column(field, pa.nulls(len(rows), field.type))
    frame = rows.select(schema.names).cast(schema).to_pandas(types_mapper=_pandas_type)
    if base is None:
        return frame
    return frame[frame["condition"] == base[file.partition["model"]]].reset_index(drop=True)


def _no_rows(name: str) -> pd.DataFrame:
    return tables.table(name).schema.empty_table().to_pandas(types_mapper=_pandas_type)


def _pandas_type(kind: pa.DataType) -> pd.ArrowDtype | None:
    """Arrow types: a missing whole number stays missing and the others stay whole. Booleans, which are never missing
    here, stay NumPy's: Dask takes no mean of Arrow's within groups."""
    import pandas as pd

    return None if pa.types.is_boolean(kind) else pd.ArrowDtype(kind)
