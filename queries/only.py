"""Which measurements a question is about: what every finding can be asked for, beside its own parameters."""

from __future__ import annotations

from dataclasses import dataclass, fields

import duckdb

from warehouse.errors import UnknownName


@dataclass(frozen=True)
class Only:
    """Which measurements are looked at. None: of conditions each model's base condition, of samples all."""

    condition: str | None = None
    sample_rule: str | None = None
    sample_window: str | None = None

    def check(self, con: duckdb.DuckDBPyConnection) -> None:
        """Raises `UnknownName` for what the lake does not hold; `con`: it, with nothing left out."""
        for name, table in (("condition", "conditions"), ("sample_rule", "sequences"), ("sample_window", "sequences")):
            if (value := getattr(self, name)) is not None:
                known = {v for (v,) in con.execute(f"select distinct {name} from {table}").fetchall() if v is not None}
                if value not in known:
                    raise UnknownName(name, value, known)


ALL = Only()
SHARED = tuple(f.name for f in fields(Only))  # what every finding can be asked for
