"""Made-up rows for findings, without a lake: text tables in TOML, loaded with the true types of the lake's tables."""

from __future__ import annotations

import math
import tomllib
from fractions import Fraction
from pathlib import Path

import duckdb
import numpy as np

from memlake.queries.catalog import prepare
from memlake.queries.only import ALL, Only
from memlake.warehouse import schema

from .conftest import done, drawn

HERE = Path(__file__).parent


def cases(finding: str) -> list[dict]:
    """The cases of `tests/queries/FINDING.toml`: about, given, expect, and parameters if it sets any."""
    return tomllib.loads((HERE / f"{finding}.toml").read_text(encoding="utf-8"))["case"]


def rows(text: str) -> list[dict[str, str | None]]:
    """A text table, columns apart by white space, first line the names; `NULL` is None. A space
    within a value is written `_`."""
    head, *lines = [line.split() for line in text.strip().splitlines()]
    return [dict(zip(head, (None if v == "NULL" else v for v in line), strict=True)) for line in lines]


def filled(given: dict[str, str | list[dict]]) -> dict[str, list[dict]]:
    """Text tables as rows. `samples` (cell, sample_rule, sample_window) stands for the rows of `cells` that say so; a
    row of no known cell that tells its lengths is of a sample of that window, by a rule that is not known."""
    read = {name: rows(content) if isinstance(content, str) else list(content) for name, content in given.items()}
    samples = read.pop("samples", [])
    known = {row["cell"] for row in [*read.get("cells", ()), *samples]}
    for name in {"matches", "sequences"} & set(read):
        for i, row in enumerate(read[name]):
            if row.get("prefix_tokens") and row.get("n_tokens") and row.get("cell") not in known:
                window = f"{row['prefix_tokens']}+{row['n_tokens']}"
                read[name][i] = row | {"cell": window}
                samples.append({"cell": window, "sample_rule": None, "sample_window": window})
    for of in {of["cell"]: of for of in samples}.values():
        own = [drawn(of["cell"], of["sample_rule"], of["sample_window"]), done(of["cell"], sample=of["cell"])]
        read["cells"] = [*read.get("cells", ()), *own]
    return read


def database(given: dict[str, str | list[dict]], only: Only = ALL) -> duckdb.DuckDBPyConnection:
    """What `queries.catalog.prepare` gives for a lake of these rows: columns that are not given are NULL."""
    given = filled(given)
    unknown = set(given) - set(schema.names())
    assert not unknown, unknown
    con = duckdb.connect()
    con.execute("create schema stored")
    for name in schema.names():
        columns = schema.table(name).columns
        typed = ", ".join(f'"{c.name}" {c.sql_type}' for c in columns)
        con.execute(f"create table stored.{name} ({typed})")
        for row in given.get(name, []):
            keys, marks = ", ".join(f'"{k}"' for k in row), ", ".join("?" * len(row))
            con.execute(f"insert into stored.{name} ({keys}) values ({marks})", list(row.values()))
    return prepare(con, only)


def same(got: object, expected: str | None) -> bool:
    """Is a value what the table of expected rows says? Numbers may stand as fractions, and agree within 1e-5."""
    if got is None or expected is None:
        return got is None and expected is None
    if isinstance(got, bool):
        return str(got).lower() == expected
    if isinstance(got, int):
        return got == int(expected)
    if isinstance(got, float):
        return math.isclose(got, float(Fraction(expected)), rel_tol=1e-5, abs_tol=1e-5)
    return str(got).replace(" ", "_") == expected


def satterthwaite(n) -> float:
    """Degrees of freedom of the sum of squared residuals e - w sum(e), e independent with deviations n, by matrices."""
    n = np.asarray(n, float)[np.asarray(n) > 0]
    residual = np.eye(len(n)) - np.outer(n / n.sum(), np.ones(len(n)))
    spread = residual @ np.diag(n**2) @ residual.T
    return np.trace(spread) ** 2 / np.trace(spread @ spread)
