"""Findings on layers, noise, prompts and short-circuiting, and their figures, of lakes that hold next to nothing."""

from __future__ import annotations

import re
from importlib import import_module

import pytest

from queries.finding import find
from reports.page import _samples
from reports.svg import render
from tests.queries.findings import database

NAMES = (
    "layer_probability",
    "decoding_depth",
    "layer_agreement",
    "noise_rate",
    "noise_recovery",
    "noise_structural_share",
    "prompt_compression",
    "compression_distribution",
    "short_circuit_tradeoff",
    "short_circuit_quartiles",
    "output_difference",
)
ABOUT = {"model": "a", "corpus": "c", "domain": "d", "condition": "base", "n_tokens": 2, "prefix_tokens": 2}


def keep(row: dict, *more: str) -> dict:
    """What all tables have of a row, and `more`."""
    return {key: value for key, value in row.items() if key not in ("n_tokens", "prefix_tokens") or key in more}


def lake(memorized: list[bool], layers: int = 1, entropy: float | None = 1.0) -> dict:
    """One model, as many sequences as are memorized or not, all that can be measured of them."""
    rows = [ABOUT | {"sequence_id": i} for i in range(len(memorized))]
    clean = [
        row
        | {"memorized": m, "score": float(m), "n_match": 2 * m, "forced_n_match": 2 * m, "completion_entropy": entropy}
        for row, m in zip(rows, memorized, strict=True)
    ]
    known = [row for row, m in zip(rows, memorized, strict=True) if m]
    return {
        "models": [{"model": "a", "family": "olmo", "n_layers": layers, "base_condition": "base", "miniature": False}],
        "conditions": "condition dtype attention noise noise_seed noise_layer noise_scope bos\n"
        "base f32 sdpa 0 NULL NULL NULL false\nhalf f32 sdpa 0.5 0 0 token false",
        "domains": "corpus domain class\nc d structural",
        "matches": clean + [row | {"condition": "half", "score": None} for row in clean],
        "layer_tokens": [
            keep(row)
            | {"position": 0, "target": 7, "top1": [7] * (layers + 1), "target_probability": [0.5] * (layers + 1)}
            | {"entropy": [1.0] * (layers + 1), "kl_to_final": [0.0] * (layers + 1), "first_layer": 0}
            for row in rows
        ],
        "layer_similarity": [
            keep(row) | {"condition": "half", "part": part, "cosine": [1.0] * (layers + 1)}
            | {"relative_l2": [0.0] * (layers + 1)}
            for row in rows
            for part in ("prefix", "continuation")
        ],
        "prompt_compression": [
            keep(row, "prefix_tokens") | {"window": "suffix", "shortest": 2, "ratio": 1.0, "successes": b"\x40"}
            for row in known
        ],
        "block_deltas": [
            keep(row, "n_tokens")
            | {"first_block": 0, "last_block": 0, "n_match": 0, "memorized": False, "completion_entropy": 1.0}
            | {"output_difference": [2.0] * layers}
            for row in known
        ],
    }  # fmt: skip


LAKES = {
    "nothing": {},
    "one row": lake([True]),
    "one row, not memorized": lake([False]),
    "nothing memorized": lake([False] * 3, layers=2),
    "everything memorized": lake([True] * 3, layers=2),
    "one pair": lake([True, False]),
    "many pairs of equals": lake([True, False] * 6, layers=3),
    "no entropy": lake([True, False], entropy=None),
}


@pytest.mark.parametrize("kind", LAKES)
def test_every_finding_answers_and_every_figure_is_drawn(kind):
    con = database(LAKES[kind])
    drawn = {}
    for name in NAMES:
        rows = con.execute(find(name).text).to_arrow_table().to_pandas()
        module = import_module(f"reports.figures.{name}")
        panels = [panel for _, parts in _samples([rows]) for panel in module.draw(*parts)]
        images = [render(panel, "p") for panel in panels]
        assert all(image.startswith("<svg") and not re.search(r"\bnan\b", image) for image in images)
        drawn[name] = rows, panels
    groups = drawn["layer_probability"][0]
    notes = set(groups.loc[groups["group"] == "memorized", "note"].fillna("enough"))
    assert notes == {
        "one row": {"no common support"},
        "everything memorized": {"no common support"},
        "no entropy": {"no common support"},
        "one pair": {"too few"},
        "many pairs of equals": {"enough"},
    }.get(kind, set())
    assert drawn["short_circuit_tradeoff"][0].empty == (not notes)
    assert bool(drawn["layer_probability"][1]) == (kind != "nothing")
