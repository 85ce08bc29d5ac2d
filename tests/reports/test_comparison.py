"""Published values beside ours."""

from __future__ import annotations

from dataclasses import replace

import pytest

from memlake.queries.ask import connect, snapshot
from memlake.queries.finding import find
from memlake.reports import comparison
from memlake.reports.answers import Answers
from memlake.reports.comparison import Amount, Measured
from memlake.reports.page import TEMPLATES
from memlake.tests.queries.conftest import done, drawn
from memlake.tests.queries.findings import database

MINI = Measured("memorization_rate", "mini-pythia-1m", None, "pythia", True, 1e6, value=0.1, low=0.05, high=0.2)
SMALL = replace(MINI, model="pythia-160m", miniature=False, params=160e6)
LARGE = replace(MINI, model="pythia-12b-v0", miniature=False, params=12e9)


def value(model: str, quantity: str = "memorization_rate") -> comparison.Published:
    (found,) = (p for p in comparison.published_values() if p.model == model and p.quantity == quantity)
    return found


def test_every_row_of_the_files_is_a_value():
    lines = sum(len(f.read_text().splitlines()) - 1 for f in comparison.VALUES.glob("*.csv"))
    assert len(comparison.published_values()) == lines == 32
    assert value("pythia-12b-v0").value == 2382326 / 146432000
    assert value("pythia-12b-deduped-v0").value == 1871215 / 146432000
    assert value("pythia-12b", "structural_share_of_memorized").standing == "stated by readers"
    assert all(p.family for p in comparison.published_values())


@pytest.mark.parametrize(
    ("ours", "row", "label"),
    [
        ([], None, "no row of ours"),
        ([MINI], MINI, "not comparable: miniature"),
        ([MINI, SMALL], SMALL, "not comparable: another model"),
        ([MINI, SMALL, LARGE], LARGE, "same model, another sample"),
        ([replace(LARGE, model="pythia-12b")], replace(LARGE, model="pythia-12b"), "not comparable: another model"),
        ([replace(LARGE, family="olmo", model="olmo-12b")], None, "no row of ours"),
        ([replace(LARGE, miniature=True)], replace(LARGE, miniature=True), "not comparable: miniature"),
    ],
)
def test_the_very_model_else_the_nearest_with_its_label(ours, row, label):
    assert comparison._nearest(value("pythia-12b-v0"), ours) == (row, label)


def test_what_we_do_not_measure_says_so():
    p = replace(value("pythia-12b-v0"), quantity="half_life")
    assert comparison._nearest(p, [LARGE]) == (None, "no row of ours: not measured yet")


def test_a_number_for_a_whole_family_is_met_by_ours_for_the_family():
    p = value("pythia (within family)", "layer_profile_similarity")
    ours = Measured(p.quantity, "pythia", None, "pythia", miniature=False, params=None, value=0.4)
    assert comparison._nearest(p, [ours]) == (ours, "same family, our models")
    assert comparison._nearest(p, [replace(ours, miniature=True)])[1] == "not comparable: miniature"


def test_a_value_without_an_interval_has_none_in_print():
    measured = replace(SMALL, model="m", value=1 / 3, low=None, high=None)
    of_family = comparison._beside(measured, "jaccard")
    assert (of_family.value, of_family.low, of_family.of) == (Amount("0.333", "jaccard"), None, "m")
    measured = replace(measured, low=0.1, high=0.5, sample="space 32+32")
    line = comparison.Line(
        "12b", "rate", Amount("1 %"), comparison._beside(measured, "share"), "nearest", "quoted", "2603.21658"
    )
    html = TEMPLATES.get_template("comparison.html").render(section=comparison.Comparison([line]))
    assert "<td>33.3 % <small>(10 % to 50 %), m, space 32+32</small></td>" in html
    line = replace(line, ours=of_family)
    html = TEMPLATES.get_template("comparison.html").render(section=comparison.Comparison([line]))
    assert "<td>0.333 <small>jaccard</small> <small>m</small></td>" in html


def test_the_highest_of_a_family_is_met_by_our_highest():
    p = value("starcoder (highest)")
    ours = [replace(m, family="starcoder") for m in (replace(SMALL, value=0.3), LARGE, replace(MINI, value=0.9))]
    assert comparison._nearest(p, ours)[0] is ours[0]


def test_ours_is_what_plain_counting_gives(lake):
    con = connect(lake, snapshot(lake))
    ours = {
        (m.quantity, m.model): m
        for m in comparison.our_values(con, Answers(lambda name: con.execute(find(name).text).to_arrow_table()))
    }
    assert sum(q in ("memorization_rate", "structural_share_of_memorized") for q, _ in ours) == 12  # 6 models
    rows = con.execute("select domain, role, memorized from matches join model_corpora using (model, corpus)"
                       " where model = 'mini-pythia-1m'").fetchall()  # fmt: skip
    kept = [domain for domain, role, memorized in rows if role == "trained" and memorized]
    trained = [domain for domain, role, _ in rows if role == "trained"]
    assert 0 < len(kept) < len(trained) == 32
    rate = ours["memorization_rate", "mini-pythia-1m"]
    assert rate.value == len(kept) / 32 and 0 < rate.low < rate.value < rate.high < 1
    structural = ours["structural_share_of_memorized", "mini-pythia-1m"]
    assert structural.value == kept.count("code") / len(kept)


def test_what_is_measured_inside_a_model_is_what_its_finding_says():
    drops = {"code": (4, 3, 2, 1, 0), "legal": (4, 0, 2, 1, 3)}  # in layer 0; a tenth of it in layer 1
    given = {
        "models": "model family n_params n_layers n_heads base_condition miniature\n a pythia 1000 2 5 base false",
        "model_corpora": "model corpus role\n a mine trained\n a held control\n a memorized_evals trained",
        "conditions": "condition dtype attention noise noise_seed noise_layer noise_scope bos\n"
        "base f32 sdpa 0 NULL NULL NULL false\n half f32 sdpa 0.5 0 0 token false\n rows f32 sdpa 0.5 0 0 row false",
        "domains": "corpus domain class\n mine code structural\n mine legal free_text",
        "matches": "model sequence_id corpus domain condition memorized n_match forced_n_match n_tokens\n"
        "a 1 mine code rows true 4 4 4\n a 2 mine legal rows true 4 4 4\n"
        "a 1 mine code base true 4 4 4\n a 2 mine legal base true 4 4 4\n"
        "a 1 mine code half true 4 4 4\n a 2 mine legal half false 0 0 4\n"
        + "\n".join(f"a {i} memorized_evals duped base {str(i > 3).lower()} 4 4 4" for i in (3, 4, 5, 6)),
        "prompt_compression": "model sequence_id corpus domain condition window prefix_tokens shortest ratio successes"
        "\n a 1 mine code base suffix 4 1 0.25 \\xF0\n a 2 mine legal base suffix 4 3 0.75 \\x30\n"
        "a 2 mine legal base prefix 4 4 1 \\x10",
        "head_effects": "cell model corpus domain condition method layer head n mean_delta_logprob\n"
        + "\n".join(
            f"{domain} a mine {domain} base peer_mean {layer} {h} 2 {-drop / (1 + 9 * layer)}"
            for domain, of_layer in drops.items()
            for layer in (0, 1)
            for h, drop in enumerate(of_layer)
        ),
        "block_deltas": "model sequence_id corpus domain condition first_block last_block n_tokens n_match memorized"
        " completion_entropy\n a 1 mine code base 1 1 4 4 true 1\n a 2 mine legal base 1 1 4 1 false 1\n"
        "a 1 mine code base 0 0 4 0 false 1",
        "benchmark_scores": "model condition first_block last_block task metric value n\n"
        "a base NULL NULL piqa acc 0.75 9\n a base 1 1 piqa acc 0.5 9\n a base 0 0 piqa acc 0.125 9",
    }
    con = database(given)
    rows = comparison.our_values(con, Answers(lambda name: con.execute(find(name).text).to_arrow_table()))
    ours = {m.quantity: m for m in rows}
    assert len(ours) == len(rows)
    assert {quantity: m.value for quantity, m in ours.items()} == pytest.approx({
        "memorization_rate": 1,
        "structural_share_of_memorized": 0.5,
        "structural_share_of_memorized_noise_0.5": 1,
        "prompt_compression_at_most": 0.5,  # (1/4 + 3/4) / 2; the prefix window is another question
        "cross_domain_head_overlap": 1 / 3,  # of 10 heads 2 are important: {0, 1} and {0, 4} of layer 0
        "random_head_overlap": (16 / 45) / 3 + 1 / 45,  # one in common with chance 16/45, both with 1/45
        "universal_heads": 0.1,
        "exact_match_base": 0.75,  # of the released list, on the checkpoint itself
        "exact_match_last_block_short_circuited": 0.5,
        "token_accuracy_last_block_short_circuited": 5 / 8,
        "task_accuracy_base": 0.75,
        "task_accuracy_last_block_short_circuited": 0.5,
    })  # fmt: skip
    assert ours["exact_match_last_block_short_circuited"].low == pytest.approx(0.054621, abs=1e-6)


def samples(*of: tuple[str, str, str]) -> dict:
    """Cells called by their samples."""
    drawn_and_done = [row for name, rule, window in of for row in (drawn(name, rule, window), done(name, sample=name))]
    models = [{"model": "m", "family": "pythia", "n_params": 10, "base_condition": "c", "miniature": True}]
    roles = [{"model": "m", "corpus": c, "role": r} for c, r in (("mine", "trained"), ("held", "control"))]
    return {"models": models, "cells": drawn_and_done, "model_corpora": roles}


def measured(cell: str, corpus: str, i: int, memorized: bool, ratio: float) -> dict:
    return {"cell": cell, "sequence_id": i, "model": "m", "corpus": corpus, "domain": "d", "condition": "c",
            "memorized": memorized, "ratio": ratio, "window": "suffix"}  # fmt: skip


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        ([("a", "start", "32+32"), ("b", "space", "32+32")], ("space 32+32", 1.0, 0.2)),
        ([("a", "space", "64+64"), ("b", "start", "32+32")], ("space 64+64", 0.0, 0.6)),  # the first by name
        ([("a", "start", "32+32")], ("start 32+32", 0.0, 0.6)),
    ],
)
def test_ours_is_of_one_sample_and_names_it(of, expected):
    rows = [measured("a", "mine", 1, False, 0.6), measured("a", "mine", 2, False, 0.6),
            measured("b", "mine", 3, True, 0.2), measured("b", "held", 4, True, 0.2)]  # fmt: skip
    rows = [row for row in rows if row["cell"] in [name for name, *_ in of]]
    given = samples(*of)
    given["matches"] = [{k: v for k, v in r.items() if k not in ("ratio", "window")} for r in rows]
    given["prompt_compression"] = [{k: v for k, v in r.items() if k != "memorized"} for r in rows]
    con = database(given)
    ours = {
        m.quantity: (m.sample, m.value)
        for m in comparison.our_values(con, Answers(lambda name: con.execute(find(name).text).to_arrow_table()))
    }
    sample, rate, ratio = expected
    assert ours["memorization_rate"] == (sample, rate)
    assert ours["prompt_compression_at_most"] == (sample, pytest.approx(ratio))


def test_the_table_labels_every_value(text):
    section = text.split('<section id="published">')[1].split("</section>")[0]
    lines = section.split("<tr>")[2:]
    assert len(lines) == 32
    assert all(("not comparable: miniature" in line) != ("no row of ours" in line) for line in lines)
    counted = [line for line in lines if "released counts" in line]
    assert len(counted) == 16 and all("not comparable: miniature" in line for line in counted)
    assert sum("no row of ours" in line for line in lines) > 8  # of families that the lake does not hold
    assert "1.63 %" in section and "released counts: 2,382,326" in section and "read off a figure" in section
