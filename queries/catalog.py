"""What SQL can name in a lake beside the stored tables: views, tables and macros, each with what it is made of.

A statement that names few of them needs few: files of a table that nothing names are not looked for (`needed`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import duckdb

from memlake.warehouse import schema
from memlake.warehouse.relation import quoted

from .only import ALL, Only

HERE = Path(__file__).parent
BASE_ONLY = "semi join (select model, base_condition as condition from models) base using (model, condition)"
# Each file uses some before it; the views of stored tables come after the first two
SCRIPTS = ("macros", "samples")
VIEWS = ("models", "sequences", "matches", "sums", "compared", "noise", "groups", "layers", "heads", "frequencies")
OF_SAMPLE = ("sample_rule", "sample_window")  # what the view of a table about sequences says beside its columns
# Statements about what there is, and not about some of it
ABOUT_ALL = re.compile(
    r"\b(information_schema|sqlite_\w+|pg_\w+|duckdb_\w+|pragma_\w+|show|describe|summarize)\b", re.I
)
DEFINITION = re.compile(r"^create or replace (?:view|table|macro) (\w+)", re.M)


@dataclass(frozen=True)
class Definition:
    """One thing that SQL can name, and the statement that makes it."""

    name: str
    sql: str


def definitions(only: Only = ALL) -> Iterator[Definition]:
    """All there are, each after those it uses; of two of one name the second takes the place of the first."""
    for script in SCRIPTS:
        yield from _of_file(HERE / f"{script}.sql")
    for name in sorted(schema.names(), key=lambda n: n != "models"):  # it says which condition is the base
        yield Definition(name, f'create view "{name}" as {_select(name, only)}')
    yield Definition("matches_all", f"create view matches_all as {_select('matches', only, all_conditions=True)}")
    for script in VIEWS:
        yield from _of_file(HERE / "views" / f"{script}.sql")


def macros() -> str:
    """The script that makes the statistics which the findings share, on any connection."""
    return (HERE / "macros.sql").read_text(encoding="utf-8")


@cache
def _of_file(path: Path) -> tuple[Definition, ...]:
    text = path.read_text(encoding="utf-8")
    starts = [found.start() for found in DEFINITION.finditer(text)]
    parts = [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
    return tuple(Definition(name, part) for name, part in zip(DEFINITION.findall(text), parts, strict=True))


def needed(text: str, only: Only = ALL) -> set[str] | None:
    """Names of the stored tables, and of what `definitions` makes of them, that a statement needs: all whose names are
    words of it, or of a definition that it needs. None: all there are, since it asks about what there is."""
    if ABOUT_ALL.search(text):
        return None
    uses: dict[str, set[str]] = {name: set() for name in schema.names()}
    made = list(definitions(only))
    for d in made:
        uses.setdefault(d.name, set())
    for d in made:
        uses[d.name] |= _words(d.sql) & uses.keys()
    found: set[str] = set()
    new = set(_words(text) | _words(only.lookups())) & uses.keys()
    while new:
        found |= new
        new = set().union(*(uses[name] for name in new)) - found
    return found


@cache
def _words(text: str) -> frozenset[str]:
    """The words outside of comments, or of what looks like one."""
    return frozenset(re.findall(r"\w+", re.sub("--.*", "", text).lower()))


def prepare(
    con: duckdb.DuckDBPyConnection, only: Only = ALL, names: Collection[str] | None = None
) -> duckdb.DuckDBPyConnection:
    """Add to a connection with a schema `stored` what findings are written in: one view for each stored table, the
    views of `views/`, of which `domains` replaces one of these, the tables of `samples.sql`, and the macros of
    `macros.sql`; or those of these names. Whether the lake holds what `only` names, `only.check` tells.

    Where a table has conditions its view shows each model's base condition (no noise, its default number format), so
    that a rate is right however many other conditions the lake holds; or the one condition that `only` names. What is
    of sequences says of which sample (sample_rule, sample_window), so that nothing is added up over several."""
    only.narrow(con)
    wanted = [d.sql for d in definitions(only) if names is None or d.name in names]
    con.execute(";\n".join(wanted))
    return con


def _select(name: str, only: Only, all_conditions: bool = False) -> str:
    """What the view of a stored table shows."""
    if name == "models" and only.condition:
        return f"select * replace ({quoted(only.condition)} as base_condition) from stored.models"
    shown, tests = f'from stored."{name}" t', []
    if base_only(name) and not all_conditions:
        shown = f'from (from stored."{name}" {BASE_ONLY}) t'
    if keys := sample_keys(name):
        of_row = {c: f"coalesce({', '.join(f'of_{key}.{c}' for key in keys)})" for c in OF_SAMPLE}
        shown = f"select t.*, {', '.join(f'{value} as {c}' for c, value in of_row.items())} {shown}"
        for key, table in keys.items():
            shown += f" left join {table} of_{key} on of_{key}.{key} = t.{key}"
        tests += [f"{of_row[c]} = {quoted(getattr(only, c))}" for c in OF_SAMPLE if getattr(only, c)]
    return f"{shown} where {' and '.join(tests) or 'true'}"


def views(con: duckdb.DuckDBPyConnection) -> list[str]:
    """The names that SQL can select from."""
    found = con.execute(
        "select table_name from information_schema.tables"
        " where table_schema = 'main' and table_catalog = current_catalog() order by 1"
    )
    return [name for (name,) in found.fetchall()]


def table_macros(con: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """What SQL can select from by a name with arguments, as it is written: {"labelled": "labelled(measured)"}."""
    found = con.execute(
        "select function_name, parameters from duckdb_functions()"
        " where function_type = 'table_macro' and not internal order by 1"
    )
    return {name: f"{name}({', '.join(parameters)})" for name, parameters in found.fetchall()}


def base_only(name: str) -> bool:
    """Does the view of this stored table show the base condition only? Not of a table that is about noise."""
    return name != "layer_similarity" and {"model", "condition"} <= _columns(name)


def sample_keys(name: str) -> dict[str, str]:
    """Of a stored table of which each row is of one sample the columns that tell which, the first that does, and the
    tables of `samples.sql` that know."""
    columns = _columns(name)
    if name != "sequences" and not {"cell", "model", "condition", "corpus"} <= columns:
        return {}
    return {"cell": "cell_samples"} | ({"sequence_id": "sequence_samples"} if "sequence_id" in columns else {})


def _columns(name: str) -> set[str]:
    return {c.name for c in schema.table(name).columns}
