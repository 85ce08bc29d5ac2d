"""What the figures about attention heads draw, apart from how it looks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from memlake.queries.finding import find
from memlake.reports.figures import _heads as heads
from memlake.reports.figures import (
    family_similarity,
    head_importance,
    head_overlap,
    head_reliability,
    head_screening,
    layer_profile,
    profile_similarity,
    universal_heads,
)
from memlake.reports.figures._models import lines
from memlake.reports.svg import render
from memlake.tests.queries.findings import database

from .made_up_heads import head_lake

FIGURES = (
    family_similarity, head_importance, head_overlap, head_reliability, head_screening, layer_profile,
    profile_similarity, universal_heads,
)  # fmt: skip
ROLES = {"mine": "trained", "held": "control"}
MODELS = {"pythia-a": 4, "pythia-b": 5, "olmo-a": 4, "olmo-b": 2}  # layers


@pytest.fixture(scope="module")
def rows() -> dict[str, pd.DataFrame]:
    """The findings' rows for four models, 4 heads a layer, two domains of 16 sequences, also as controls."""
    return asked(head_lake(MODELS, ROLES))


def asked(con) -> dict[str, pd.DataFrame]:
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


TWO, MINE = {"olmo-a": 4, "pythia-a": 5}, {"mine": "trained"}
SMALL = {
    "nothing": lambda: database({}),
    "one_model": lambda: head_lake({"olmo-a": 4}, MINE),
    "one_row": lambda: head_lake({"olmo-a": 1}, MINE, ["code"], sequences=1, heads=1),
    "one_sequence": lambda: head_lake(TWO, MINE, sequences=1),
    "nothing_memorized": lambda: head_lake(TWO, MINE, memorized=lambda _: False),
    "everything_memorized": lambda: head_lake(TWO, MINE, memorized=lambda _: True),
    "too_few": lambda: head_lake(TWO, MINE, sequences=4),
    "one_layer": lambda: head_lake({"olmo-a": 1, "pythia-a": 1}, MINE),
    "one_head": lambda: head_lake(TWO, MINE, heads=1),
    "no_peers": lambda: head_lake(TWO, MINE, heads=1, measured=False),
    "control_only": lambda: head_lake(TWO, {"held": "control"}),
    "role_not_known": lambda: head_lake(TWO, {"mine": None}),
}


@pytest.mark.parametrize("small", SMALL)
def test_a_small_lake_is_asked_and_drawn(small):
    """All findings and figures of a lake that holds hardly anything; p and shares stay within 0 and 1."""
    answers = asked(SMALL[small]())
    for figure in FIGURES:
        name = figure.__name__.rpartition(".")[2]
        panels = figure.draw(answers[name], *(answers[also] for also in getattr(figure, "ALSO", ())))
        assert all("<svg" in render(panel, f"f{i}") for i, panel in enumerate(panels))
    for name, answer in answers.items():
        for column in answer:
            if column.startswith(("p_", "jaccard", "expected_jaccard", "half_")) or column in ("p", "reliability"):
                values = pd.to_numeric(answer[column]).dropna()
                assert np.isfinite(values).all(), (name, column, values)
                assert values.between(-1 if column == "half_reliability" else 0, 1).all(), (name, column, values)


def test_only_the_default_method_is_drawn_and_no_control(rows):
    zero = rows["head_overlap"].assign(method="zero")
    both = pd.concat([zero, rows["head_overlap"]])
    assert set(both["role"]) == {"trained", "control"}
    shown = heads.shown(both)
    assert len(shown) == len(MODELS) and set(shown["method"]) == {"peer_mean"} and set(shown["role"]) == {"trained"}
    assert set(heads.shown(zero)["method"]) == {"zero"}


def test_runs_of_one_shade_cover_the_heads_that_were_measured():
    # decades below the strongest: 0, 0.60, 0.60, not known | 0.60, 1.81, more than 3, all: of 12 shades, four a decade,
    # these are 12, 12 - 2.4, 12 - 2.4 | 12 - 2.4, 12 - 7.2, none, none, rounded up
    drops = [4, 1, 1, np.nan, -1, 1 / 16, 1 / 300, 0]
    table = pd.DataFrame({"layer": [0] * 4 + [1] * 4, "head": [0, 1, 2, 3] * 2, "mean_drop": drops}).dropna()
    found = head_importance.cells(table, 4)[["y", "x", "x2", "shade"]].to_numpy().tolist()
    assert found == [[0, 0, 1, 12], [0, 1, 3, 10], [1, 0, 1, -10], [1, 1, 2, 5], [1, 2, 4, 0]]
    assert [head_importance.ends(4)[i] for i in (11, 7, 3)] == pytest.approx([4, 0.4, 0.04])


def test_all_models_heads_are_drawn_on_one_scale(rows):
    strong = rows["head_importance"].query("model == 'olmo-a' and role == 'trained'")
    weak = strong.assign(model="pythia-a", family="pythia", mean_drop=strong["mean_drop"] / 100)
    pythia, olmo, scale = (panel.to_dict() for panel in head_importance.draw(pd.concat([strong, weak])))
    darkest = [
        max(abs(r["shade"]) for data in panel["datasets"].values() for r in data if "shade" in r)
        for panel in (olmo, pythia)
    ]
    assert darkest == [12, 4]  # two decades of three
    top = max(r["nats"] for data in scale["datasets"].values() for r in data)
    assert top == pytest.approx(strong.groupby(["layer", "head"])["mean_drop"].mean().abs().max())


def test_correlation_stands_below_the_diagonal_and_p_above(rows):
    pair = (
        rows["profile_similarity"]
        .query("model_a == 'pythia-a' and model_b == 'pythia-b'")
        .assign(similarity=-0.5, p=0.9, p_shifted=0.031)
    )
    (chart,) = profile_similarity.draw(pair, rows["layer_profile"])
    cells = [r for data in chart.to_dict()["datasets"].values() for r in data if "ink" in r]
    assert {(c["x"], c["y"]): c["text"] for c in cells} == {(0, 1): "\N{MINUS SIGN}50", (1, 0): "3.1"}


def test_a_model_of_two_corpora_has_two_lines(rows):
    overlaps = rows["head_overlap"]
    data, *_ = lines(overlaps)
    assert data["y"].nunique() == 2 * len(MODELS) and "olmo-a, held" in set(data["line"])
    data, *_ = lines(heads.shown(overlaps))
    assert set(data["line"]) == set(MODELS)
