"""A lake to ask: the small one, measured by its one model, its files committed without the detour over Dask."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from memlake.tests.lakes import lake as new_lake  # noqa: F401  (a fixture)
from memlake.tests.small import CONDITION, DOMAINS, MODEL, ingested, match_rows
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.publish import commit
from memlake.warehouse.publishing.stage import Staging


def put(lake: Lake, cell: str, pieces) -> None:
    """Commit rows as they are; `pieces` are pairs of table name and rows."""
    folder = lake.staging / cell
    folder.mkdir(parents=True)
    with Staging(folder, cell, "run") as stage:
        for name, rows in pieces:
            stage.write(name, rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows))
    for name in {f.table for f in stage.files}:
        commit(lake, folder, name, {cell: [(folder, f) for f in stage.files if f.table == name]})


def done(cell: str, experiment: str = "some", **settings: object) -> dict[str, object]:
    """The row of `cells` of a unit of work."""
    about = {"version": 1, "rows": 1, "seconds": 0.5, "device": "cpu", "versions": "{}", "outcome": "done"}
    about |= {"finished_at": datetime(2026, 1, 1, tzinfo=UTC)}
    return about | {"cell": cell, "experiment": experiment, "settings": json.dumps(settings)}


def drawn(sample: str, rule: str, window: str) -> dict[str, object]:
    """The row of `cells` that says how a sample was drawn."""
    return done(f"sample {sample}", "sample", sample=sample, rule={"at": rule, "window": window})


def noisy(rows: list[dict]) -> list[dict]:
    return [row | {"condition": "noisy", "memorized": True} for row in rows]


@pytest.fixture(scope="session")
def lake(tmp_path_factory) -> Lake:
    """80 rows of `matches` in two domains, 28 of them memorized, and 40 more under noise; all of one sample."""
    lake = Lake.create(tmp_path_factory.mktemp("queries") / "a lake = 100%")
    put(
        lake,
        "models",
        [("models", [MODEL]), ("conditions", [CONDITION, CONDITION | {"condition": "noisy", "noise": 0.1}])],
    )
    put(lake, "roles", [("model_corpora", [{"model": "m", "corpus": "mine", "role": "trained"}])])
    for domain in DOMAINS:
        put(lake, f"ingest {domain}", ingested(domain))
        put(lake, f"scoring {domain}", [("matches", match_rows(domain))])
    put(lake, "noise", [("matches", noisy(match_rows(DOMAINS[0])))])
    cells = ["noise", *(f"{work} {domain}" for work in ("ingest", "scoring") for domain in DOMAINS)]
    put(lake, "cells", [("cells", [drawn("s", "space", "4+12"), *(done(cell, sample="s") for cell in cells)])])
    return lake
