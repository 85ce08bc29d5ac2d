"""What the figures of guessability and of controls draw, from the rows of the findings' own cases."""

from __future__ import annotations

import pandas as pd
import pytest

from memlake.queries.finding import find
from memlake.reports.figures import _style as style
from memlake.reports.figures import control_adjusted_rate, guessability
from memlake.reports.svg import render
from memlake.tests.queries.findings import cases, database

from .test_layer_figures import answer, drawn


@pytest.mark.parametrize("figure", [control_adjusted_rate, guessability])
def test_a_figure_of_the_case_is_an_svg_in_the_familys_colour(figure):
    rows = answer(figure.__name__.rpartition(".")[2])
    pictures = [render(panel, f"p{i}") for i, panel in enumerate(figure.draw(rows))]
    assert len(pictures) == 1 and all(p.startswith("<svg") for p in pictures)
    assert all(style.colour("pythia") in p.upper() for p in pictures)
    assert figure.draw(rows.iloc[:0]) == []


def test_the_tick_is_the_rate_of_all_and_the_dot_leaves_the_guessable_out():
    rows = answer("guessability")
    rows = rows[rows["domain"] == "code"].assign(rest_rate=0.25)
    control = rows.assign(corpus="held", role="control", rate=0.1, rest_rate=0.05)
    (panel,) = guessability.draw(pd.concat([rows, control]))
    marks = {(r["x"], r["rate"], round(r["y"], 2)) for r in drawn(panel, "low")}
    assert marks == {(0.25, 0.5, 0), (0.05, 0.1, 0.3)}
    *_, above = panel.to_dict()["spec"]["layer"]  # the tick, lest a dot hides it
    assert above["mark"]["type"] == "tick" and above["encoding"]["x"]["field"] == "rate"


def test_a_domain_that_nobody_judged_is_not_drawn():
    rows = answer("guessability")
    (row,) = guessability.draw(rows)
    assert {r["panel"] for r in drawn(row, "panel")} == {"code\nstructural", "legal\nfree text"}
    assert guessability.draw(rows[rows["domain"] == "import"]) == []


def test_of_several_controls_the_one_that_reproduces_most_is_drawn():
    sql = find("control_adjusted_rate").sql(horizon=4)
    rows = database(cases("control_adjusted_rate")[0]["given"]).execute(sql).to_arrow_table().to_pandas()
    rows = rows[(rows["basis"] != "anchor") | (rows["control"] == "c")]
    weaker = rows[rows["basis"] == "sequence"].assign(control="w", control_rate=0.0, adjusted_rate=0.9)
    (row,) = control_adjusted_rate.draw(pd.concat([weaker, rows]))
    marks = {(r["panel"], r["basis"], round(r["x"], 3), round(r["y"], 2)) for r in drawn(row, "basis")}
    assert {mark[1:] for mark in marks if mark[0] == "code"} == {
        ("sequence", 0.333, 0),
        ("anchor", 0, 0.27),
        ("held-out corpus", 0, 0.54),
    }
    assert {mark[:2] for mark in marks if mark[0] != "code"} == {("legal", "sequence")}
