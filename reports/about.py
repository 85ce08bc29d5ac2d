"""What stands behind the numbers: versions of the tables, checks, cells, models, libraries. Each is HTML."""

from __future__ import annotations

import json
from importlib.metadata import version

import duckdb
import pyarrow as pa

from memlake.warehouse.show import describe as look

from . import html

LIBRARIES = ("memlake", "duckdb", "altair", "vl-convert-python")  # what made the page

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


def tables(files: dict[str, int], rows: dict[str, int]) -> str:
    """Version and published rows of each table that the page was drawn from."""
    return html.table(
        pa.table({"table": list(files), "version": list(files.values()), "rows": [rows[name] for name in files]})
    )


def checks(con: duckdb.DuckDBPyConnection) -> str:
    """Expectations judged before rows were published, by table; those that failed, with where their rows lie."""
    judged = con.execute(CHECKS).to_arrow_table()
    if not judged.num_rows:
        return "<p class=empty>Nothing was checked yet.</p>"
    failed = con.execute(FAILED).to_arrow_table()
    found = html.count(failed.num_rows, "expectation") + " failed: no query sees those rows"
    return html.table(judged) + (html.fold(found, html.table(failed)) if failed.num_rows else "")


def cells(con: duckdb.DuckDBPyConnection) -> str:
    """Units of work by experiment and outcome of their last attempt, and why some were not published."""
    status = look.status(con)
    if not status.num_rows:
        return "<p class=empty>No work was done yet.</p>"
    reasons = con.execute(REASONS).to_arrow_table()
    told = html.fold(html.count(reasons.num_rows, "cell") + " not published, and why", html.table(reasons))
    return html.table(status) + (told if reasons.num_rows else "")


def models(con: duckdb.DuckDBPyConnection) -> str:
    found = con.execute(MODELS).to_arrow_table()
    return html.table(found) if found.num_rows else "<p class=empty>No model is registered yet.</p>"


def libraries(con: duckdb.DuckDBPyConnection) -> str:
    """Versions that cells ran with, and those that drew the page."""
    found: dict[str, set[str]] = {}
    for (text,) in con.execute("select distinct versions from cells").fetchall():
        for name, number in json.loads(text).items():
            found.setdefault(name, set()).add(str(number))
    rows = [{"library": n, "used for": "measuring", "versions": ", ".join(sorted(found[n]))} for n in sorted(found)]
    rows += [{"library": name, "used for": "this page", "versions": version(name)} for name in LIBRARIES]
    return html.table(pa.Table.from_pylist(rows))
