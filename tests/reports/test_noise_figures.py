"""What the figures of prompt compression and of noise draw, from the rows of the findings' own cases."""

from __future__ import annotations

import pandas as pd
import pytest

from memlake.reports.figures import _style as style
from memlake.reports.figures import (
    compression_distribution,
    noise_rate,
    noise_recovery,
    noise_structural_share,
    prompt_compression,
)
from memlake.reports.svg import render

from .test_layer_figures import answer, drawn, paired

FIGURES = (compression_distribution, noise_rate, noise_recovery, noise_structural_share, prompt_compression)


@pytest.mark.parametrize("figure", FIGURES)
def test_a_figure_of_the_case_is_an_svg_in_the_familys_colour(figure):
    name = figure.__name__.rpartition(".")[2]
    pictures = [render(panel, f"p{i}") for i, panel in enumerate(figure.draw(answer(name)))]
    assert pictures and all(p.startswith("<svg") for p in pictures)
    assert any(style.colour("pythia") in p.upper() for p in pictures)


def test_survival_is_of_the_memorized_and_the_largest_model_has_its_matched_text():
    rows = answer("noise_rate")
    panels = noise_rate.draw(pd.concat([rows, rows.assign(model="larger", params=100_000, rate=rows["rate"] / 2)]))
    assert [p.title.subtitle[1:] for p in panels] == [
        ["noise at layer 0, RMS per token", "1 of 2 memorized have a match"],
        ["noise at layer 2, RMS per token", "no common support"],
    ]
    lines = {(r["text"], r["colour"], r["x"], round(r["y"], 3)) for r in drawn(panels[0], "low", "x")}
    pale, full = (style.pale(style.colour("pythia"), strength) for strength in (0.65, 1))
    assert lines == {
        *[("1k", pale, 0, 1), ("1k", pale, 0.5, 0.333)],
        *[("100k", full, 0, 0.5), ("100k", full, 0.5, 0.167)],
        *[("100k", full, 0, 0), ("100k", full, 0.5, 0)],  # matched
    }


def test_recovery_shows_the_continuation_at_the_greatest_strength_of_the_largest_model():
    rows = answer("noise_recovery").query("group == 'unmemorized'")
    weak = rows.assign(noise=0.1, cosine=0.99)
    small = rows.assign(model="smaller", params=1, noise=0.9, cosine=0.98)
    (panel,) = noise_recovery.draw(pd.concat([weak, rows, small]))
    assert panel.title.subtitle[1] == "a, noise 0.5"
    assert {(r["x"], r["y"]) for r in drawn(panel, "layer", "y")} == {(0, 1), (0.5, 0), (1, -0.5)}
    assert panel.to_dict()["layer"][1]["encoding"]["y"]["scale"]["domain"] == [-0.5, 1]


def test_recovery_tells_the_difference_of_the_pairs_at_the_last_layer():
    (panel,) = noise_recovery.draw(paired("noise_recovery"))
    minus = "\N{MINUS SIGN}"
    assert panel.title.subtitle[3:] == [
        "2 of 2 memorized have a match",
        f"recovery {minus}0.250 ({minus}1.671 to +1.171)",
    ]


def test_nothing_left_ends_the_line_of_the_structural_share():
    (panel,) = noise_structural_share.draw(answer("noise_structural_share"))
    assert {(r["x"], round(r["y"], 3)) for r in drawn(panel, "low", "y")} == {(0, 0.667), (0.5, 1)}


def test_compression_is_drawn_for_the_last_tokens_and_the_commonest_length():
    (panel,) = compression_distribution.draw(answer("compression_distribution"))
    reached, suffices = ([r["y"] for r in data] for data in panel.to_dict()["datasets"].values())
    assert sorted([reached, suffices]) == [pytest.approx([1 / 3, 1 / 3, 2 / 3, 1]), pytest.approx([1 / 3, 2 / 3, 1, 1])]
    (panel,) = prompt_compression.draw(answer("prompt_compression"))
    assert [(r["low"], r["x"], r["high"]) for r in drawn(panel, "low", "x")][:1] == [(3 / 8, 1 / 2, 5 / 8)]
    only = answer("compression_distribution").query("window == 'prefix'")
    assert compression_distribution.draw(only) == []
