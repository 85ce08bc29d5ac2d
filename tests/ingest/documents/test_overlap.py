"""The 200-byte rule, by brute force."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memlake.ingest.documents.overlap import SPAN, Spans


def shares(question: bytes, texts: list[bytes]) -> bool:
    return any(question[i : i + SPAN] in t for t in texts for i in range(len(question) - SPAN + 1))


@pytest.mark.parametrize("length", [199, 200, 201])
@pytest.mark.parametrize("at", [0, 1, 99, 100, 137, 800])
def test_exactly_200_bytes_are_found_wherever_they_stand(length, at):
    draw = random.Random(at)
    text, other = draw.randbytes(1000), draw.randbytes(1000)
    common = text[at : at + length]
    # The bytes around are all 0 in the question, so that no chance makes the common span longer.
    for before in (0, 1, 57, 300):
        question = bytes(before) + common + bytes(50)
        expected = len(common) >= SPAN
        assert Spans([other, text]).occur(question) == expected == shares(question, [other, text])


def test_a_span_does_not_reach_over_the_border_of_two_texts():
    draw = random.Random(1)
    a, b = draw.randbytes(150), draw.randbytes(350)
    assert not Spans([a, b]).occur(a + b[:60])
    assert not Spans([a + b[:100], b[100:]]).occur(b[:199])
    assert Spans([a, b]).occur(a + b[:200])


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_as_brute_force_says(data):
    # Few letters and long runs: equal blocks everywhere, most of which lead nowhere.
    run = st.tuples(st.sampled_from([b"a", b"ab", b"aab"]), st.integers(1, 180)).map(lambda r: (r[0] * r[1])[: r[1]])
    text = st.lists(run, max_size=6).map(b"".join)
    texts = data.draw(st.lists(text, max_size=3))
    question = data.draw(text)
    if texts and data.draw(st.booleans()):
        source = data.draw(st.sampled_from(texts))
        start = data.draw(st.integers(0, len(source)))
        question = question + source[start : start + data.draw(st.integers(150, 250))] + data.draw(text)
    assert Spans(texts).occur(question) == shares(question, texts)


def test_nothing_is_shared_with_nothing():
    assert not Spans([]).occur(bytes(1000))
    assert not Spans([bytes(1000)]).occur(b"")
    assert Spans([bytes(1000)]).occur(bytes(200))
