"""Claims: sentences that the rows of findings support, and none that they do not."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pyarrow as pa
import pytest

from memlake.queries import finding
from memlake.queries.ask import OpenLake
from memlake.reports import chapters, claim
from memlake.reports.answers import Answers
from memlake.reports.claim import Estimate, Words
from memlake.warehouse.lake import Lake

LEVEL = {"says": "the model has {} of it", "unit": "%"}
EFFECT = {"whether": "it grows", "more": "it is {} more", "less": "it is {} less", "unit": "percentage points"}


def estimate(family: str, value: float = math.nan, low: float = math.nan, high: float = math.nan, **more):
    return Estimate(**{"family": family, "model": "m", "corpus": "c", "sample": "s", "value": value, "low": low,
                       "high": high} | more)  # fmt: skip


def say(words: dict[str, str], *estimates: Estimate, families: tuple[str, ...] = ()) -> list[str]:
    return list(Words(words, estimates).sentences(families))


def test_a_level_is_told_from_the_least_family_to_the_largest():
    a, b, c = estimate("a", 0.204, 0.15, 0.29), estimate("b", 0.05, 0.031, 0.082), estimate("c", 0.1, 0.07, 0.2)
    assert say(LEVEL, a, b, c) == [
        "Across 3 families, the model has 5.0 % (b: 3.1 to 8.2) to 20 % (a: 15 to 29) of it."
    ]
    assert say(LEVEL, b) == ["In b, the model has 5.0 % (b: 3.1 to 8.2) of it."]
    assert say(LEVEL) == say(EFFECT) == []


def test_a_family_stands_apart_only_where_its_interval_meets_no_other():
    a, b, c = (estimate(f, v, v - 0.02, v + 0.02) for f, v in (("a", 0.1), ("b", 0.13), ("c", 0.3)))
    assert say(LEVEL, a, b, c)[1:] == ["c stands apart, above all others."]
    assert say(LEVEL, a, replace(b, value=0.28, low=0.26, high=0.3), c)[1:] == ["a stands apart, below all others."]
    assert say(LEVEL, a, c)[1:] == []  # of two, which one?
    assert say(LEVEL, a, b, replace(c, low=0.149))[1:] == []


def test_levels_of_different_text_are_not_compared():
    a, b, c = (estimate(f, v, v - 0.02, v + 0.02) for f, v in (("a", 0.1), ("b", 0.2), ("c", 0.3)))
    assert say(LEVEL, a, b, replace(c, corpus="d"))[1:] == [
        "These are not of one text and measurement, and not compared with one another: a, b (c, s); c (d, s)."
    ]
    assert say(LEVEL, a, b, replace(c, sample="t"))[1:] == [
        "These are not of one text and measurement, and not compared with one another: a, b (c, s); c (c, t)."
    ]


def test_an_effect_is_claimed_of_those_whose_interval_excludes_none():
    up, down = estimate("up", 0.05, 0.01, 0.09, none=0), estimate("down", -0.05, -0.09, -0.01, none=0)
    flat = estimate("flat", 0.01, -0.03, 0.05, none=0)
    assert say(EFFECT, up) == ["In up it is 5.0 percentage points (up: 1.0 to 9.0) more."]
    assert say(EFFECT, down) == ["In down it is 5.0 percentage points (down: 1.0 to 9.0) less."]
    assert say(EFFECT, flat) == [
        "Whether it grows cannot be told.",
        "In flat the interval includes no effect: 1.0 percentage points (flat: \N{MINUS SIGN}3.0 to 5.0).",
    ]
    assert say(EFFECT, up, down, flat) == [
        "In 1 of 3 families it is 5.0 percentage points (up: 1.0 to 9.0) more.",
        "In 1 of 3 families it is 5.0 percentage points (down: 1.0 to 9.0) less.",
        "In 1 of 3 families the interval includes no effect: 1.0 percentage points (flat: \N{MINUS SIGN}3.0 to 5.0).",
    ]
    assert say(EFFECT, up, replace(up, family="also"))[0].startswith(
        "In both families it is 5.0 percentage points (also:"
    )
    for end in (replace(up, low=0.0), replace(down, high=0.0)):  # an interval that touches it includes it
        assert say(EFFECT, end)[0] == "Whether it grows cannot be told."


def test_of_an_effect_below_none_the_sizes_are_told_from_the_least():
    some = [estimate(f, -v, -v - 0.01, -v + 0.01, none=0) for f, v in (("a", 0.2), ("b", 0.1), ("c", 0.15))]
    assert say(EFFECT | {"unit": "times"}, *some)[0] == (
        "In all 3 families it is 0.100 times (b: 0.090 to 0.110) to 0.200 times (a: 0.190 to 0.210) less."
    )


def test_ratios_and_chances_are_not_turned():
    times = {"whether": "it grows", "more": "it is {} as much", "less": "it is {} as much", "unit": "times"}
    assert say(times, estimate("a", 0.5, 0.25, 0.75, none=1)) == ["In a it is 0.50 times (a: 0.25 to 0.75) as much."]
    assert say(times, estimate("a", 2, 1.5, math.inf, none=1)) == ["In a it is 2.00 times (a: 1.50 or more) as much."]


def test_where_a_permutation_tells_p_stands_for_the_interval():
    words = {"whether": "it is", "more": "{} more than chance", "less": "{} less", "unit": "%"}
    sure, open_ = estimate("a", 0.2, p=0.016, none=0.08), estimate("b", 0.1, p=0.3, none=0.08)
    assert say(words, sure, open_) == [
        "In 1 of 2 families 20.00 % (a: p = 0.016, 8 % by chance) more than chance.",
        "In 1 of 2 families chance does as much: 10.00 % (b: p = 0.3, 8 % by chance).",
    ]


def test_what_has_no_estimate_is_named_with_its_reason():
    a = estimate("a", 0.1, 0.05, 0.15, none=0)
    b, c = estimate("b", note="too few"), estimate("c", 0.1, none=0)
    assert say(EFFECT, a, b, c, families=("a", "b", "c", "d"))[1:] == [
        "No estimate: b (too few); c (no interval); d (not measured)."
    ]
    assert say(EFFECT, b) == ["Whether it grows cannot be told.", "No estimate: b (too few)."]
    assert say(EFFECT, families=("a",)) == []  # nothing was measured: no word about it


def test_a_family_of_several_corpora_is_told_by_corpus():
    a, b = estimate("a", 0.1, 0.05, 0.15, none=0), estimate("a", 0.2, 0.1, 0.3, corpus="d", none=0)
    assert say(EFFECT | {"unit": "%"}, a, b) == [
        "In all 2 families and corpora it is 10 % (a on c: 5 to 15) to 20 % (a on d: 10 to 30) more."
    ]


@pytest.fixture(scope="module")
def answers(lake) -> Answers:
    opened = OpenLake(lake.path)
    return Answers(lambda name: opened.sql(finding.find(name).text).to_pyarrow())


@pytest.mark.parametrize("name", claim.names())
def test_each_claim_has_something_to_say_of_a_full_lake(answers, name):
    assert name in finding.names()
    (said,) = claim.read(answers, [name])
    assert said.estimates and said.sentences
    assert {e.family for e in said.estimates if e.is_told} or "No estimate" in said.sentences[-1]


@pytest.mark.parametrize("name", claim.names())
def test_no_rows_support_no_sentence(tmp_path, name):
    opened = OpenLake(Lake.create(tmp_path / "lake").path)
    (said,) = claim.read(Answers(lambda name: opened.sql(finding.find(name).text).to_pyarrow()), [name], ["pythia"])
    assert said.estimates == [] and said.sentences == []


def test_first_screens_name_what_can_say_something():
    first = {name for chapter in chapters.chapters() for name in chapter.first}
    assert first - set(claim.names()) == {"checks", "published"}


def largest(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each family its largest model on what it trained on."""
    rows = rows[rows["role"] == "trained"] if "role" in rows else rows
    return rows[rows["params"] == rows.groupby("family")["params"].transform("max")]


def estimates(answers: dict[str, pa.Table], name: str) -> pd.DataFrame:
    (said,) = claim.read(answers, [name])
    return pd.DataFrame([e.__dict__ for e in said.estimates]).set_index("family").sort_index()


@pytest.mark.parametrize(
    ("name", "row", "value", "low", "high"),
    [
        ("corpus_rate", {"weighted_by": "bytes"}, "rate", "low", "high"),
        ("structural_share", {"weighted_by": "bytes"}, "ratio", "ratio_low", "ratio_high"),
        ("byte_rate", {"horizon": 32}, "rate", "low", "high"),
        ("decoding_depth", {"group": "memorized"}, "difference", "difference_low", "difference_high"),
        ("noise_rate", {"group": "memorized", "noise": 0.1, "noise_scope": "token"}, "rate", "low", "high"),
    ],
)
def test_what_the_largest_model_of_each_family_shows(answers, name, row, value, low, high):
    rows = largest(answers[name].to_pandas())
    for column, wanted in row.items():
        rows = rows[rows[column] == wanted]
    found = estimates(answers, name)
    assert len(rows) == len(found) == 2
    for column, of in {"value": value, "low": low, "high": high}.items():
        expected = rows.set_index("family").sort_index()[of].astype(float)
        assert found[column].astype(float).tolist() == pytest.approx(expected.tolist(), nan_ok=True)


def test_domains_are_weighted_by_what_was_compared_of_them(answers):
    """Beside the finding's rows, with a control of unlike numbers in each domain, and one farther in size."""
    rows = [
        {"family": "f", "model": "f-2", "miniature": False, "params": params, "corpus": "c", "sample_rule": "space",
         "sample_window": "32+32", "condition": "b", "domain": domain, "class": "x", "control": control,
         "control_params": size, "control_corpus": "c", "control_condition": "b", "basis": basis, "horizon": 32, "n": n,
         "n_control": n, "documents": n, "left_out": 0.0, "rate": rate, "control_rate": 0.0, "adjusted_rate": rate,
         "low": rate - error, "high": rate + 2 * error}
        for params, control, size, basis, domain, n, rate, error in [
            (10.0, "near", 12.0, "anchor", "a", 100, 0.2, 0.03),
            (10.0, "near", 12.0, "anchor", "b", 300, 0.1, 0.02),
            (10.0, "near", 12.0, "sequence", "a", 900, 0.9, 0.01),
            (10.0, "far", 90.0, "anchor", "a", 700, 0.7, 0.01),
            (10.0, "far", 90.0, "anchor", "b", 700, 0.7, 0.01),
            (10.0, "same", 10.0, "anchor", "a", 800, 0.8, 0.01),  # the nearest, but on one domain of two
            (10.0, "f-2", 10.0, "held-out corpus", "a", 500, 0.8, 0.01),
        ]
    ]  # fmt: skip
    found = estimates({"control_adjusted_rate": pa.Table.from_pylist(rows)}, "control_adjusted_rate").loc["f"]
    assert found["value"] == pytest.approx(0.25 * 0.2 + 0.75 * 0.1)
    error = math.hypot(0.25 * 0.03, 0.75 * 0.02)
    assert (found["low"], found["high"]) == pytest.approx((found["value"] - error, found["value"] + 2 * error))


def test_doses_are_compared_from_the_least_to_the_most(answers):
    rows = answers["dose_response"].to_pandas()
    rows = largest(rows[(rows["dose"] == "exposures") & (rows["documents"] >= 10) & (rows["at_least"] >= 1)])
    found = estimates(answers, "dose_response")
    for family, of_family in rows.groupby("family"):
        ends = of_family.sort_values("at_least")
        least, most = ends.iloc[0], ends.iloc[-1]
        value = most["rate"] - least["rate"]
        assert found.loc[family, "value"] == pytest.approx(value)
        low = value - math.hypot(most["rate"] - most["low"], least["high"] - least["rate"])  # Newcombe 1998, method 10
        assert found.loc[family, "low"] == pytest.approx(low)


def test_a_family_s_two_largest_models_are_compared_with_chance(answers):
    rows = answers["shared_memorization"].to_pandas()
    found = estimates(answers, "shared_memorization")
    sizes = answers["corpus_rate"].to_pandas().drop_duplicates("model").set_index("model")
    rows = rows[(rows["role_a"] == "trained") & (rows["role_b"] == "trained")]
    for family in found.index:
        of_family = sizes[sizes["family"] == family].sort_values("params", ascending=False).index[:2]
        (row,) = rows[rows["model_a"].isin(of_family) & rows["model_b"].isin(of_family)].to_dict("records")
        assert found.loc[family, ["value", "low", "high", "none"]].tolist() == [
            row["jaccard"], row["low"], row["high"], row["expected_jaccard"]
        ]  # fmt: skip


def test_published_models_come_before_miniatures_and_one_sample_before_others(answers):
    rows = answers["corpus_rate"].to_pylist()
    mine = next(r for r in rows if r["role"] == "trained" and r["weighted_by"] == "bytes")
    mine |= {"sample_rule": "space", "sample_window": "32+32"}
    real = mine | {"family": "real", "model": "real-1b", "miniature": False, "params": 1e9, "rate": 0.5}
    other = real | {"sample_rule": "start", "rate": 0.9}
    schema = answers["corpus_rate"].schema
    found = estimates({"corpus_rate": pa.Table.from_pylist([*rows, other, real], schema=schema)}, "corpus_rate")
    assert found.index.tolist() == ["real"] and found["value"].tolist() == [0.5]


def test_the_same_rows_in_any_order_say_the_same(answers):
    for name in claim.names():
        (said,) = claim.read(answers, [name], ["absent"])
        turned = {n: rows.take(list(range(len(rows)))[::-1]) for n, rows in answers.items()}
        (again,) = claim.read(turned, [name], ["absent"])
        assert again == said


def test_a_p_is_one_of_as_many_as_there_are_families(answers):
    rows = largest(answers["universal_heads"].to_pandas())
    rows = rows[rows["method"] == "peer_mean"].set_index("family").sort_index()
    found = estimates(answers, "universal_heads")
    assert found["value"].tolist() == rows["universal_share"].tolist()
    assert found["none"].tolist() == rows["expected_by_layer_share"].tolist()
    low, high = sorted(rows["p_by_layer"])  # Holm, of two
    assert sorted(found["p"]) == pytest.approx([min(1, 2 * low), max(min(1, 2 * low), high)])


def changed(answers, name: str, *rows: dict[str, object]) -> dict[str, pa.Table]:
    """The answers with more rows, each the first of a trained model but for these values."""
    found = answers[name].to_pylist()
    first = next(r for r in found if r.get("role") == "trained" and r.get("weighted_by", "bytes") == "bytes")
    more = [first | row for row in rows]
    return {name: pa.Table.from_pylist([*found, *more], schema=answers[name].schema)}


def test_what_is_memorized_by_selection_is_no_rate(answers):
    released = {"corpus": "memorized_evals", "sample_rule": "imported", "sample_window": None, "rate": 1.0}
    assert estimates(changed(answers, "corpus_rate", released), "corpus_rate")["value"].max() < 1


def test_a_sample_is_chosen_among_what_a_model_trained_on(answers):
    """Control text was sampled as it should be, the training text otherwise."""
    new = {"family": "new", "model": "new-1b", "sample_rule": "start", "rate": 0.25}
    control = new | {"role": "control", "sample_rule": "space", "sample_window": "32+32", "rate": 0.75}
    found = estimates(changed(answers, "corpus_rate", new, control), "corpus_rate")
    assert found.loc["new", "value"] == 0.25 and found.loc["new", "sample"].startswith("start")


def test_a_published_control_does_not_hide_miniatures(answers):
    control = {"family": "real", "model": "real-1b", "miniature": False, "role": "control"}
    found = changed(answers, "corpus_rate", control)
    assert len(estimates(found, "corpus_rate")) == 2
    (said,) = claim.read(found, ["corpus_rate"], published=True)
    assert said.sentences[0] == "Of miniatures:"
    both = changed(answers, "corpus_rate", control | {"role": "trained"}) | {
        "shared_memorization": answers["shared_memorization"]  # which does not tell what is a miniature
    }
    for claimed in claim.read(both, ["corpus_rate", "shared_memorization"], published=True):
        assert claimed.sentences[0] != "Of miniatures:"


def test_where_the_domains_bytes_are_not_known_the_sample_is_told_as_that(answers):
    unknown = {"family": "new", "model": "new-1b", "rate": None, "low": None, "high": None}
    sampled = {"family": "new", "model": "new-1b", "weighted_by": "sample", "rate": 0.5, "low": 0.4, "high": 0.6}
    found = estimates(changed(answers, "corpus_rate", unknown, sampled), "corpus_rate")
    assert found.loc["new", "value"] == 0.5 and "as sampled" in found.loc["new", "sample"]


def test_a_revision_is_no_second_model(answers):
    """`m@step10` is nearly the same model as `m`: the two would have nearly all in common."""
    sizes, pairs = answers["corpus_rate"].to_pylist(), answers["shared_memorization"].to_pylist()
    first = next(r for r in pairs if r["role_a"] == r["role_b"] == "trained")
    of = next(r for r in sizes if r["model"] == first["model_a"])
    more = [of | {"family": "new", "model": m, "params": p} for m, p in (("n", 9), ("n@step10", 9), ("o", 5))]
    named = [first | {"model_a": "n", "model_b": b, "jaccard": j} for b, j in (("n@step10", 0.99), ("o", 0.5))]
    found = estimates(
        {
            "corpus_rate": pa.Table.from_pylist([*sizes, *more], schema=answers["corpus_rate"].schema),
            "shared_memorization": pa.Table.from_pylist([*pairs, *named], schema=answers["shared_memorization"].schema),
        },
        "shared_memorization",
    )
    assert (found.loc["new", "model"], found.loc["new", "value"]) == ("n, o", 0.5)
