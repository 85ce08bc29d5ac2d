"""What the figures about n-gram counts draw, from the rows of the findings' own cases."""

from __future__ import annotations

import pandas as pd
import pytest

from memlake.queries.finding import find
from memlake.reports.figures import _style as style
from memlake.reports.figures import dose_response, frequency_by_bucket, tokenizer_mismatch
from memlake.reports.svg import render
from memlake.tests.queries.findings import cases, database

from .test_layer_figures import drawn, names_of

FIGURES = (dose_response, frequency_by_bucket, tokenizer_mismatch)


def answer(name: str, case: int) -> pd.DataFrame:
    made = cases(name)[case]
    return database(made["given"]).execute(find(name).sql(**made.get("parameters", {}))).to_arrow_table().to_pandas()


@pytest.mark.parametrize("figure", FIGURES)
def test_a_figure_of_the_case_is_an_svg_in_the_familys_colour(figure):
    rows = answer(figure.__name__.rpartition(".")[2], 0).query("model == 'a'")
    pictures = [render(panel, f"p{i}") for i, panel in enumerate(figure.draw(rows))]
    assert pictures and all(p.startswith("<svg") for p in pictures)
    assert any(style.colour("olmo") in p.upper() for p in pictures)


@pytest.mark.parametrize("figure", FIGURES)
def test_control_text_alone_is_not_drawn_as_if_trained_on(figure):
    rows = answer(figure.__name__.rpartition(".")[2], 0).assign(role="control")
    panels = figure.draw(rows)
    assert panels == [] or [p.title.subtitle[0] for p in panels] == ["control text only"]


def dots(panel, line: str) -> list[tuple[float, float]]:
    return [(r["x"], r["y"]) for r in drawn(panel, "low", "line") if r["line"] == line]


def test_exposures_are_solid_and_the_largest_models_counts_are_broken():
    rows = answer("dose_response", 1)
    (panel,) = dose_response.draw(rows[rows["model"] == "a"])
    assert panel.title.subtitle == ["trained on mine", "solid: shown in training", "dashed: counted in mine"]
    zero = dose_response.ZERO
    assert {*dots(panel, "solid")} == {(0.85 * zero, 0), (zero, 0), (1, 0), (4, 1), (8, 1)}
    assert {*dots(panel, "dashed")} == {(1, 0), (2.5, 0.5), (7, 1), (8, 1)}  # neither in bytes nor in a sample
    (panel,) = dose_response.draw(rows)  # b, which has no exposures, is larger
    assert {*dots(panel, "dashed")} == {(8, 1)}


def test_without_exposures_counts_are_solid_for_all_models():
    rows = answer("dose_response", 1).query("dose == 'duplicates'")
    twice = pd.concat([rows, rows.assign(counted_corpus="another")])
    (panel,) = dose_response.draw(twice)
    assert panel.title.subtitle[1:] == ["solid: counted in mine", "dashed: counted in another"]
    assert {*dots(panel, "solid")} == {(1, 0), (2.5, 0.5), (7, 1), (8, 1)}
    assert {r["text"] for r in drawn(panel, "low", "line") if r["line"] == "solid"} == {"7", "9"}
    assert {*dots(panel, "dashed")} == {(8, 1)}


def test_every_eighth_place_all_together_and_wholes_of_one_way_of_counting():
    rows = answer("frequency_by_bucket", 0)
    smaller = rows.assign(model="smaller", params=1, mean_log10=0.123)
    charts = frequency_by_bucket.draw(pd.concat([rows, smaller]))
    assert [chart.title.text for chart in charts] == ["each token", "each pair of tokens", "as a whole"]
    marks = [drawn(chart, "span", "y") for chart in charts]
    assert {r["panel"] for row in marks for r in row} == {"olmo (miniatures)\na\ncounted in mine"}
    seen = [{(r["span"], r["group"], round(r["x"], 3), round(r["y"], 3)) for r in row} for row in marks]
    first = -1.6  # the memorized stand a fifth of eight places before the others
    assert seen == [
        {("unigrams", "memorized", first, round(10 ** (2 / 3), 3)), ("unigrams", "memorized", 12 + first, 10)},
        {("bigrams", "memorized", first, 1), ("bigrams", "memorized", 12 + first, 10)},
        {("window", "half", 1, 100), ("window", "unmemorized", 1.2, 1)},
    ]
    full, pale, grey = style.groups("olmo").values()
    colours = {r["group"]: r["colour"] for row in marks for r in row}
    assert colours == {"memorized": full, "half": pale, "unmemorized": grey}


def test_where_only_another_tokenizer_counted_its_lists_are_dots():
    rows = answer("frequency_by_bucket", 0).query("not own")
    (chart,) = frequency_by_bucket.draw(pd.concat([rows, rows.assign(counted_tokenizer="llama2")]))
    (mark,) = drawn(chart, "span", "y")
    assert mark["panel"].split("\n")[2:] == ["counted in mine", "under bytes"]
    assert (mark["span"], mark["y"]) == ("bigrams", pytest.approx(10 ** (2 / 3)))
    (chart,) = frequency_by_bucket.draw(rows.assign(complete=False))
    assert drawn(chart, "panel")[0]["panel"].split("\n")[2:4] == ["counted in mine", "a sample of it"]


def test_both_effects_of_a_pair_stand_beside_its_correlation():
    (row,) = tokenizer_mismatch.draw(answer("tokenizer_mismatch", 1))
    spans = (("window", (0.539591, 0.66111), "1.00"), ("unigrams", (2, 0), "\N{EN DASH}"))
    for span, effects, side in spans:
        marks = [r for r in drawn(row, "x", "low") if r["panel"] == span]
        assert [r["x"] for r in marks] == pytest.approx(effects, abs=1e-6)
        assert [r["text"] for r in marks] == [f"\N{GREEK SMALL LETTER RHO} {side}", ""]
    assert names_of(row) == ["a / bytes", "a / llama2"]


def test_too_few_documents_leave_the_correlation():
    (row,) = tokenizer_mismatch.draw(answer("tokenizer_mismatch", 2))
    assert [r["x"] for r in drawn(row, "x", "low")] == [None, None]
    assert [r["text"] for r in drawn(row, "x", "low")] == ["\N{GREEK SMALL LETTER RHO} 1.00", ""]
    rows = answer("tokenizer_mismatch", 2)
    (row,) = tokenizer_mismatch.draw(pd.concat([rows, rows.assign(corpus="more", counted_corpus="more")]))
    assert names_of(row) == ["a, mine / bytes", "a, more / bytes"]
