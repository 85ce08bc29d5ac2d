"""What docs/clients.md says to write in other programs gives the rate, of a lake on which it is easily got wrong."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from memlake.queries.database import rebuild
from memlake.tests.queries.conftest import drawn, put
from memlake.tests.small import CONDITION, DOMAINS, MODEL, N, ingested, match_rows
from memlake.warehouse.lake import Lake

PAGE = (Path(__file__).parents[1] / "docs" / "clients.md").read_text(encoding="utf-8")
PIECES = dict(re.findall(r"^## ([\w ]+)\n.*?```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where a folder `lake` has a model that trained on one corpus and not on another, also under noise, and files
    that were forgotten."""
    folder = tmp_path_factory.mktemp("clients")
    lake = Lake.create(folder / "lake")
    put(lake, "models", [("models", [MODEL, MODEL | {"model": "x"}])])
    put(lake, "conditions", [("conditions", [CONDITION, CONDITION | {"condition": "noisy", "noise": 0.1}])])
    roles = [{"model": model, "corpus": "mine", "role": role} for model, role in (("m", "trained"), ("x", "control"))]
    put(lake, "roles", [("model_corpora", roles)])
    for domain in DOMAINS:
        put(lake, f"ingest {domain}", ingested(domain))
        put(lake, f"scoring {domain}", [("matches", match_rows(domain))])
        put(lake, f"again {domain}", [("matches", [row | {"memorized": True} for row in match_rows(domain)])])
        put(lake, f"noise {domain}", [("matches", [row | {"condition": "noisy"} for row in match_rows(domain)])])
        put(
            lake, f"x {domain}", [("matches", [row | {"model": "x", "memorized": False} for row in match_rows(domain)])]
        )
    put(lake, "cells", [("cells", [drawn("s", "space", "4+12")])])
    lake.retract("matches", [f"again {domain}" for domain in DOMAINS], lambda held: "cell like 'again%'")
    rebuild(lake)
    return folder


@pytest.mark.parametrize("client", PIECES)
def test_each_piece_gives_the_rate(folder, client, monkeypatch):
    imported = re.findall(r"^(?:from|import) (\w+)", PIECES[client], re.MULTILINE)
    if missing := [name for name in imported if find_spec(name) is None]:
        pytest.skip(f"{', '.join(missing)} is not installed")
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(PIECES[client], names)
    rates = names["rates"]
    rows = rates.to_dicts() if hasattr(rates, "to_dicts") else rates.to_dict("records")
    memorized = sum(row["memorized"] for domain in DOMAINS for row in match_rows(domain))
    assert rows == [{"model": "m", "rate": pytest.approx(memorized / len(DOMAINS) / N)}]


def test_a_reader_of_all_files_would_get_another(folder):
    import polars

    everything = polars.scan_parquet(folder / "lake" / "matches" / "**" / "*.parquet", hive_partitioning=False)
    memorized = sum(row["memorized"] for domain in DOMAINS for row in match_rows(domain))
    assert everything.select(polars.col("memorized").mean()).collect().item() != pytest.approx(memorized / 2 / N)
    assert {*PIECES} == {"DuckDB", "Polars", "pandas", "Spark", "Python with memlake"}
