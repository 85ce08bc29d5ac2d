"""The findings' rows, as the page and its figures ask for them."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from memlake.queries.finding import find


class Answers(dict[str, pa.Table]):
    """The findings' rows by name, each asked once."""

    def __init__(self, con: duckdb.DuckDBPyConnection):
        self._con = con

    def __missing__(self, finding: str) -> pa.Table:
        self[finding] = self._con.execute(find(finding).text).to_arrow_table()
        return self[finding]
