"""The notebooks of docs/ run, and what they show is of the demo and of no machine."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from memlake.tests.queries.conftest import done, drawn, put
from memlake.tests.small import CONDITION, DOMAINS, MODEL, ingested, match_rows
from memlake.warehouse.lake import Lake

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lake:
    """Two families that trained on one corpus: the second memorizes nothing of the second domain."""
    lake = Lake.create(tmp_path_factory.mktemp("notebooks") / "lake")
    models = [MODEL, MODEL | {"model": "o", "family": "olmo", "n_params": 2000}]
    put(lake, "models", [("models", models), ("conditions", [CONDITION])])
    roles = [{"model": m["model"], "corpus": "mine", "role": "trained"} for m in models]
    put(lake, "roles", [("model_corpora", roles)])
    for domain in DOMAINS:
        put(lake, f"ingest {domain}", ingested(domain))
        put(lake, f"m {domain}", [("matches", match_rows(domain))])
        other = [
            row | {"model": "o", "memorized": row["memorized"] and domain == DOMAINS[0]} for row in match_rows(domain)
        ]
        put(lake, f"o {domain}", [("matches", other)])
    cells = [done(f"{what} {domain}", sample="s") for what in "mo" for domain in DOMAINS]
    put(lake, "cells", [("cells", [drawn("s", "space", "4+12"), *cells])])
    return lake


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs(lake, tmp_path, monkeypatch, path):
    monkeypatch.setenv("MEMLAKE_LAKE", str(lake.path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, kernel_name="python3", timeout=600, resources=resources).execute()
    shown = [str(o) for cell in notebook.cells for o in cell.get("outputs", [])]
    if path.stem == "families":  # of both domains, and of the first alone
        assert any("olmo" in text and "pythia" in text for text in shown)
    else:
        assert any("did you mean 'misses'?" in text for text in shown) and any("image/png" in text for text in shown)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_what_is_stored_has_its_output_and_no_path_of_a_machine(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert sum(bool(cell.outputs) for cell in code) >= len(code) - 2
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/(tmp|home|root|Users|work)/|site-packages|Traceback", text)
    assert len(text) < 200_000


def test_there_are_notebooks():
    assert {p.stem for p in NOTEBOOKS} == {"families", "finding"}
