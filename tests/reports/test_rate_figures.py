"""Findings about rates, and their figures, where there is next to nothing to show."""

from __future__ import annotations

import importlib

import pandas as pd
import pytest

from memlake.queries.finding import find
from memlake.reports.figures import model_difference
from memlake.reports.svg import render
from memlake.tests.queries.findings import database

from .test_layer_figures import drawn

FIGURES = (
    "memorization_rate", "byte_rate", "scaling_law", "control_adjusted_rate", "model_difference", "shared_memorization",
)  # fmt: skip


def given(models: int, n: int, memorized: bool, known: bool) -> dict[str, list[dict]]:
    """Models of one family, asked about n anchors, of which they memorized all or none. known: sizes, roles, bytes."""
    names = [f"m{i}" for i in range(models)]
    size = {name: 10 ** (i + 5) if known else None for i, name in enumerate(names)}
    place = {"corpus": "c", "domain": "d"}
    cut = {"anchor_id": 1, "anchor": 50, "byte_cut": 50, "byte_end": 90} if known else {}
    return {
        "models": [
            {"model": m, "family": "pythia", "n_params": size[m], "base_condition": "base", "miniature": True}
            for m in names
        ],
        "model_corpora": [{"model": m, "corpus": "c", "role": "control" if m == "m1" else "trained"} for m in names]
        if known
        else [],
        "sequences": [
            place
            | {"sequence_id": i, "tokenizer": "t", "prefix_tokens": 2, "n_tokens": 2}
            | (cut | {"anchor_id": i, "byte_ends": [49, 50, 70, 90]} if known else {})
            for i in range(n)
        ],
        "matches": [
            place
            | {"model": m, "sequence_id": i, "condition": "base", "memorized": memorized, "n_tokens": 2}
            | ({"anchor_id": i, "matched_bytes": 40 * memorized, "logprobs": [-0.5, -0.5]} if known else {})
            for m in names
            for i in range(n)
        ],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("models", "n", "memorized", "known"),
    [(1, 1, False, False), (3, 30, True, False), (2, 1, False, True), (4, 30, False, True), (4, 30, True, True)],
)
def test_lakes_of_next_to_nothing_are_drawn(models, n, memorized, known):
    con = database(given(models, n, memorized, known))
    rows = {name: con.execute(find(name).text).to_arrow_table().to_pandas() for name in FIGURES}
    for name in FIGURES:
        figure = importlib.import_module(f"reports.figures.{name}")
        also = [rows[other] for other in getattr(figure, "ALSO", ())]
        for panel in figure.draw(rows[name], *also):
            assert render(panel, name).startswith("<svg")
    law, bytewise, pairs = rows["scaling_law"], rows["byte_rate"], rows["model_difference"]
    assert law["slope"].isna().all() and law["note"].notna().all()
    if models == 4 and known:
        assert set(law["note"]) == {"nothing varies", "too few"}  # three trained models, one control
    if n == 30 and known:
        far = bytewise["horizon"] > 40
        assert (bytewise.loc[~far, "rate"] == memorized).all() and (bytewise.loc[far, "note"] == "too few").all()
        assert (bytewise.loc[~far, "low"] < bytewise.loc[~far, "high"]).all()
    assert len(pairs) == models * (models - 1) / 2 and (pairs["p_holm"] == 1).all() and (pairs["low"] < 0).all()


def test_a_difference_is_filled_where_the_corrected_test_finds_one():
    about = {"family": "pythia", "miniature": True, "corpus": "c", "model_a": "a", "low": -0.1, "high": 0.4}
    rows = pd.DataFrame(
        [
            about | {"model_b": "b", "difference": 0.3, "only_a": 1, "only_b": 9, "p_holm": 0.04},
            about | {"model_b": "c", "difference": 0.1, "only_a": 2, "only_b": 3, "p_holm": 0.06},
        ]
    )
    (panel,) = model_difference.draw(rows)
    dots = drawn(panel, "fill")
    assert [(d["tip"].partition(", c: ")[0], d["text"], d["fill"] == "white") for d in dots] == [
        ("a, b", "1 : 9", False),
        ("a, c", "2 : 3", True),
    ]
