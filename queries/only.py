"""Which measurements a question is about: what every finding can be asked for, beside its own parameters."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import duckdb

from memlake.warehouse import schema
from memlake.warehouse.errors import BadInput, UnknownName
from memlake.warehouse.relation import quoted


@dataclass(frozen=True)
class Only:
    """Which measurements are looked at. None: of conditions each model's base condition, of all else all.

    models, families, corpora and domains, each a name or several ("a,b" or a sequence), are what is looked at as though
    the lake held nothing else: of controls, too, only those that are named.
    """

    condition: str | None = None
    sample_rule: str | None = None
    sample_window: str | None = None
    models: tuple[str, ...] | None = None
    families: tuple[str, ...] | None = None
    corpora: tuple[str, ...] | None = None
    domains: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value: Any = getattr(self, field.name)
            if field.name in COLUMNS and value is not None:
                value = value.split(",") if isinstance(value, str) else value
                if not isinstance(value, list | tuple) or not value or not all(isinstance(v, str) for v in value):
                    raise BadInput(f"{field.name} wants names like {EXAMPLES[field.name]!r}, not {value!r}")
                object.__setattr__(self, field.name, tuple(sorted({v.strip() for v in value})))
            elif value is not None and not isinstance(value, str):
                raise BadInput(f"{field.name} wants a text like {EXAMPLES[field.name]!r}, not {value!r}")

    @property
    def selected(self) -> dict[str, tuple[str, ...]]:
        """What is looked at as though there were nothing else: names by the field of `Only`."""
        return {name: names for name in COLUMNS if (names := getattr(self, name)) is not None}

    @property
    def given(self) -> dict[str, str]:
        """What is not left open, as -p takes it."""
        given = {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}
        return {name: value if isinstance(value, str) else ",".join(value) for name, value in given.items()}

    def lookups(self) -> str:
        """The SQL with which it looks for what is named."""
        return " ".join(select for name, select in VALUES.items() if getattr(self, name) is not None)

    def columns(self, con: duckdb.DuckDBPyConnection, table: str) -> dict[str, tuple[str, ...]]:
        """The rows of a stored table that are selected: the values that columns of it may have. A family stands for
        its models, by which files are found."""
        wanted = {COLUMNS[name]: values for name, values in self.selected.items()}
        if "family" in wanted:
            found = con.execute(f"select model from stored.models where {among('family', wanted.pop('family'))}")
            wanted["model"] = tuple(m for (m,) in found.fetchall() if m in wanted.get("model", (m,)))
        if table == "model_corpora":  # it also says who was trained on the corpus in which occurrences are counted
            wanted.pop("corpus", None)
        return {c.name: wanted[c.name] for c in schema.table(table).columns if c.name in wanted}

    def narrow(self, con: duckdb.DuckDBPyConnection) -> None:
        """Let the views `stored.TABLE` of a connection hold only what is selected; they stay as "whole TABLE"."""
        if not self.selected:
            return
        found = con.execute("select view_name from duckdb_views() where schema_name = 'stored'").fetchall()
        selected = {table: self.columns(con, table) for (table,) in found}
        for table, columns in selected.items():
            if columns:
                con.execute(f'alter view stored."{table}" rename to "whole {table}"')
                tests = " and ".join(among(column, values) for column, values in columns.items())
                con.execute(f'create view stored."{table}" as from stored."whole {table}" where {tests}')

    def check(self, con: duckdb.DuckDBPyConnection) -> None:
        """Raises `UnknownName` for what the lake does not hold; `con`: it, narrowed, with what `samples.sql` makes."""
        for name, select in VALUES.items():
            if (value := getattr(self, name)) is None:
                continue
            known = {v for (v,) in con.execute(select).fetchall() if v is not None}
            for v in (value,) if isinstance(value, str) else value:
                if v not in known:
                    raise UnknownName(COLUMNS.get(name, name), v, known)


def among(column: str, names: tuple[str, ...]) -> str:
    return f'"{column}" in ({", ".join(map(quoted, names))})' if names else "false"


# What is selected, and the columns that name it
COLUMNS = {"models": "model", "families": "family", "corpora": "corpus", "domains": "domain"}
EXAMPLES = {
    "condition": "bfloat16-sdpa",
    "sample_rule": "space",
    "sample_window": "32+32",
    "models": "pythia-1b,pythia-1.4b",
    "families": "pythia,olmo",
    "corpora": "pile",
    "domains": "github",
}
VALUES = {
    "condition": "select condition from stored.conditions",
    **{
        name: f"select {name} from samples union select {name} from sequence_samples"
        for name in EXAMPLES
        if "_" in name
    },
    "models": 'select model from stored."whole models"',
    "families": 'select family from stored."whole models"',
    "corpora": 'select corpus from stored."whole sequences" union select corpus from stored."whole domains"',
    "domains": 'select domain from stored."whole sequences" union select domain from stored."whole domains"',
}
ALL = Only()
SHARED = tuple(f.name for f in fields(Only))  # what every finding can be asked for
