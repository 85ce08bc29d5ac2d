"""What stands behind the numbers: models, checks, cells, versions of the tables, libraries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

import duckdb
import pyarrow as pa

from memlake.warehouse.show import describe

from .table import Table, table
from .text import count

LIBRARIES = ("memlake", "duckdb", "altair", "vl-convert-python", "jinja2")  # what made the page

CHECKS = """
select table_name as "table", count(*) as judged, count(*) filter (passed) as passed,
    count(*) filter (not passed) as failed, count(distinct cell) as cells,
    count(distinct cell) filter (quarantined is not null) as quarantined_cells
from checks group by table_name order by table_name
"""
FAILED = """
select table_name as "table", "partition", expectation, observed, cell, quarantined
from checks where not passed order by all
"""
MODELS = """
select family, architecture, model, miniature, n_params, nominal_params, n_layers, n_heads, hidden_size,
    vocab_size, tokenizer, base_condition, corpora, weights_digest
from models left join (
    select model, string_agg(corpus || ': ' || role, '; ' order by corpus) as corpora from model_corpora group by model
) using (model)
order by family, coalesce(nominal_params, n_params), model
"""
LAST = "(from cells qualify row_number() over (partition by cell order by finished_at desc) = 1)"
REASONS = f"select experiment, cell, outcome, reason from {LAST} where reason is not null order by all"


@dataclass(frozen=True)
class Provenance:
    """One of these tables. nothing: stands in the place of a table without rows; unpublished: what was not published,
    under the line `unpublished_are`, or None; said: what it says in a sentence."""

    anchor: str
    title: str
    rows: Table | None
    nothing: str = ""
    unpublished: Table | None = None
    unpublished_are: str = ""
    said: tuple[str, ...] = ()
    template: str = "provenance.html"


def sections(
    con: duckdb.DuckDBPyConnection, versions: Mapping[str, int], n_rows: Mapping[str, int]
) -> list[Provenance]:
    """All of it. versions, n_rows: version and published rows of each table that the page is drawn from."""
    failed, reasons = con.execute(FAILED).to_arrow_table(), con.execute(REASONS).to_arrow_table()
    checks = con.execute(CHECKS).to_arrow_table()
    tables = {"table": list(versions), "version": list(versions.values()), "rows": [n_rows[name] for name in versions]}
    return [
        Provenance("models", "Models", _some(con.execute(MODELS).to_arrow_table()), "No model is registered yet."),
        Provenance(
            "checks",
            "What was checked before it was published",
            _some(checks),
            "Nothing was checked yet.",
            _some(failed),
            count(failed.num_rows, "expectation") + " failed: no query sees those rows",
            _checked(checks),
        ),
        Provenance(
            "cells",
            "Units of work by experiment and outcome",
            _some(describe.status(con)),
            "No work was done yet.",
            _some(reasons),
            count(reasons.num_rows, "cell") + " not published, and why",
        ),
        Provenance("tables", "The lake's tables and their versions", table(pa.table(tables))),
        Provenance("libraries", "Library versions", table(_libraries(con))),
    ]


def _checked(checks: pa.Table) -> tuple[str, ...]:
    """Whether what was checked was found right. checks: the rows of CHECKS."""
    judged, failed, held = (sum(checks[c].to_pylist()) for c in ("judged", "failed", "quarantined_cells"))
    if not judged:
        return ()
    if not failed:
        return (f"All {count(judged, 'expectation')} about what is published here hold.",)
    return (
        f"{count(failed, 'expectation')} of {judged:,} failed; rows of {count(held, 'cell')} are in quarantine, where "
        "no query sees them.",
    )


def _some(rows: pa.Table) -> Table | None:
    return table(rows) if rows.num_rows else None


def _libraries(con: duckdb.DuckDBPyConnection) -> pa.Table:
    """Versions that cells ran with, and those that drew the page."""
    found: dict[str, set[str]] = {}
    for (text,) in con.execute("select distinct versions from cells").fetchall():
        for name, number in json.loads(text).items():
            found.setdefault(name, set()).add(str(number))
    rows = [{"library": n, "used for": "measuring", "versions": ", ".join(sorted(found[n]))} for n in sorted(found)]
    rows += [{"library": name, "used for": "this page", "versions": version(name)} for name in LIBRARIES]
    return pa.Table.from_pylist(rows)
