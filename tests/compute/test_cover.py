"""Which sequences an experiment takes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from compute import cover
from compute.cover import Ask, _contrast
from compute.run import Request
from warehouse.errors import Conflict


def plainly(ids, memorized, entropy) -> set[int]:
    """The definition, one memorized sequence after the other."""
    others = [i for i, m in enumerate(memorized) if not m]
    take = {i for i, m in enumerate(memorized) if m}
    for i in sorted(take):
        if others:
            take.add(min(others, key=lambda o: (abs(entropy[o] - entropy[i]), ids[o])))
    return take | set(others[: sum(memorized)])


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(20))
def test_contrast_takes_the_nearest_in_entropy_and_as_many_at_random(seed, share):
    rng = np.random.default_rng(seed)
    n = 40
    ids = rng.permutation(10 * n)[:n]
    memorized = rng.random(n) < share
    entropy = rng.integers(0, 12, n) / 4.0  # with many ties
    rows = pa.table({"sequence_id": ids, "memorized": memorized, "completion_entropy": entropy})
    taken = set(np.flatnonzero(_contrast(rows).to_numpy(zero_copy_only=False)))
    assert taken == plainly(ids, memorized, entropy)


PLACE = {"corpus": "c", "domain": "d", "sample": "s"}


def covered(monkeypatch, ask: Ask, *done: dict, limit: int | None = None) -> list[tuple]:
    """What `cover` gives for ten ranks: (first rank, last rank, number, the list, published)."""
    cells = [PLACE | {"model": "m"} | d for d in done]
    monkeypatch.setattr(cover, "published", lambda lake, experiment: [("cell", c) for c in cells])
    monkeypatch.setattr(cover, "_shards", lambda *_: [(PLACE, list(range(10)))])

    class Subject:
        tokenizer = "t"

    found = cover.cover(None, Subject(), Request(models=("m",), corpora=("c",), limit=limit), ask)
    return [(s["first_rank"], s["last_rank"], n, s.get("strengths"), s in cells) for s, n in found]


def ranks(first: int, last: int, **more) -> dict:
    return {"first_rank": first, "last_rank": last, **more}


def test_items_that_are_missing_in_the_same_ranks_share_a_cell(monkeypatch):
    ask = Ask("noise", {"model": "m"}, items=("strengths", [0.1, 0.2, 0.3, 0.4]))
    done = ranks(0, 9, strengths=[0.1]), ranks(0, 4, strengths=[0.2, 0.5])
    assert covered(monkeypatch, ask, *done) == [
        (0, 9, 10, [0.1], True),
        (0, 4, 5, [0.2, 0.5], True),
        (5, 9, 5, [0.2], False),
        (0, 9, 10, [0.3, 0.4], False),
    ]
    other = Ask("noise", {"model": "other"}, items=("strengths", [0.1]))
    assert covered(monkeypatch, other, *done, limit=3) == [(0, 2, 3, [0.1], False)]


def test_published_cells_that_hold_less_than_is_asked_for_are_a_conflict(monkeypatch):
    def ask(among):
        return Ask("x", {"model": "m"}, {"among": (among, cover.AMONG)})

    done = ranks(0, 4, among="contrast")
    assert covered(monkeypatch, ask("memorized"), done) == [(0, 4, 5, None, True), (5, 9, 5, None, False)]
    with pytest.raises(Conflict, match="with --among contrast already"):
        covered(monkeypatch, ask("all"), done)


@pytest.mark.parametrize(
    ("limit", "expected"), [(3, [(0, 4, 3)]), (4, [(0, 4, 3), (9, 9, 1)]), (9, [(0, 4, 3), (9, 12, 2)])]
)
def test_a_limit_takes_the_first_sequences_of_a_sample(monkeypatch, limit, expected):
    """Not its first ranks: those that gave no sequence are missing, and others stand at the end in their place."""
    monkeypatch.setattr(cover, "published", lambda lake, experiment: [])
    shards = [(PLACE, [0, 2, 4]), (PLACE, [9, 12]), (PLACE | {"sample": "other"}, [7])]
    monkeypatch.setattr(cover, "_shards", lambda *_: shards)

    class Subject:
        tokenizer = "t"

    asked = Request(models=("m",), corpora=("c",), limit=limit)
    found = [
        (s["sample"], (s["first_rank"], s["last_rank"], n))
        for s, n in cover.cover(None, Subject(), asked, Ask("x", {}))
    ]
    assert [place for sample, place in found if sample == "s"] == expected
    assert [place for sample, place in found if sample == "other"] == [(7, 7, 1)]
