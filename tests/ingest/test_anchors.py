"""Anchors: which bytes may be one, which are drawn, and in what order."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.anchors import APART, NOWHERE, choose, draw, draw_starts, mix, spaces


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", []),
        (b"ab", []),
        (b"a b", [1]),
        (b" a b ", [2]),  # neither at the start nor at the end
        (b"a  b c", [4]),  # two spaces are no single one
        (b"a\n b \tc d", [7]),  # nor is one beside other white space
        ("é ü".encode(), [2]),  # bytes, not characters
    ],
)
def test_an_anchor_is_a_single_space_between_two_words(text, expected):
    assert spaces(text).tolist() == expected


@given(st.text(alphabet="ab \n\t", max_size=40))
def test_spaces_as_a_plain_loop_finds_them(text):
    white = " \t\n\r\v\f"
    plain = [
        i for i in range(1, len(text) - 1) if text[i] == " " and text[i - 1] not in white and text[i + 1] not in white
    ]
    assert spaces(text.encode()).tolist() == plain


def test_mix_is_splitmix64():
    # First output of SplitMix64 seeded with 0, from Vigna's reference code: 0xE220A8397B1DCDAF.
    assert int(mix(0, np.array([1]))[0]) == 0xE220A8397B1DCDAF


def words(n: int, seed: int) -> bytes:
    draw_word = random.Random(seed)
    return " ".join("x" * draw_word.randrange(1, 12) for _ in range(n)).encode()


def test_anchors_of_a_document_stand_apart_and_more_only_append():
    text = words(2000, 1)
    chosen = choose(text, 7, 100)
    assert len(chosen) > 10
    assert all(text[i : i + 1] == b" " for i in chosen)
    assert min(b - a for a, b in zip(sorted(chosen), sorted(chosen)[1:], strict=False)) >= APART
    for most in range(1, 11):
        assert choose(text, 7, most) == chosen[:most]
    assert choose(text, 8, 100) != chosen
    # No space is left that stands far from all of them.
    assert all(min(abs(i - c) for c in chosen) < APART for i in spaces(text).tolist())


def documents(n: int) -> list[tuple[int, bytes]]:
    return [(1000 + i, words(20 + 37 * (i % 11), i)) for i in range(n)]


def pairs(drawn) -> list[tuple[int, int]]:
    return list(zip(drawn.document_id.tolist(), drawn.anchor.tolist(), strict=True))


def test_the_order_does_not_depend_on_that_of_the_documents():
    given_documents = documents(60)
    drawn, full = draw(given_documents, seed=3, most=8)
    assert not full and len(drawn) > 100
    random.Random(0).shuffle(given_documents)
    again, _ = draw(given_documents, seed=3, most=8)
    assert pairs(again) == pairs(drawn)
    other, _ = draw(given_documents, seed=4, most=8)
    assert pairs(other) != pairs(drawn)


def test_first_anchors_come_first_and_fewer_levels_are_a_beginning():
    drawn, _ = draw(documents(60), seed=3, most=8)
    assert set(drawn.document_id[:60].tolist()) == {1000 + i for i in range(60)}
    for most in (1, 2):
        fewer, full = draw(documents(60), seed=3, most=most)
        assert full
        assert pairs(drawn)[: len(fewer)] == pairs(fewer)


def test_long_documents_do_not_come_first():
    # 400 documents, half of them 50 times as long: of the first 200, about half are long (standard deviation 5).
    found = Counter()
    given_documents = [(i, words(1000 if i % 2 else 20, i)) for i in range(400)]
    drawn, _ = draw(given_documents, seed=0, most=1)
    found.update(i % 2 for i in drawn.document_id[:200].tolist())
    assert 75 <= found[1] <= 125


def test_starts_are_one_a_document_in_any_order():
    drawn = draw_starts([5, 6, 7, 8], seed=1)
    assert sorted(drawn.document_id.tolist()) == [5, 6, 7, 8]
    assert set(drawn.anchor.tolist()) == {NOWHERE}
    assert pairs(draw_starts([8, 5, 7, 6], seed=1)) == pairs(drawn)
