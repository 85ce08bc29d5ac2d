"""Anchors: which bytes may be one, which are drawn, and in what order."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import regex
from hypothesis import assume, given
from hypothesis import strategies as st

from memlake.ingest.hashing import mix
from memlake.ingest.sampling.anchors import APART, NOWHERE, between_spaces, choose, draw, draw_starts, spaces
from memlake.ingest.sampling.unspaced import LETTERS, boundaries, tables


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
    chosen = choose(spaces(text), 7, 100)
    assert len(chosen) > 10
    assert all(text[i : i + 1] == b" " for i in chosen)
    assert min(b - a for a, b in zip(sorted(chosen), sorted(chosen)[1:], strict=False)) >= APART
    for most in range(1, 11):
        assert choose(spaces(text), 7, most) == chosen[:most]
    assert choose(spaces(text), 8, 100) != chosen
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


SCRIPTS = {
    "Han": "上海是一座城市今天天气很好人々",
    "Japanese": "今日はデータベースのがぎぐﾊﾟｰティーを作ります",
    "Thai": "ประเทศไทยเป็นประเทศที่อยู่ในเอเชียตะวันออกเฉียงใต้น้ำ",
    "Lao": "ປະເທດລາວເປັນປະເທດທີ່ຢູ່ໃນອາຊີ",
    "Khmer": "ប្រទេសកម្ពុជាស្ថិតនៅក្នុងអាស៊ី",
    "Myanmar": "မြန်မာနိုင်ငံသည်အရှေ့တောင်အာရှတွင်ရှိသောနိုင်ငံဖြစ်သည်ဿုဒ္ဓ",
    "Tibetan": "བོད་ནི་ས་ཆ་ཞིག་ཡིན་པས",
}
OTHERS = " .,。、abé1\n\u0301\u200d🦆한글"


def in_utf8(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), dtype=np.uint8)


def clusters(text: str) -> list[int]:
    """Every byte at which a grapheme cluster ends, as another library has them."""
    return np.cumsum([len(c.encode()) for c in regex.findall(r"\X", text)]).tolist()


# A letter that stacks the next, past marks of another script: what no text has, and what `boundaries` does not look for
STACKED = regex.compile(
    r"\p{InCB=Linker}\p{M}*(?:(?<=\p{Script=Myanmar}\p{M}*)[\p{M}--\p{Script=Myanmar}]"
    r"|(?<=\p{Script=Khmer}\p{M}*)[\p{M}--\p{Script=Khmer}])",
    regex.V1,
)


@given(st.text(alphabet="".join(SCRIPTS.values()) + OTHERS, max_size=60))
def test_boundaries_are_those_of_grapheme_clusters(text):
    assume(not STACKED.search(text))
    found = boundaries(in_utf8(text)).tolist()
    assert set(found) <= set(clusters(text)) - {len(text.encode())}
    for byte in found:
        before, after = text.encode()[:byte].decode()[-1], text.encode()[byte:].decode()[0]
        assert before not in OTHERS and after not in OTHERS


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_script_has_boundaries(script):
    text = SCRIPTS[script]
    assert len(boundaries(in_utf8(text))) >= len(text) / 8
    if script == "Han":  # between any two ideographs
        assert boundaries(in_utf8(text)).tolist() == clusters(text)[:-2]  # not before 々


def test_no_letter_of_the_tables_joins_the_one_before():
    begins, follows = (np.flatnonzero(t) for t in tables())
    some = [int(p) for p in begins if p < 0x20000 and not 0x3500 < p < 0x9F00 and not 0xA010 < p < 0xA480]
    ends = [int(p) for p in follows if p < 0x3400] + [0x4E00, 0x20000]
    for last in ends[::7]:
        joined = [first for first in some if len(regex.findall(r"\X", chr(last) + chr(first))) != 2]
        assert not joined
    for script, ranges in LETTERS.items():
        letters = [chr(p) for a, b in ranges for p in (a, b)]
        assert all(regex.match(rf"[\p{{Script={script.replace(' ', '_')}}}\p{{Cn}}]", c) for c in letters), script


def test_plain_text_has_no_other_boundaries():
    for text in (
        "the quick brown fox",
        "ÀÉ größer",
        "Москва и не",
        "한국어 문장은 띄어쓰기를",
        "हिन्दी में",
        "العربية",
        "🦆🦆",
        "",
    ):
        assert not len(boundaries(in_utf8(text)))


@pytest.mark.parametrize("gaps", [[], [10], [600], [1500], [100, 1023, 1200], [511], [512], [513], [1535, 1536]])
def test_anchors_without_spaces_stand_apart_from_spaces(gaps):
    """Chinese with a single space after so many bytes each, against a plain loop."""
    text = " ".join("中" * (n // 3) for n in [*gaps, 700]).encode()
    at = spaces(text)
    assert len(at) == len(gaps)
    plain = [b for b in boundaries(np.frombuffer(text, np.uint8)).tolist() if all(abs(b - s) >= APART for s in at)]
    assert between_spaces(text, at).tolist() == plain


def test_anchors_of_text_with_spaces_do_not_move():
    english, chinese = words(400, 1), ("天" * 900).encode()
    mixed = english + chinese + english
    drawn, full = draw([(1, mixed)], seed=3, most=99)
    alone, _ = draw([(1, english + b"x" * len(chinese) + english)], seed=3, most=99)
    assert not full and drawn.unspaced and not alone.unspaced
    assert set(alone.anchor.tolist()) == {a for a in drawn.anchor.tolist() if mixed[a : a + 1] == b" "}
    more = sorted(set(drawn.anchor.tolist()) - set(alone.anchor.tolist()))
    assert len(more) >= 2 and all(b - a >= APART for a, b in pairwise(more))
    only, _ = draw(documents(20), seed=3, most=8)
    assert not only.unspaced
