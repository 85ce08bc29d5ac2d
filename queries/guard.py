"""Let strangers write SQL: they can read what is published in the lake, and do nothing else.

Three walls, since DuckDB has no read-only mode that holds on views over files. (1) Only one SELECT, by its parsed type:
DuckDB would let COPY overwrite any file it may read, and EXPLAIN ANALYZE runs what it explains. (2) In it only table
functions that compute: `enable_logging`, to take one, is a table function that writes files, and `query` hides another
statement in a text. (3) DuckDB itself may open no file but those of the snapshot.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import gettempdir
from uuid import uuid4

import duckdb
import pyarrow as pa

from memlake.warehouse.connections import damage, interruptible
from memlake.warehouse.errors import BadInput, one_line
from memlake.warehouse.paths import utf8
from memlake.warehouse.relation import as_pattern, quoted

FUNCTIONS = {"generate_series", "json_each", "json_tree", "pragma_table_info", "range", "repeat", "unnest"}
# Our own, of `views/`: a SELECT over views. A name they are given is one that could as well stand after FROM.
FUNCTIONS |= {
    "alike_texts",
    "byte_sums_at",
    "byte_sums_over",
    "control_sums_at",
    "control_sums_over",
    "depth_means_above",
    "depth_means_at",
    "frequency_means_at",
    "frequency_means_of",
    "guess_means_above",
    "guess_means_at",
    "labelled",
    "layer_means_above",
    "layer_means_at",
    "lines_of",
    "met_patterns",
    "on_lines",
    "output_means_at",
    "output_means_within",
    "pair_sides",
    "sharing_sums_at",
    "sharing_sums_over",
    "split_halves",
    "units_of",
    "with_text",
}


def lock(con: duckdb.DuckDBPyConnection, files: Iterable[str]) -> None:
    """From now on the connection opens these files only, reads no Python variables, and keeps these settings."""
    # DuckDB may read where it spills, by default `.tmp` of the working folder: it gets a folder of its own, which it
    # makes when it needs it and removes when it is closed.
    con.execute(f"set temp_directory = {quoted(str(Path(gettempdir()) / f'memlake-{uuid4().hex}'))}")
    con.execute("set python_enable_replacements = false")
    allowed = dict.fromkeys(path for file in files for path in (file, as_pattern(file)))
    con.execute(f"set allowed_paths = [{', '.join(map(quoted, allowed))}]")
    con.execute("set enable_external_access = false")
    con.execute("set lock_configuration = true")


def ask(con: duckdb.DuckDBPyConnection, text: str) -> pa.Table:
    """The answer to one SELECT on a locked connection; raises `BadInput`, one line, for anything else and for what
    DuckDB refuses."""
    try:
        with interruptible():
            return con.execute(admit(con, text)).to_arrow_table()
    except duckdb.Error as e:
        raise BadInput(damage(e) or one_line(e)) from e
    except KeyboardInterrupt:
        con.interrupt()  # else DuckDB works on, and whoever lets the connection go waits for it
        raise


def admit(con: duckdb.DuckDBPyConnection, text: str) -> duckdb.Statement:
    """The one SELECT in the text; raises `BadInput`. Parsed on the locked connection: parsing IMPORT DATABASE reads."""
    statements = con.extract_statements(utf8(text))
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        found = ", ".join(s.type.name for s in statements) or "nothing"
        raise BadInput(f"only one SELECT is admitted, this is {found}")
    # As a literal: duckdb imports pandas, half a second, to bind a parameter
    trees = con.execute(f"select json_serialize_sql({quoted(statements[0].query)})").fetchall()
    refused = {name for (tree,) in trees for name in _table_functions(json.loads(tree))} - FUNCTIONS
    if refused:
        raise BadInput(
            f"{', '.join(sorted(refused))} is not admitted: select from the lake's tables (memlake warehouse tables)"
        )
    return statements[0]


def _table_functions(node: object) -> Iterator[str]:
    """Names of the table functions in DuckDB's JSON of a statement."""
    if isinstance(node, dict):
        if node.get("error"):
            raise BadInput(f"only one SELECT is admitted: {node['error_message']}")
        if node.get("type") == "TABLE_FUNCTION":
            yield node["function"]["function_name"].lower()
        for child in node.values():
            yield from _table_functions(child)
    elif isinstance(node, list):
        for child in node:
            yield from _table_functions(child)
