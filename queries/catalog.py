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

from memlake.warehouse import schema, shelf
from memlake.warehouse.relation import quoted

from .finding import SHELF, Finding
from .finding import names as findings
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
CALLED = re.compile(r"\b(\w+)\"?(?:\s|--.*|/\*(?s:.*?)\*/)*\(")  # a name with arguments, in quotes too
COMMENT = re.compile(r"^(?:--.*\n)+", re.M)
DEFINITION = re.compile(r"^create or replace (?:view|table|macro) (\w+)", re.M)


@dataclass(frozen=True)
class Definition:
    """One thing that SQL can name, the statement that makes it, and the comment above that."""

    name: str
    sql: str
    doc: str = ""

    @property
    def written(self) -> str:
        """As it is named in a statement, a macro with its parameters: `labelled(measured)`."""
        found = re.match(rf"create or replace macro {self.name}(\(.*?\)) as\b", self.sql, re.S)
        return self.name + (found[1] if found else "")

    @property
    def kind(self) -> str:
        """What it is: 'view', 'table', 'macro', of which the answer is a value, or 'table macro', to select from."""
        if "macro" in self.sql.split(self.name)[0]:
            return "table macro" if self.sql.split(self.written)[1].startswith(" as table") else "macro"
        return "table" if self.sql.startswith("create or replace table") else "view"

    @property
    def about(self) -> str:
        """What the comment says first: what one row or the value is; '' where it is of something else."""
        if not re.search(rf"\b{self.name}\(" if "macro" in self.kind else "^One row is ", self.doc):
            return ""
        first = re.split(r"(?<=[.;])\s|\n\s*\n", self.doc)[0].replace("\n", " ")
        return re.sub(r"^One row is |^(?:\w+\([^)]*\)(?:, )?)+(?:, an? \w+)?: ", "", first).strip(";.") + "."


def definitions(only: Only = ALL) -> Iterator[Definition]:
    """All there are, each after those it uses; of two of one name the second takes the place of the first."""
    for script in SCRIPTS:
        yield from _of_file(HERE / f"{script}.sql")
    for name in sorted(schema.names(), key=lambda n: n != "models"):  # it says which condition is the base
        yield Definition(name, f'create view "{name}" as {_select(name, only)}')
    all_conditions = f"create view matches_all as {_select('matches', only, all_conditions=True)}"
    yield Definition("matches_all", all_conditions, "One row is one row of `matches`, under any condition.")
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
    above = [
        COMMENT.findall(text[:start]) for start in starts
    ]  # of several without one between them: that of the first
    docs = [re.sub(r"^-- ?", "", found[-1], flags=re.M).strip() if found else "" for found in above]
    return tuple(Definition(*of_one) for of_one in zip(DEFINITION.findall(text), parts, docs, strict=True))


def needed(text: str, only: Only = ALL) -> set[str] | None:
    """Names of the stored tables, and of what `definitions` makes of them, that a statement needs: all whose names are
    words of it, of a finding that it calls, or of a definition that it needs. None: all there are, since it asks about
    what there is."""
    if ABOUT_ALL.search(text):
        return None
    uses: dict[str, set[str]] = {name: set() for name in schema.names()}
    made = list(definitions(only))
    for d in made:
        uses.setdefault(d.name, set())
    for d in made:
        uses[d.name] |= _words(d.sql) & uses.keys()
    found: set[str] = set()
    texts = [text, only.lookups(), *(finding.text for finding in called(text))]
    new = set().union(*map(_words, texts)) & uses.keys()
    while new:
        found |= new
        new = set().union(*(uses[name] for name in new)) - found
    return found


def called(text: str) -> list[Finding]:
    """The findings that a statement selects from as tables: `from scaling_law(minimum_sizes := 2)`."""
    names = {name.lower() for name in CALLED.findall(text)}
    return [Finding(name, shelf.text(SHELF, name, ".sql")) for name in findings() if name in names]


def make_findings(con: duckdb.DuckDBPyConnection, text: str) -> None:
    """Make those that a statement calls table macros of a connection that holds what they need."""
    for finding in called(text):
        con.execute("create schema if not exists findings")
        for statement in finding.macros():
            con.execute(statement)


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


def things() -> list[Definition]:
    """What SQL can name in a lake beside the stored tables and the findings and is told of, by kind and name."""
    made = {d.name: d for d in definitions() if d.name not in schema.names() and d.about}
    order = ("view", "table", "table macro", "macro")
    return sorted(made.values(), key=lambda d: (order.index(d.kind), d.name))


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
