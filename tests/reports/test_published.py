"""Published values beside ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from queries.ask import connect, snapshot
from reports import published

OURS = {"quantity": "memorization_rate", "family": "pythia", "value": 0.1, "low": 0.05, "high": 0.2}
MINI = OURS | {"model": "mini-pythia-1m", "miniature": True, "params": 1e6}
SMALL = OURS | {"model": "pythia-160m", "miniature": False, "params": 160e6}
LARGE = OURS | {"model": "pythia-12b", "miniature": False, "params": 12e9}


def value(model: str, quantity: str = "memorization_rate") -> published.Published:
    (found,) = (p for p in published.values() if p.model == model and p.quantity == quantity)
    return found


def test_every_row_of_the_files_is_a_value():
    lines = sum(len(f.read_text().splitlines()) - 1 for f in (Path(published.HERE)).glob("*.csv"))
    assert len(published.values()) == lines == 31
    assert value("pythia-12b").value == 2382326 / 146432000
    assert value("pythia-12b-deduped").value == 1871215 / 146432000
    assert value("pythia-12b", "structural_share_of_memorized").standing == "stated by readers"
    assert all(p.family for p in published.values())


@pytest.mark.parametrize(
    ("ours", "row", "label"),
    [
        ([], None, "no row of ours"),
        ([MINI], MINI, "not comparable: miniature"),
        ([MINI, SMALL], SMALL, "not comparable: another model"),
        ([MINI, SMALL, LARGE], LARGE, "same model, another sample"),
        ([LARGE | {"family": "olmo", "model": "olmo-12b"}], None, "no row of ours"),
        ([LARGE | {"miniature": True}], LARGE | {"miniature": True}, "not comparable: miniature"),
    ],
)
def test_the_very_model_else_the_nearest_with_its_label(ours, row, label):
    assert published._nearest(value("pythia-12b"), ours) == (row, label)


def test_what_we_do_not_measure_says_so():
    p = value("Olmo-3-1125-32B", "universal_heads")
    assert published._nearest(p, [LARGE]) == (None, "no row of ours: not measured yet")


def test_the_highest_of_a_family_is_met_by_our_highest():
    p = value("starcoder (highest)")
    ours = [r | {"family": "starcoder"} for r in (SMALL | {"value": 0.3}, LARGE, MINI | {"value": 0.9})]
    assert published._nearest(p, ours)[0] is ours[0]


def test_ours_is_what_plain_counting_gives(lake):
    con = connect(lake, snapshot(lake))
    ours = {(r["quantity"], r["model"]): r for r in con.execute(published.OURS).to_arrow_table().to_pylist()}
    assert len(ours) == 12  # 6 models, two quantities; no noise was run
    rows = con.execute("select domain, role, memorized from matches join model_corpora using (model, corpus)"
                       " where model = 'mini-pythia-1m'").fetchall()  # fmt: skip
    kept = [domain for domain, role, memorized in rows if role == "trained" and memorized]
    trained = [domain for domain, role, _ in rows if role == "trained"]
    assert 0 < len(kept) < len(trained) == 32
    rate = ours["memorization_rate", "mini-pythia-1m"]
    assert rate["value"] == len(kept) / 32 and 0 < rate["low"] < rate["value"] < rate["high"] < 1
    structural = ours["structural_share_of_memorized", "mini-pythia-1m"]
    assert structural["value"] == kept.count("code") / len(kept)


def test_the_table_labels_every_value(text):
    section = text.split('<section id="published">')[1].split("</section>")[0]
    lines = section.split("<tr>")[2:]
    assert len(lines) == 31
    assert sum("not comparable: miniature" in line for line in lines) == 17  # 16 counts and one share of pythia
    assert sum("no row of ours" in line for line in lines) == 14
    assert "1.63 %" in section and "released counts: 2,382,326" in section and "read off a figure" in section
