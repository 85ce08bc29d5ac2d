"""Ids of a file beside those of the lake: what DuckDB finds, and what a dict would."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from memlake.ingest.results import ids
from memlake.tests.lakes import rows
from memlake.tests.small import make_lake

TEXTS = ["", "7", "007", "-7", " 7", "7 ", "1.0", "²", "٣", "1٣", "9" * 19, "9" * 20, str(2**63 - 1), str(2**63), "x7"]


def test_the_number_that_a_text_is():
    def plain(text: str) -> int | None:
        number = int(text) if text.isdecimal() and len(text) <= ids.DIGITS else None
        return None if number is None or number >= 2**63 else number

    for texts in (TEXTS, [t for t in TEXTS if t.isascii()], ["x"], []):
        assert ids.from_text(pa.array(texts, pa.string())).to_pylist() == [plain(t) for t in texts]


@pytest.mark.parametrize("at_once", [3, 100_000])
def test_what_is_new_and_what_is_held(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(ids, "ROWS", at_once)
    lake = make_lake(tmp_path / "lake")
    held = dict(rows(lake, "select sequence_id, anchor_id from stored.sequences"))
    draw = random.Random(3)
    own = [draw.choice([None, draw.randrange(1000), draw.choice(list(held))]) for _ in range(500)]
    made = [draw.choice([draw.randrange(200), draw.randrange(2**63), draw.choice(list(held))]) for _ in own]
    new: dict[int, int] = {}
    for place, (a, b) in enumerate(zip(own, made, strict=True)):
        if a not in held and b not in held:
            new.setdefault(b, place)

    with ids.candidates(lake) as compared:
        for at in range(0, 500, 17):
            piece = (pa.array(column[at : at + 17], pa.int64()) for column in (own, made))
            compared.add(at, *piece)
        found = compared.new()
        taken = [row for at in (0, 1, 1, 250, 499, 500, 900) for row in found.before(at).to_pylist()]
        assert taken == [{"position": place, "sequence_id": i} for i, place in new.items()]
        answer = compared.held()
        assert answer.before(40).to_pylist() + answer.before(500).to_pylist() == [
            {"position": place, "sequence_id": i, "anchor_id": held[i]} for place, i in enumerate(own) if i in held
        ]
        least = min(held)
        for low, high, expected in ((0, least - 1, False), (0, least, True), (least, least, True), (None, None, False)):
            assert compared.may_be_held(ids.Span(low, high)) is expected
    assert not list(lake.staging.glob("import-*"))


def test_a_span_is_that_of_all_ids():
    span = ids.Span()
    for piece, expected in (
        (None, (None, None)),
        (pa.array([None], pa.int64()), (None, None)),
        (pa.array([0, None, 5]), (0, 5)),
        (pa.array([3]), (0, 5)),
        (pa.array([9, 2]), (0, 9)),
    ):
        span.add(piece)
        assert (span.least, span.largest) == expected
