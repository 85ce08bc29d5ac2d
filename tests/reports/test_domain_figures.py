"""What the figures of domains and of transitions draw, from the rows of the findings' own cases."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from memlake.reports.figures import _style as style
from memlake.reports.figures import corpus_rate, domain_distribution, score_transitions, structural_share
from memlake.reports.svg import render

from .test_layer_figures import answer, drawn

FIGURES = (corpus_rate, domain_distribution, score_transitions, structural_share)


@pytest.mark.parametrize("figure", FIGURES)
def test_a_figure_of_the_case_is_an_svg_in_the_familys_colour(figure):
    rows = answer(figure.__name__.rpartition(".")[2])
    pictures = [render(panel, f"p{i}") for i, panel in enumerate(figure.draw(rows))]
    assert pictures and all(p.startswith("<svg") for p in pictures)
    assert any(style.colour("pythia") in p.upper() for p in pictures)


def test_where_nothing_is_memorized_or_decoded_little_is_drawn():
    for figure in (domain_distribution, structural_share):
        assert figure.draw(answer(figure.__name__.rpartition(".")[2]).assign(share=np.nan)) == []
    (panel,) = score_transitions.draw(answer("score_transitions").assign(n=0, share=np.nan))
    assert panel.title.subtitle[-1] == "none memorized by the smaller" and render(panel, "p").startswith("<svg")


def test_domains_of_the_largest_model_are_weighted_by_bytes_where_these_are_known():
    rows = answer("domain_distribution")
    smaller = rows.assign(model="smaller", params=1, share=0.123)
    (panel,) = domain_distribution.draw(pd.concat([rows, smaller]))  # nothing is memorized of the control corpus
    columns = ("domain", "x", "low", "y", "expected_share")
    dots = {tuple(round(r[c], 3) if c == "low" else r[c] for c in columns) for r in drawn(panel, *columns)}
    assert dots == {("code", 1, 0.588, 0, 0.75), ("legal", 0, 0, 1, 0.25)}  # structural first; import has no size
    headings = {r["panel"].split("\n", 1)[1] for r in drawn(panel, "panel")}
    assert panel.title.text == "mine" and headings == {f"{rows['model'].iloc[0]}\nby bytes"}
    (panel,) = domain_distribution.draw(rows[rows["weighted_by"] == "sample"])
    assert {r["panel"].rpartition("\n")[2] for r in drawn(panel, "panel")} == {"as sampled"}
    assert {r["domain"] for r in drawn(panel, "domain")} == {"code", "import", "legal"}


def test_the_ratio_stands_beside_the_structural_share():
    (row,) = structural_share.draw(answer("structural_share"))
    marks = drawn(row, "low", "text")
    assert {(r["text"], round(r["x"], 3)) for r in marks if r["panel"] == "of the sample"} == {
        ("1.7 (0.42 to 12)", 0.75),
        ("", 1),  # of structural text alone there is no ratio
    }
    assert next(r for r in marks if r["panel"] != "of the sample")["text"] == "1.7 (0.41 to 12)"
    only = answer("structural_share").query("corpus == 'mine'").assign(ratio=np.nan, ratio_high=np.nan)
    assert drawn(structural_share.draw(only)[0], "low", "text")[0]["text"] == "> 0.42"


def test_a_corpus_and_its_sample_stand_side_by_side():
    (row,) = corpus_rate.draw(answer("corpus_rate"))
    assert {(r["panel"], round(r["x"], 3)) for r in drawn(row, "low", "x")} == {
        ("the corpus\nweighted by bytes", 0.39),
        ("the sample\nas sampled", 0.308),
        ("the sample\nas sampled", 0),
    }


def test_a_matrix_goes_from_the_smaller_to_the_larger():
    rows = answer("score_transitions")
    (panel,) = score_transitions.draw(pd.concat([rows, rows.assign(corpus="held", role="control")]))
    assert panel.title.subtitle == ["trained on mine", "1k to 3k", "50 % of 4 stay memorized (13 to 87)"]
    cells = {(round(r["x"], 1), round(r["y"], 1)): r["text"] for r in drawn(panel, "ink")}
    assert len(cells) == 20  # nothing is in the second bin
    assert (cells[0.5, 0.9], cells[0.9, 0.9], cells[0.7, 0.5]) == ("25", "75", "100")
    twin = rows.assign(next_model="twin")
    panels = score_transitions.draw(pd.concat([rows, twin]))  # two of one size go by their names
    assert [p.title.subtitle[1] for p in panels] == ["small to large", "small to twin"]
