"""Rows with a defect never get into the lake, and quarantine names exactly the rows that have it."""

from __future__ import annotations

import subprocess
import sys
from math import inf, nan

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from memlake.tests.small import CONTINUATION, DOMAINS, MODEL, N, make_lake, match_cell, match_rows, put_cell
from memlake.warehouse import schema
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing import audit
from memlake.warehouse.publishing.audit import in_range
from memlake.warehouse.publishing.register import register
from memlake.warehouse.publishing.second_judge import out_of_range

DOMAIN = DOMAINS[0]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Lake:
    lake = make_lake(tmp_path_factory.mktemp("audit") / "lake")
    register(lake, "models", [MODEL | {"model": "other", "weights_digest": "sha256:2"}])
    register(lake, "conditions", [{"condition": "bfloat16 sdpa", "dtype": "bfloat16", "noise": 0.0, "bos": False}])
    return lake


def put(lake: Lake, rows: list[dict[str, object]], **more: object) -> str | None:
    """Stage and publish rows as a worker would; the reason of the quarantine, if any."""
    return put_cell(lake, match_cell(DOMAIN, **more), {"matches": rows})


def flip(bits: bytes, place: int) -> bytes:
    unpacked = np.unpackbits(np.frombuffer(bits, np.uint8))
    unpacked[place] ^= 1
    return np.packbits(unpacked).tobytes()


def shifted(row):
    """The likelihood slice begins one token late: the sum is no longer the sum of what is stored."""
    row["logprobs"] = [*row["logprobs"][1:], -9.0]


def doubled(rows, i):
    rows[i] = dict(rows[i + 1])


def verbatim_but_not(row):
    row["memorized"] = not row["memorized"]


def change(**values):
    return lambda row: row.update(values)


# name of the defect: (how it is made in row 4, expectation that catches it)
ROW_DEFECTS = {
    "flipped bit, greedy": (lambda r: r.update(match=flip(r["match"], 11)), "n_match_counts_bits"),
    "flipped bit, forced": (lambda r: r.update(forced_match=flip(r["forced_match"], 11)), "forced_n_match_counts_bits"),
    "bit after the end": (
        lambda r: r.update(match=flip(r["match"], 14), n_match=r["n_match"] + 1, score=(r["n_match"] + 1) / 12),
        "no_match_after_the_end",
    ),
    "first mismatch off by one": (
        lambda r: r.update(first_mismatch=r["first_mismatch"] + 1),
        "first_mismatch_of_forced",
    ),
    "shifted likelihood": (shifted, "sum_of_logprobs"),
    "-1 for missing": (change(min_margin=-1.0), "margin_not_negative"),
    "999 for missing": (change(log_p_z=999.0), "log_p_z_not_positive"),
    "NaN": (change(completion_entropy=float("nan")), "completion_entropy_finite"),
    "infinite in a list": (lambda r: r["logprobs"].__setitem__(3, -float("inf")), "logprobs_finite"),
    "positive log-probability": (lambda r: r["logprobs"].__setitem__(3, 0.25), "logprobs_not_positive"),
    "score in percent": (lambda r: r.update(score=100 * r["score"] + 1), "score_is_share"),
    "score truncated to 0 or 1": (lambda r: r.update(score=float(int(r["score"] + 0.5))), "score_is_share"),
    "verbatim flag wrong": (verbatim_but_not, "memorized_is_all_match"),
    "unknown sequence": (change(sequence_id=123), "sequence_known"),
    "length of another sequence": (change(n_tokens=CONTINUATION - 1), "sequence_known"),
    "unknown condition": (change(condition="float8"), "condition_known"),
    "list too short": (lambda r: r["logprobs"].pop(), "logprobs_per_token"),
    "key missing": (change(sequence_id=None), "sequence_id_present"),
}


@pytest.mark.parametrize("defect", ROW_DEFECTS)
def test_a_defect_is_quarantined_with_exactly_its_row(prepared, defect):
    spoil, caught_by = ROW_DEFECTS[defect]
    rows = match_rows(DOMAIN)
    spoil(rows[4])
    reason = put(prepared, rows, defect=defect)
    assert reason is not None and f"matches.{caught_by} (1)" in reason
    kept = pq.read_table(prepared.quarantine / match_cell(DOMAIN, defect=defect).id / "matches.parquet").to_pylist()
    assert [r["sequence_id"] for r in kept] == [rows[4]["sequence_id"]]
    assert caught_by in kept[0]["broken"]
    nothing_published(prepared)


def test_a_doubled_id_names_both_rows(prepared):
    rows = match_rows(DOMAIN)
    doubled(rows, 5)
    assert "matches.key_unique (2)" in put(prepared, rows, defect="doubled")
    kept = pq.read_table(prepared.quarantine / match_cell(DOMAIN, defect="doubled").id / "matches.parquet").to_pylist()
    assert [r["sequence_id"] for r in kept] == [rows[5]["sequence_id"]] * 2
    nothing_published(prepared)


def test_a_missing_row(prepared):
    assert f"matches.row_count_as_planned ({N - 1})" in put(prepared, match_rows(DOMAIN)[:-1], defect="missing")
    nothing_published(prepared)


def test_a_wrong_model_spoils_every_row(prepared):
    rows = [r | {"model": "other"} for r in match_rows(DOMAIN)]
    assert f"matches.model_of_the_cell ({N})" in put(prepared, rows, defect="model")
    nothing_published(prepared)


def test_absurd_likelihoods_all_over(prepared):
    """No row breaks a rule, but their mean is out of the plausible range (here: bits of a softmax over noise)."""
    rows = [r | {"logprobs": [-90.0] * CONTINUATION, "sum_logprob": -90.0 * CONTINUATION} for r in match_rows(DOMAIN)]
    assert "matches.logprob_a_token (-90)" in put(prepared, rows, defect="absurd")
    nothing_published(prepared)


def test_rows_that_another_cell_published(tmp_path):
    lake = make_lake(tmp_path / "lake", DOMAINS[:1])
    assert put(lake, match_rows(DOMAIN)) is None
    assert f"matches.key_not_published ({N})" in put(lake, match_rows(DOMAIN), again=True)
    with lake.connect(["matches"]) as con:
        assert con.execute("select count(*), count(distinct sequence_id) from stored.matches").fetchone() == (N, N)


def test_checks_tell_what_was_judged(prepared):
    put(prepared, match_rows(DOMAIN)[:-1], defect="told")
    cell = match_cell(DOMAIN, defect="told").id
    with prepared.connect(["checks", "cells"]) as con:
        failed = con.execute(
            "select expectation, observed, quarantined from stored.checks where cell = ? and not passed", [cell]
        ).fetchall()
        passed = con.execute("select count(*) from stored.checks where cell = ? and passed", [cell]).fetchone()[0]
        outcome = con.execute("select outcome, rows from stored.cells where cell = ?", [cell]).fetchall()
    assert failed == [("row_count_as_planned", N - 1, f"quarantine/{cell}")]
    assert passed > 30
    assert outcome == [("quarantined", 0)]


def test_good_rows_meet_every_expectation(prepared):
    """The other tests would pass if every row failed."""
    rows = pa.Table.from_pylist(match_rows(DOMAIN))
    with prepared.connect() as con:
        con.execute("create view published as from stored.matches")
        con.register("made", rows)
        spec = schema.table("matches")
        columns = ", ".join("'x' as cell" if c.name == "cell" else f'"{c.name}"' for c in spec.columns)
        con.execute("set variable cell = 'x'; set variable model = 'm'")
        con.execute(f"create view rows as select {columns} from made")
        (profile,) = audit.profile(con, spec)
    broken = {e.name: profile[e.name] for e in spec.expectations if isinstance(e, audit.Expect) and profile[e.name]}
    assert broken == {}


def nothing_published(lake: Lake) -> None:
    assert lake.files("matches") == []
    with lake.connect(["matches"]) as con:
        assert con.execute("select count(*) from stored.matches").fetchone() == (0,)


NUMBERS = st.sampled_from([0, 1, -1, 0.1 + 0.2, 0.3, inf, -inf, nan, 2**53]) | st.integers(-3, 3) | st.floats()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.none() | NUMBERS, NUMBERS, NUMBERS)))
@example([])
@example([(None, 0, 0)])
@example([(None, 0, 0), (1, 1, 1), (nan, -inf, inf), (inf, 0, inf), (-inf, -inf, 0), (1, 2, 0), (0.1 + 0.2, 0.3, 0.3)])
def test_both_judges_agree(numbers):
    """What publication compares itself, and what Great Expectations says of the same numbers in `warehouse check`."""
    assert out_of_range(numbers) == {i for i, number in enumerate(numbers) if not in_range(*number)}


@pytest.mark.parametrize(
    ("observed", "low", "high", "good"),
    [
        (None, 0, 0, True),
        (0, 0, 0, True),
        (1, 0, 0, False),
        (nan, -inf, inf, False),
        (inf, 0, inf, True),
        (-40.0, -40, 0, True),
        (-40.1, -40, 0, False),
    ],
)
def test_a_number_and_its_range(observed, low, high, good):
    assert in_range(observed, low, high) is good
    assert out_of_range([(observed, low, high)]) == (set() if good else {0})


def test_publication_does_not_wait_for_great_expectations(tmp_path):
    """Its import takes seconds, in which the lake's lock on publication would be held."""
    program = (
        "import sys; from memlake.tests.small import *; lake = Lake.create(sys.argv[1]);"
        " row = {'tokenizer': 't', 'source': 'made', 'digest': 'sha256:1', 'vocab_size': 100};"
        " register(lake, 'tokenizers', [row]); cell = ingest_cell('c++');"
        " rows = {name: piece.to_pylist() for name, piece in cell.rows(lake)};"
        " assert put_cell(lake, cell, rows) is None and len(lake.files('sequences')) == 1;"
        " print('great_expectations' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", program, str(tmp_path / "lake")], capture_output=True, text=True)
    assert said.stdout == "False\n", said.stderr


def test_rows_that_cannot_be_judged_are_quarantined(prepared, monkeypatch):
    """A predicate that DuckDB refuses on these rows ends their publication, not the program."""
    monkeypatch.setattr(audit, "profile", lambda con, spec, *_: con.execute("select 'memorized'::int").fetchall())
    reason = put(prepared, match_rows(DOMAIN), defect="not judged")
    assert reason.startswith("quarantined: matches.judged without error: Conversion Error: Could not convert string")
    nothing_published(prepared)
