"""The whole page, and every finding and figure on it, of lakes that have next to nothing, or too much of one thing."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from altair.utils.schemapi import debug_mode

from memlake.queries import ask, catalog
from memlake.queries.finding import find, names
from memlake.reports import page
from memlake.reports.answers import Answers
from memlake.reports.downloads import Downloads
from memlake.tests.queries.conftest import done, drawn, put
from memlake.warehouse import schema
from memlake.warehouse.lake import Lake

from .conftest import page_of
from .made_up import DOMAINS, cells
from .test_page import Reader

Rows = dict[str, list[dict]]
SMALL = {"sizes": ["1m"], "domains": {d: DOMAINS[d] for d in ("code", "prose")}, "n": 12}


def made(**more: object) -> Rows:
    rows: Rows = {}
    for _, pieces in cells(["pythia"], **SMALL | more):
        for table, some in pieces:
            rows.setdefault(table, []).extend(some)
    return rows


def every(rows: Rows, table: str, **values: object) -> Rows:
    return rows | {table: [row | values for row in rows.get(table, [])]}


def one_row(rows: Rows) -> Rows:
    """One sequence, one row of each table that is about it."""
    first = rows["matches"][0]["sequence_id"]
    return {t: [r for r in some if r.get("sequence_id", first) == first][:1] for t, some in rows.items()}


def remembered(rows: Rows, memorized: bool) -> Rows:
    """All sequences are memorized, or none is, under noise too; what is measured of the memorized only goes with it."""
    n = 32 if memorized else 0
    match = (b"\xff" if memorized else b"\0") * 4
    score = {"match": match, "n_match": n, "score": n / 32, "forced_match": match, "forced_n_match": n}
    rows = every(rows, "matches", memorized=memorized, first_mismatch=n, matched_bytes=4 * n, **score)
    of_memorized = ("prompt_compression", "head_deltas", "head_effects", "head_screens", "block_deltas")
    return rows if memorized else {t: some for t, some in rows.items() if t not in of_memorized}


def not_decoded(rows: Rows) -> Rows:
    return every(rows, "matches", match=None, n_match=None, score=None)


def imported(rows: Rows) -> Rows:
    """Match vectors and nothing else: no probabilities, no documents, no sizes."""
    kept = {t: rows[t] for t in ("conditions", "models", "matches", "sequences")}
    kept = every(kept, "models", n_params=None)
    kept = every(kept, "sequences", document_id=None, external_id="x")
    return every(kept, "matches", sum_logprob=None, log_p_z=None, completion_entropy=None, forced_match=None,
                 forced_n_match=None)  # fmt: skip


def two_samples(rows: Rows) -> Rows:
    """All of it at spaces, and again, of other sequences, at the starts of documents."""
    sampled = [t for t in rows if catalog.sample_keys(t)]
    of_sequences = [t for t in rows if "sequence_id" in schema.table(t).schema.names]
    both = dict(rows)
    for t in {*sampled, *of_sequences}:
        both[t] = [row | {"cell": "one"} for row in rows[t]]
        both[t] += [row | {"cell": "two"} | {k: v ^ 1 for k, v in row.items() if k == "sequence_id"} for row in rows[t]]
    work = [
        drawn("a", "space", "32+32"),
        drawn("b", "start", "32+32"),
        done("one", sample="a"),
        done("two", sample="b"),
    ]
    return both | {"cells": [*rows["cells"], *work]}


LAKES: dict[str, Callable[[], Rows]] = {
    "nothing": dict,
    "models and texts, nothing measured": lambda: {t: some for t, some in made().items() if not catalog.sample_keys(t)},
    "one model": made,
    "two models": lambda: made(sizes=["100k", "1m"]),
    "one row": lambda: one_row(made()),
    "too few": lambda: made(n=2),
    "nothing memorized": lambda: remembered(made(), False),
    "everything memorized": lambda: remembered(made(), True),
    "one layer": lambda: made(layers=1),
    "one head": lambda: made(heads=1),
    "not decoded": lambda: not_decoded(made()),
    "imported": lambda: imported(made()),
    "roles not known": lambda: made() | {"model_corpora": []},
    "two samples": lambda: two_samples(made()),
}


@pytest.mark.parametrize("which", LAKES)
def test_the_page_of_a_small_lake_is_whole(tmp_path, which, monkeypatch):
    lake = Lake.create(tmp_path / "lake")
    if rows := LAKES[which]():
        put(lake, "everything", list(rows.items()))
    sections, failed = {}, {}
    with (
        ask.connect(lake, ask.snapshot(lake)) as con,
        debug_mode(False),
    ):
        answers = Answers(lambda name: con.execute(find(name).text).to_arrow_table())
        for name in names():
            try:
                sections[name] = page.of_finding(find(name), answers, (), Downloads("files"))
            except Exception as e:  # all that fail are named, not the first alone
                failed[name] = f"{type(e).__name__}: {e}"
    assert failed == {}
    monkeypatch.setattr(page, "of_finding", lambda finding, *_: sections[finding.name])
    text = page_of(lake)
    assert {attrs.get("id") for _, attrs in Reader(text).tags} > set(names())
    drawn = "".join(part.split("</svg>")[0] for part in text.split("<svg")[1:])
    assert not re.search(r"\b(NaN|nan|undefined|null|None|inf|Infinity)\b", drawn)
    assert (which in ("nothing", "models and texts, nothing measured")) == (drawn == "")
