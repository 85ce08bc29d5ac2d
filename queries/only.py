"""Which measurements a question is about: what every finding can be asked for, beside its own parameters."""

from __future__ import annotations

from dataclasses import dataclass, fields

import duckdb

from memlake.warehouse.errors import BadInput, UnknownName


@dataclass(frozen=True)
class Only:
    """Which measurements are looked at. None: of conditions each model's base condition, of samples all."""

    condition: str | None = None
    sample_rule: str | None = None
    sample_window: str | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not isinstance(value, str):
                raise BadInput(f"{field.name} wants a text like {EXAMPLES[field.name]!r}, not {value!r}")

    def lookups(self) -> str:
        """The SQL with which `check` looks for what is named."""
        return " ".join(select for name, select in VALUES.items() if getattr(self, name) is not None)

    def check(self, con: duckdb.DuckDBPyConnection) -> None:
        """Raises `UnknownName` for what the lake does not hold; `con`: it, with the tables of `samples.sql`."""
        for name, select in VALUES.items():
            if (value := getattr(self, name)) is not None:
                known = {v for (v,) in con.execute(select).fetchall() if v is not None}
                if value not in known:
                    raise UnknownName(name, value, known)


EXAMPLES = {"condition": "bfloat16-sdpa", "sample_rule": "space", "sample_window": "32+32"}
VALUES = {"condition": "select condition from stored.conditions"} | {
    name: f"select {name} from samples union select {name} from sequence_samples"
    for name in ("sample_rule", "sample_window")
}
ALL = Only()
SHARED = tuple(f.name for f in fields(Only))  # what every finding can be asked for
