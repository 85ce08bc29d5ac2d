"""The answer to a statement, computed once for one state of the tables that it needs (see `kept`).

It is kept under all that it was computed from: the statement, the definitions and the files of the tables that it
needs, and the versions of memlake and of DuckDB. No two files have one name, and what is in a file never changes: so
the files tell the state of a table, better than its version's number, which a lake that was made anew or restored has
again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import duckdb
import pyarrow as pa

from memlake import __version__
from memlake.warehouse import schema
from memlake.warehouse.identity import tagged
from memlake.warehouse.lake import Lake
from memlake.warehouse.relation import File, relation

from .catalog import definitions, needed
from .kept import Kept
from .only import Only

# What answers otherwise another time
UNSTABLE = re.compile(
    r"\b(current_\w+|get_current_\w+|local_?time\w*|transaction_timestamp|now|today|tablesample|using\s+sample"
    r"|\w*random\w*|\w*uuid\w*|txid_\w+|pg_\w+|nextval|currval|setseed|sleep_ms|in_search_path|write_log)\b"
    r"|\b(age|ago|error|getenv|getvariable|stats|user)\s*\(",
    re.I,
)


def answer(
    lake: Lake,
    files: Mapping[str, Sequence[File]],
    text: str,
    only: Only,
    compute: Callable[[], pa.Table],
    fresh: bool = False,
) -> pa.Table:
    """What `compute` gives: the answer to the SELECT `text` about `only` over a snapshot that has the files of all
    tables that it needs. Where that answer is kept it is not computed, unless `fresh`."""
    key = origin(lake, files, text, only)
    if key is None:
        return compute()
    kept = Kept(lake, "answers")
    rows = None if fresh else kept.get(key)
    if rows is None:
        rows = compute()
        kept.put(key, rows)
    return rows


def origin(lake: Lake, files: Mapping[str, Sequence[File]], text: str, only: Only) -> str | None:
    """A hash of all that an answer is computed from; None where that cannot be told: it asks about all there is, or by
    a function that answers otherwise another time."""
    names = needed(text, only)
    if names is None:
        return None
    made = [d.sql for d in definitions(only) if d.name in names]
    if any(UNSTABLE.search(re.sub("--.*", "", sql)) for sql in (text, *made)):
        return None
    tables = {
        name: [relation(name, ()), *([lake.relative(f.path), f.partition, f.rows, f.size] for f in files[name])]
        for name in schema.names()
        if name in names
    }
    said = [only.lookups(), *([only.selected] if only.selected else [])]
    return tagged("answer", [__version__, duckdb.__version__, *said, text, made, tables])
