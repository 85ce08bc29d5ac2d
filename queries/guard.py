"""Let strangers write SQL: they can read what is published in the lake, and do nothing else.

Three walls, since DuckDB has no read-only mode that holds on views over files. (1) Only one SELECT, by its parsed type:
DuckDB would let COPY overwrite any file it may read, and EXPLAIN ANALYZE runs what it explains. What looks like more
and is one SELECT is taken apart: EXPLAIN of a SELECT that is admitted on its own, and a PIVOT whose columns DuckDB
looks up first. (2) In it only table functions that compute: `enable_logging`, to take one, is a table function that
writes files, and `query` hides another statement in a text. (3) DuckDB itself may open no file but those of the
snapshot.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import duckdb
import pyarrow as pa

from memlake.warehouse.connections import damage, interruptible
from memlake.warehouse.errors import BadInput, UnknownName, one_line
from memlake.warehouse.paths import utf8
from memlake.warehouse.relation import as_pattern, quoted
from memlake.warehouse.scratch import limit

from .finding import names as findings

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


BATCH = 10_000  # rows that are handed on together
EXPLAIN = re.compile(
    r"(?P<explain>explain(?:\s+analyze\b|\s*\(\s*(?:analyze|format\s+\w+)(?:\s*,\s*(?:analyze|format\s+\w+))*\s*\))?)"
    r"(?P<explained>.*)",
    re.I | re.S,
)
COMMENTS = re.compile(r"(?:\s+|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.S)
WORDS = re.compile(r"\w+")


def lock(con: duckdb.DuckDBPyConnection, files: Iterable[str]) -> None:
    """From now on the connection opens these files only, reads no Python variables, and keeps its settings."""
    # DuckDB may read where it spills, by default `.tmp` of the working folder: it gets a folder of its own
    if con.execute("select current_setting('temp_directory')").fetchall() == [(".tmp",)]:
        limit(con)
    con.execute("set python_enable_replacements = false")
    allowed = dict.fromkeys(path for file in files for path in (file, as_pattern(file)))
    con.execute(f"set allowed_paths = [{', '.join(map(quoted, allowed))}]")
    con.execute("set enable_external_access = false")
    con.execute("set lock_configuration = true")


def ask(con: duckdb.DuckDBPyConnection, text: str) -> pa.Table:
    """The answer to one SELECT on a locked connection; raises `BadInput`, one line, for anything else and for what
    DuckDB refuses. Where DuckDB shows the place in the text, that is a note of the error."""
    try:
        with told(), interruptible():
            return _execute(con, text).to_arrow_table()
    except KeyboardInterrupt:
        con.interrupt()  # else DuckDB works on, and whoever lets the connection go waits for it
        raise


def stream(con: duckdb.DuckDBPyConnection, text: str) -> pa.RecordBatchReader:
    """The same, a batch of rows at a time, until the connection is asked again. To read on raises errors of Arrow, or
    of the DuckDB that reads: `told` tells them."""
    with told():
        return _execute(con, text).to_arrow_reader(BATCH)


def _execute(con: duckdb.DuckDBPyConnection, text: str) -> duckdb.DuckDBPyConnection:
    for statement in admit(con, text):
        con.execute(statement)
    return con


@contextmanager
def told() -> Iterator[None]:
    """What DuckDB refuses is a `BadInput`, also where Arrow or another DuckDB has handed its error on."""
    try:
        yield
    except (duckdb.Error, OSError, pa.ArrowException) as e:
        error = _original(e)
        if error is None:
            raise
        refused = BadInput(damage(error) or _refusal(error))
        if place := _place(error):
            refused.add_note(place)
        raise refused from error


def _original(error: Exception) -> duckdb.Error | None:
    """The error as DuckDB raised it; None where it was not DuckDB."""
    if isinstance(error, duckdb.Error) and "get_next failed()" not in str(error):
        return error
    if isinstance(error, OSError) and error.errno is not None:
        return None
    text = re.sub(r"^.*?get_next failed\(\): ", "", str(error), flags=re.S)
    text = re.sub(r"^(?:\w+: )*(?=[A-Z][\w ]* Error: )|^(?:IOError: )+", "", text)
    kind = re.match(r"([A-Z][\w ]*) Error: ", text)
    return _KINDS.get(kind[1], duckdb.InvalidInputException)(text) if kind else duckdb.Error(text)


_KINDS = {"IO": duckdb.IOException, "Out of Memory": duckdb.OutOfMemoryException}


def _refusal(error: duckdb.Error) -> str:
    """What DuckDB has found, in one line; of memory what can be done here."""
    if isinstance(error, duckdb.OutOfMemoryException):
        found = one_line(error).split(" Database is launched")[0].split(" Possible solutions")[0]
        found = re.sub(r" This limit was set by the 'max_temp_directory_size' setting.*", "", found)
        return f"{found}: ask for less at a time, or give it more (--memory)"
    return without_brackets(error) or one_line(error)


def without_brackets(error: duckdb.Error) -> str | None:
    """The line for a finding that was named as though it were a table; None for another error."""
    missing = re.search(r"Table with name (\w+) does not exist", str(error))
    if missing and missing[1].lower() in findings():
        return f"{missing[1]} is a finding, which takes brackets: from {missing[1].lower()}()"
    return None


def _place(error: duckdb.Error) -> str | None:
    """The line of the statement in which DuckDB has found something, and the caret beneath it."""
    found = re.search(r"\n\n(LINE \d+: .*)", str(error), re.S)
    return found and found[1]


def admit(con: duckdb.DuckDBPyConnection, text: str) -> list[duckdb.Statement]:
    """The one SELECT in the text, as the statements to be executed, of which the last answers; raises `BadInput`.
    Parsed on the locked connection: parsing IMPORT DATABASE reads."""
    statements = con.extract_statements(utf8(text))
    kinds = [s.type for s in statements]
    if kinds == [duckdb.StatementType.EXPLAIN]:
        return [_explanation(con, text)]
    if len(kinds) > 1 and kinds == [duckdb.StatementType.CREATE] * (len(kinds) - 1) + [duckdb.StatementType.SELECT]:
        return _pivot(con, text, statements)
    if kinds != [duckdb.StatementType.SELECT]:
        found = ", ".join(kind.name for kind in kinds) or "nothing"
        raise BadInput(f"only one SELECT is admitted, this is {found}")
    # As a literal: duckdb imports pandas, half a second, to bind a parameter
    trees = con.execute(f"select json_serialize_sql({quoted(statements[0].query)})").fetchall()
    _refuse({name for (tree,) in trees for name in _table_functions(json.loads(tree))} - FUNCTIONS - {*findings()}, con)
    return statements


def _refuse(names: set[str], con: duckdb.DuckDBPyConnection) -> None:
    """Raises `BadInput` if there are any."""
    if not names:
        return
    if unknown := names - _known(con):
        near = str(UnknownName("finding or table function", min(unknown), {*FUNCTIONS, *findings()}))
        raise BadInput(f"{near.partition(' (there are')[0]} (memlake query list tells the findings)")
    raise BadInput(
        f"{', '.join(sorted(names))} is not admitted: select from the lake's tables (memlake warehouse tables)"
    )


def _explanation(con: duckdb.DuckDBPyConnection, text: str) -> duckdb.Statement:
    """EXPLAIN, or EXPLAIN ANALYZE, of a SELECT that is admitted without it: DuckDB has parsed it alone."""
    found = EXPLAIN.match(text, COMMENTS.match(text).end())  # type: ignore[union-attr]
    if not found:
        raise BadInput("of EXPLAIN only `explain select ...` and `explain analyze select ...` are admitted")
    try:
        inner = admit(con, found["explained"])
    except duckdb.ParserException as e:  # it would show another text
        raise BadInput(one_line(e)) from e
    if len(inner) > 1 or inner[0].type != duckdb.StatementType.SELECT:
        raise BadInput("only one SELECT is explained, no other EXPLAIN and no PIVOT that looks up its columns")
    (statement,) = con.extract_statements(f"{found['explain']} {inner[0].query}")
    return statement


def _pivot(con: duckdb.DuckDBPyConnection, text: str, statements: list[duckdb.Statement]) -> list[duckdb.Statement]:
    """A PIVOT without a list of values: DuckDB makes of it types, and the SELECT. These have neither text nor JSON: so
    no word of the whole text, in whatever quotes, may be a CREATE, or a table function that is not admitted."""
    words = {word.lower() for word in WORDS.findall(text)}
    if "create" in words or not any(word.startswith("pivot") for word in words) or re.search(r"u&[\'\"]", text, re.I):
        raise BadInput("only one SELECT is admitted, this is CREATE, SELECT")
    _refuse((words & _known(con)) - FUNCTIONS - {*findings()}, con)
    return statements


def _known(con: duckdb.DuckDBPyConnection) -> set[str]:
    """The table functions that there are."""
    found = con.execute("select distinct function_name from duckdb_functions() where function_type like 'table%'")
    return {name for (name,) in found.fetchall()}


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
