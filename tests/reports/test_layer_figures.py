"""What the figures of layer decoding and of short-circuiting draw, from the rows of the findings' own cases."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from memlake.queries.finding import find
from memlake.reports.figures import _style as style
from memlake.reports.figures import (
    decoding_depth,
    layer_agreement,
    layer_probability,
    output_difference,
    short_circuit_quartiles,
    short_circuit_tradeoff,
)
from memlake.reports.svg import render
from memlake.tests.queries.findings import cases, database

FIGURES = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        decoding_depth,
        layer_agreement,
        layer_probability,
        output_difference,
        short_circuit_quartiles,
        short_circuit_tradeoff,
    )
}


def answer(name: str) -> pd.DataFrame:
    """The finding's rows for its first case: two or three models at most, with NULLs."""
    return database(cases(name)[0]["given"]).execute(find(name).text).to_arrow_table().to_pandas()


def paired(name: str) -> pd.DataFrame:
    """The rows of its case with pairs, of the sample that has them."""
    (case,) = (c for c in cases(name) if "pairs" in c["about"])
    rows = database(case["given"]).execute(find(name).sql(**case["parameters"])).to_arrow_table().to_pandas()
    return rows[rows["sample_rule"] == "space"]


def drawn(chart, *columns: str) -> list[dict]:
    """The rows of a chart's data that have these columns."""
    return [row for data in chart.to_dict()["datasets"].values() for row in data if set(columns) <= set(row)]


def names_of(row) -> list[str]:
    """What stands at the left of a row of panels."""
    axes = [
        encoding["y"]["axis"]
        for layer in row.to_dict()["spec"]["layer"]
        if "axis" in (encoding := layer.get("encoding", {})).get("y", {})
    ]
    return json.loads(axes[0]["labelExpr"].partition("[indexof")[0])


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_of_the_case_is_an_svg_in_the_familys_colour(name):
    panels = FIGURES[name].draw(answer(name))
    pictures = [render(panel, f"p{i}") for i, panel in enumerate(panels)]
    assert pictures and all(p.startswith("<svg") for p in pictures)
    assert any(style.colour("olmo") in p.upper() for p in pictures)


def test_the_groups_of_the_largest_model_are_told_apart():
    rows = answer("layer_probability")
    smaller = rows.assign(model="smaller", params=1, probability=0.99)
    (panel,) = layer_probability.draw(pd.concat([smaller, rows]))
    lines = drawn(panel, "x", "y", "colour", "text")
    assert {(r["text"], r["colour"]) for r in lines} == set(style.groups("olmo").items())
    starts = [(r["text"], r["y"]) for r in lines if r["x"] == 0]  # the memorized last, on top
    assert [text for text, _ in starts] == ["unmemorized", "matched", "memorized"]
    assert [y for _, y in starts] == pytest.approx([13 / 60, 0.05, 0.1])


@pytest.mark.parametrize(("figure", "ends"), [(layer_probability, [0, 2 / 3]), (layer_agreement, [2 / 3, 1])])
def test_the_partners_of_the_matched_are_dashed(figure, ends):
    (panel,) = figure.draw(paired(figure.__name__.rpartition(".")[2]))
    assert panel.title.subtitle[-1] == "2 of 2 memorized have a match"
    (dashed,) = (layer for layer in panel.to_dict()["layer"] if "strokeDash" in layer.get("mark", {}))
    assert [r["y"] for r in panel.to_dict()["datasets"][dashed["data"]["name"]]] == pytest.approx(ends)


def test_depth_tells_the_difference_beside_the_memorized():
    (panel,) = decoding_depth.draw(paired("decoding_depth"))
    assert "2 of 2: \N{MINUS SIGN}0.17" in {r["text"] for r in drawn(panel, "text")}


def test_agreement_shows_each_model_on_memorized_text_and_the_largest_matched():
    rows = answer("layer_agreement")
    (panel,) = layer_agreement.draw(pd.concat([rows.assign(model="smaller", params=1, agreement=0.5), rows]))
    lines = {r["text"]: r["colour"] for r in drawn(panel, "x", "y", "colour", "text")}
    olmo = [style.pale(style.colour("olmo"), strength) for strength in (0.65, 1)]
    assert lines == {"matched": style.CONTROL, "1": olmo[0], "7": olmo[1]}
    assert [r["y"] for r in drawn(panel, "x", "y", "colour", "text") if r["text"] == "matched" and r["x"] < 1] == [0, 1]


def test_models_stand_under_one_another_and_groups_within():
    rows = answer("decoding_depth")
    (panel,) = decoding_depth.draw(pd.concat([rows, rows.assign(model="larger", params=100)]))
    places = sorted(r["y"] for r in drawn(panel, "quartile_1"))
    assert len(places) == 6 == len(set(places))
    texts = sorted((r["text"], r["y"]) for r in drawn(panel, "text"))
    at = [pytest.approx(places[i]) for i in (0, 3, 1, 4)]  # what the pairs say is beside the memorized
    assert texts == list(zip(["1 of 2", "1 of 2", "100", "7"], [at[0], at[1], at[3], at[2]], strict=True))


def test_a_range_is_a_bar_and_a_block_is_on_the_line():
    ours, other = short_circuit_tradeoff.draw(answer("short_circuit_tradeoff"))
    spans = {(r["start"], r["end"], round(r["y"], 3)) for r in drawn(ours, "start")}
    assert spans == {(0, 0.25, 0.333), (0, 0.25, 0.375), (0.5, 1, 1)}
    rules = [r for r in drawn(ours, "y") if set(r) == {"y"}]
    assert rules == [{"y": 0.625}]  # what the whole model does on control text
    assert not [r for r in drawn(other, "y") if set(r) == {"y"}]  # a model without control text


def test_each_quarter_has_its_panel_and_each_model_its_place_in_all():
    (row,) = short_circuit_quartiles.draw(answer("short_circuit_quartiles"))
    assert row.to_dict()["facet"]["column"]["sort"] == list(short_circuit_quartiles.QUARTERS.values())
    bars = [
        sorted((round(r["y"]), r["x"]) for r in drawn(row, "x", "y") if r["panel"] == name)
        for name in short_circuit_quartiles.QUARTERS.values()
    ]
    # by model (a, b, c), exact and held out: b and c, of one and two blocks, lack quarters, and have no control text
    assert bars == [
        [(0, pytest.approx(1 / 6)), (0, pytest.approx(1 / 3))],
        [(2, 0)],
        [(0, 0), (1, 0)],
        [(0, -0.5), (0, 1), (2, 1)],
    ]

    rows = answer("short_circuit_quartiles").assign(exact_drop=-0.75)
    (row,) = short_circuit_quartiles.draw(rows)
    cut = {(r["x"], r["text"]) for r in drawn(row, "text") if r["text"]}
    assert cut == {(-0.5, "\N{MINUS SIGN}75 %")}  # the axis begins at -50 %: what is cut off says so


def test_few_blocks_stand_for_many_and_bounds_out_of_sight_are_left_out():
    about = answer("output_difference").iloc[-1].to_dict() | {"n_layers": 64}
    rows = pd.DataFrame(
        about | {"block": b, "after_block": a, "difference": 1.0 + a, "bound": 10.0 ** (a - b + 1)}
        for b in range(64)
        for a in range(b, 64)
    )
    (panel,) = output_difference.draw(rows)
    lines = drawn(panel, "block", "y")
    assert {r["block"] for r in lines} == {0, 12, 25, 37, 50, 63}
    assert max(r["y"] for r in lines) == 10_000  # 100 times the largest difference, 64, rounded up to a power of ten
    assert output_difference.draw(rows.assign(difference=0.0)) == []
