"""What the figures about attention heads draw, apart from how it looks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from queries.finding import find
from reports.figures import _heads as heads
from reports.figures import (
    family_similarity,
    head_importance,
    head_overlap,
    head_reliability,
    head_screening,
    layer_profile,
    profile_similarity,
    universal_heads,
)
from reports.figures._lines import lines
from reports.svg import render
from tests.queries.findings import database
from tests.reports.made_up_heads import head_pieces
from tests.small import CONDITION

FIGURES = (
    family_similarity, head_importance, head_overlap, head_reliability, head_screening, layer_profile,
    profile_similarity, universal_heads,
)  # fmt: skip
ROLES = {"mine": "trained", "held": "control"}
MODELS = {"pythia-a": 4, "pythia-b": 5, "olmo-a": 4, "olmo-b": 2}  # layers


@pytest.fixture(scope="module")
def rows() -> dict[str, pd.DataFrame]:
    """The findings' rows for four models, 4 heads a layer, two domains of 16 sequences, also as controls."""
    con = database(
        {
            "models": [
                {"model": m, "family": m.split("-")[0], "n_params": 1000 * n, "base_condition": CONDITION["condition"],
                 "miniature": True}
                for m, n in MODELS.items()
            ],
            "model_corpora": [{"model": m, "corpus": c, "role": r} for m in MODELS for c, r in ROLES.items()],
        }
    )  # fmt: skip
    for model, layers in MODELS.items():
        for i, (corpus, domain) in enumerate((c, d) for c in ROLES for d in ("code", "prose")):
            ids = range(100 * i, 100 * i + 16)
            scored = {"model": model, "corpus": corpus, "domain": domain, "condition": CONDITION["condition"]}
            pieces = [("matches", [scored | {"sequence_id": s, "memorized": s % 3 > 0} for s in ids])]
            pieces += head_pieces(model, corpus, domain, ids, [s % 3 > 0 for s in ids], layers, 4)
            for table, of_table in pieces:
                con.register("given", pa.Table.from_pylist(of_table))
                con.execute(f"insert into stored.{table} by name from given")
    names = [f.__name__.rpartition(".")[2] for f in FIGURES]
    return {name: con.execute(find(name).text).to_arrow_table().to_pandas() for name in names}


@pytest.mark.parametrize("figure", FIGURES, ids=lambda f: f.__name__.rpartition(".")[2])
def test_every_figure_draws_its_finding_and_nothing_of_nothing(rows, figure):
    of_finding = rows[figure.__name__.rpartition(".")[2]]
    also = [rows[name] for name in getattr(figure, "ALSO", ())]
    panels = figure.draw(of_finding, *also)
    assert len(of_finding) and panels
    assert all("<svg" in render(panel, f"f{i}") for i, panel in enumerate(panels))
    assert figure.draw(of_finding[:0], *also) == []


def test_only_the_default_method_is_drawn_and_no_control(rows):
    zero = rows["head_overlap"].assign(method="zero")
    both = pd.concat([zero, rows["head_overlap"]])
    assert set(both["role"]) == {"trained", "control"}
    shown = heads.shown(both)
    assert len(shown) == len(MODELS) and set(shown["method"]) == {"peer_mean"} and set(shown["role"]) == {"trained"}
    assert set(heads.shown(zero)["method"]) == {"zero"}


def test_runs_of_one_shade_cover_the_heads_that_were_measured():
    # relative drops 1, 1/4, 1/4, not known | -1/4, 1/64, 0, 0: roots 1, 1/2, 1/2 | -1/2, 1/8, 0, 0, in eighths
    drops = [4, 1, 1, np.nan, -1, 1 / 16, 0, 0]
    table = pd.DataFrame({"layer": [0] * 4 + [1] * 4, "head": [0, 1, 2, 3] * 2, "domain": "d", "mean_drop": drops})
    found = head_importance.cells(table)[["y", "x", "x2", "shade"]].to_numpy().tolist()
    assert found == [[0, 0, 1, 8], [0, 1, 3, 4], [1, 0, 1, -4], [1, 1, 2, 1], [1, 2, 4, 0]]


def test_correlation_stands_below_the_diagonal_and_p_above(rows):
    pair = (
        rows["profile_similarity"]
        .query("model_a == 'pythia-a' and model_b == 'pythia-b'")
        .assign(similarity=-0.5, p=0.031)
    )
    (chart,) = profile_similarity.draw(pair, rows["layer_profile"])
    cells = [r for data in chart.to_dict()["datasets"].values() for r in data if "ink" in r]
    assert {(c["x"], c["y"]): c["text"] for c in cells} == {(0, 1): "\N{MINUS SIGN}50", (1, 0): "3.1"}


def test_a_model_of_two_corpora_has_two_lines(rows):
    overlaps = rows["head_overlap"]
    data, *_ = lines(overlaps)
    assert data["y"].nunique() == 2 * len(MODELS) and "olmo-a, held" in set(data["model"])
    data, *_ = lines(heads.shown(overlaps))
    assert set(data["model"]) == set(MODELS)
