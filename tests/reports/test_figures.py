"""What the figures draw, apart from how it looks."""

from __future__ import annotations

import json
import re

import altair as alt
import numpy as np
import pandas as pd
import pytest

from memlake.queries.ask import connect, snapshot
from memlake.queries.finding import find, names
from memlake.reports.figures import _models as models
from memlake.reports.figures import _style as style
from memlake.reports.figures import byte_rate, dose_response, scaling_law, score_distribution, shared_memorization
from memlake.warehouse import shelf


@pytest.fixture(scope="module")
def rows(lake) -> dict[str, pd.DataFrame]:
    con = connect(lake, snapshot(lake))
    return {name: con.execute(find(name).text).to_arrow_table().to_pandas() for name in names()}


def test_each_figure_is_of_a_finding_and_asks_a_question():
    figures = shelf.names("memlake.reports.figures")
    assert figures and set(figures) <= set(names())
    for name in figures:
        question, _, caption = shelf.take("memlake.reports.figures", name, "figure").__doc__.partition("\n")
        assert question.endswith("?") and len(caption.strip()) > 80


def test_the_dots_of_the_scaling_law_are_those_the_finding_fits(rows):
    dots, compared = scaling_law.points(rows["memorization_rate"]), 0
    for fit in rows["scaling_law"].itertuples():
        own = dots[(dots["family"] == fit.family) & (dots["corpus"] == fit.corpus)]
        assert len(own) == fit.models == 3
        if fit.note == "nothing varies":
            assert own["rate"].nunique() == 1 and np.isnan(fit.slope)
            continue
        slope, intercept = np.polyfit(np.log10(own["params"]), 100 * own["rate"], 1)
        assert (slope, intercept) == pytest.approx((fit.slope, fit.intercept), abs=1e-6)
        compared += slope > 1
    assert compared == 2  # both families grow on what they trained on


def test_a_domain_that_one_model_lacks_moves_no_dot(rows):
    rates = rows["memorization_rate"]
    lacking = rates[~((rates["model"] == "mini-pythia-100k") & (rates["domain"] == "code"))]
    dot = scaling_law.points(lacking).query("model == 'mini-pythia-1m' and role == 'trained'")["rate"].item()
    assert dot == rates.query("model == 'mini-pythia-1m' and role == 'trained' and domain != 'code'")["rate"].item()


def test_too_few_sizes_draw_dots_and_no_line():
    fit = pd.Series({"note": "too few", "models": 2, "sizes": 2, "domains": 4})
    assert scaling_law._notes(fit) == ["too few: no line", "models 2, sizes 2, domains 4"]
    fit = pd.Series(
        {"note": None, "slope": 12.34, "slope_low": None, "slope_high": None, "sample_low": -1.26, "sample_high": 26.0},
        dtype=object,
    )
    assert scaling_law._notes(fit) == [
        "+12.3 points per tenfold size",
        "other models: not known",
        "other texts: \N{MINUS SIGN}1.3 to +26.0",
    ]


def test_zero_exposures_stand_apart_on_the_logarithmic_axis(rows):
    panel = dose_response.draw(rows["dose_response"])[0].to_dict()
    x = sorted({row["x"] for data in panel["datasets"].values() for row in data if "low" in row})
    assert x[:3] == [0.85 * dose_response.ZERO, dose_response.ZERO, 1]  # control text, never shown, shown once
    assert dose_response.draw(rows["dose_response"].assign(mean_dose=np.nan)) == []


def test_observed_stands_below_the_diagonal_and_independence_above(rows):
    pair = rows["shared_memorization"].query("model_a == 'mini-pythia-100k' and model_b == 'mini-pythia-1m'")
    assert len(pair) == 1
    chart = shared_memorization.draw(pair, rows["memorization_rate"])[0].to_dict()
    cells = {(r["x"], r["y"]): r["value"] for data in chart["datasets"].values() for r in data if "value" in r}
    assert cells == {(0, 1): pair["jaccard"].item(), (1, 0): pair["expected_jaccard"].item()}
    assert cells[0, 1] != cells[1, 0]
    assert shared_memorization.draw(pair.assign(n=0), rows["memorization_rate"]) == []


def histogram(rows: pd.DataFrame) -> dict[float, float]:
    """Share by left edge of each step of the one curve drawn."""
    (panel,) = score_distribution.draw(rows)
    steps = max(panel.to_dict()["datasets"].values(), key=len)
    return {row["x"]: row["y"] for row in steps}


def test_scores_of_unlike_lengths_meet_in_sixteenths():
    about = {"family": "pythia", "miniature": True, "model": "m", "params": 1e6, "corpus": "c", "role": "trained"}
    rows = [about | {"n": 4, "n_tokens": n, "n_match": k, "sequences": 0} for n in (2, 3) for k in range(n + 1)]
    for row, sequences in zip(rows, (1, 2, 1, 0, 0, 3, 1), strict=True):
        row["sequences"] = sequences
    # of 2 tokens: 0 once, 1 (8/16) twice, 2 once; of 3: 2 (10.67/16) three times, 3 once
    got = histogram(pd.DataFrame(rows))
    assert {x: y for x, y in got.items() if y} == {-0.5: 1 / 8, 7.5: 2 / 8, 9.5: 3 / 8, 15.5: 2 / 8, 16.5: 2 / 8}
    only = histogram(pd.DataFrame(rows[:3]))
    assert only == {-0.5: 1 / 4, 0.5: 2 / 4, 1.5: 1 / 4, 2.5: 1 / 4}


def test_panels_pair_each_corpus_with_the_controls():
    rows = pd.DataFrame(
        [
            ("olmo2", False, "b", 2e9, "mix", "trained"),
            ("olmo2", False, "a", 1e9, "mix", "trained"),
            ("olmo2", False, "a", 1e9, "other", None),
            ("olmo2", False, "b", 2e9, "held", "control"),
            ("pythia", True, "c", None, "held", "control"),
        ],
        columns=["family", "miniature", "model", "params", "corpus", "role"],
    )
    mix, other, held = style.panels(rows)
    assert (mix.models, other.models, held.models) == (["a", "b"], ["a"], ["c"])
    assert [p.title.subtitle for p in (mix, other, held)] == [
        "trained on mix",
        "on other, role not known",
        "control text only",
    ]
    assert len(mix.control) == 1 and held.studied.empty
    assert (mix.label("b"), held.label("c")) == ("2B", "c")


def test_a_family_has_one_colour_whether_we_know_it_or_not():
    known = {
        "pythia": "#0072B2", "gpt_neo": "#D98600", "open_llama": "#00855F", "starcoder": "#D55E00", "olmo": "#C9689A",
        "olmo2": "#9A4393", "olmo3": "#5F1A4F",
    }  # fmt: skip
    assert {family: style.colour(family) for family in known} == known
    strangers = [style.colour(family) for family in ("mine", "yours", "<b>")]
    assert len({*strangers, *known.values()}) == len(known) + 3
    assert all(re.fullmatch("#[0-9A-F]{6}", colour) for colour in strangers)
    assert sorted(["mine", *reversed(known), "a stranger"], key=style.rank) == [*known, "a stranger", "mine"]


def test_a_pale_colour_is_mixed_with_white():
    assert style.pale("#000000", 1) == "#000000" and style.pale("#000000", 0) == "#ffffff"


@pytest.mark.parametrize(
    ("params", "text"),
    [(99_000, "99k"), (1_050_000, "1.05M"), (999_900, "1M"), (1.4e9, "1.4B"), (12e9, "12B"), (None, "")],
)
def test_sizes_in_three_digits(params, text):
    assert style.size(params) == text


def test_the_pointer_names_conditions_where_a_model_has_several():
    rows = pd.DataFrame(
        {"model": ["a", "b"], "corpus": ["c", None], "condition": ["x", "y"], "v": [0.1234, None], "l": [0.1, None]}
    ).assign(h=0.2, n=[1234, None])
    said = style.tips(rows, "v", "l", "h", n="n")
    assert said == ["a, c: 12.3 % (10 % to 20 %), n 1,234", "b: not known"]
    assert style.tips(rows.assign(model="a"), "v", said=style.number, is_called="score") == [
        "a, c, x: score 0.123",
        "a, y: score not known",
    ]
    assert (style.number(-0.5), style.points(-0.0123)) == ("\N{MINUS SIGN}0.5", "\N{MINUS SIGN}1.2 points")


def test_rows_of_panels_are_of_equal_length_and_share_the_names():
    for panels, widths in {1: [1], 4: [4], 7: [7], 8: [4, 4], 9: [5, 4], 20: [7, 7, 6]}.items():
        names = [f"d{i:02}" for i in range(panels)]
        data = pd.DataFrame({"panel": names, "x": 0.5, "low": 0.4, "high": 0.6, "y": 0.0, "colour": "red"})
        y = models.names({"a": 0.0, 'b "c"': 1.6}, 1.6)
        x = alt.X("x:Q")
        rows = models.across(data, names, [models.interval(x, y)], ["a", 'b "c"'], 100)
        drawn = [row.to_dict() for row in rows]
        assert [len(row["facet"]["column"]["sort"]) for row in drawn] == widths
        assert [name for row in drawn for name in row["facet"]["column"]["sort"]] == names
        axis = drawn[0]["spec"]["layer"][0]["encoding"]["y"]["axis"]
        assert axis["values"] == [0.0, 1.6] and json.loads(axis["labelExpr"].partition("[indexof")[0]) == ["a", 'b "c"']


def test_labels_that_would_overlap_move_apart():
    assert style.apart([0.0, 0.5, 0.51, 0.52], 0.1, 1) == pytest.approx([0.0, 0.5, 0.6, 0.7])
    assert style.apart([0.97, 0.98, 0.99], 0.1, 1) == pytest.approx([0.8, 0.9, 1.0])


@pytest.mark.parametrize(("largest", "end"), [(0.0, 0.01), (0.003, 0.01), (0.043, 0.05), (0.52, 0.6), (0.97, 1.0)])
def test_axes_end_at_round_numbers(largest, end):
    assert style.top(pd.Series([largest, 0.0])) == pytest.approx(end)


def test_bytes_are_drawn_where_enough_anchors_are_left():
    about = {"family": "pythia", "miniature": True, "params": 1e6, "corpus": "c", "role": "trained", "anchors": 100}
    rates = {"rate": 0.5, "low": 0.4, "high": 0.6, "bits_low": -1.0, "bits_high": 3.0, "note": None}
    rows = pd.DataFrame(
        [
            about | rates | {"model": "m", "horizon": 16, "n": 90, "bits_per_byte": 1.0},
            about | rates | {"model": "m", "horizon": 32, "n": 90, "bits_per_byte": 2.0},
            about | rates | {"model": "m", "horizon": 64, "n": 40, "bits_per_byte": 1.5},
            about
            | rates
            | {"model": "m", "horizon": 96, "n": 3, "rate": None, "bits_per_byte": None, "note": "too few"},
        ]
    )
    rates, bits = ([r for data in row.to_dict()["datasets"].values() for r in data] for row in byte_rate.draw(rows))
    assert [(dot["panel"], dot["x"], dot["low"], dot["high"]) for dot in rates] == [
        ("16 bytes\n90 of 100 anchors", 0.5, 0.4, 0.6),
        ("32 bytes\n90 of 100 anchors", 0.5, 0.4, 0.6),
        ("64 bytes\n40 of 100 anchors", 0.5, 0.4, 0.6),
    ]
    assert [(dot["panel"], dot["x"], dot["low"], dot["high"]) for dot in bits] == [
        ("c, 32 bytes\n90 of 100 anchors", 2.0, 0, 3.0)
    ]
    assert len(byte_rate.draw(rows.assign(bits_per_byte=None))) == 1
    assert byte_rate.draw(rows[3:]) == byte_rate.draw(rows[:0]) == []
