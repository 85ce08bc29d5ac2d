"""What a text gives away: windows labelled by hand, the two numbers against plain computations, and the cells."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from dataclasses import asdict
from functools import cache

import pytest

from memlake.ingest.sampling import guessability
from memlake.ingest.sampling.guessability import guess, huffman_length, next_number, rouge_l
from memlake.ingest.sampling.sample import sample
from memlake.tests.ingest import tokenizers
from memlake.tests.lakes import publish_rows, rows
from memlake.warehouse.errors import Conflict
from memlake.warehouse.publishing.check import check
from memlake.warehouse.publishing.forget import forget

from .test_sample import fill, text


def flags(window: str, cut: int | None = None) -> str:
    """`t`, `i`, `r` for the flags of a window cut at this byte, or near its middle, at a blank if there is one."""
    data = window.encode()
    middle = len(data) // 2
    near = [i for i in range(middle - 15, middle + 15) if data[i] in b" \n"]
    cut = min(near, key=lambda i: abs(i - middle), default=middle) if cut is None else cut
    found = guess(data[:cut], data[cut:])
    return "".join(name[0] for name in ("templated", "incrementing", "repeating") if getattr(found, name))


def lines(row: str, *columns) -> str:
    return "".join(row.format(*values) + "\n" for values in zip(*columns, strict=True))


REPEATING = [
    "Go Go Go Go Go Go Go Go Go Go Go Go Go",
    "-" * 80,
    " " * 64,
    "0xff, " * 20,
    "return False;\n" * 6,
    "naïve café " * 8,
    "<td></td>\n<td> </td>\n" * 5 + "<td></",  # the last one breaks off
    "# The end of the header.\n" + "=" * 100,  # other text before, in the first half of the prefix
    "0, 1, " * 15,
    "const at::Tensor &, " * 8,
]
INCREMENTING = [
    lines("- {}.", range(128, 150)),
    ", ".join(map(str, range(1, 60))),
    " ".join(map(str, range(40, 5, -1))),
    " ".join(f"{i:03d}" for i in range(90, 120)),
    ", ".join(map(str, range(10, 700, 25))),
    lines("2019-03-{:02d},open", range(3, 20)),
    lines("2021-04-05 10:20:{} INFO heartbeat ok", range(11, 18)),
    lines("assertEqual(f({0}), {0})", range(1, 9)),
    lines("    #define REG{} 0x{:02X}", range(20), range(0, 80, 4)),
    lines("case 0x{:x}: return {};", range(0xF5, 0x105), range(16)),
    "23: 0xf1, 24: 0xf2, 25: 0xf3, 26: 0xf4, 27: 0xf5, 28: 0xf6",
    "and so it begins:\n" + lines("    groupmatchstr{}", range(3, 12)) + "    groupmatchstr1",  # 12 breaks off
]
TEMPLATED = [
    lines("np.{}(a)  # type: ignore because it is of numpy", ["log", "exp", "cos", "sin", "tan", "abs"]),
    "}\n    }\n  }\n}\n  }\n    }\n}\n  }\n    }\n  }\n}\n",  # no words, only white space that differs
    "spam, " * 20 + "spat",
    ", ".join(map(str, [*range(1, 40), 41, 42])),
]
NEITHER = {
    "prose": "The quick brown fox jumps over the lazy dog and then the dog goes home to sleep until the fox returns",
    "licence": "Permission is hereby granted, free of charge, to any person obtaining a copy of this software and"
    " associated documentation files (the 'Software'), to deal in the Software without restriction, including",
    "code": "def add(a, b):\n    return a + b\n\n\ndef take(a, b):\n    return a - b\n\n\ndef times(a, b):\n",
    "imports": lines("import {}", ["os", "re", "sys", "json", "time", "random", "logging", "heapq", "math"]),
    "from imports": lines("from {} import {}", "abcdefgh", "stuvwxyz"),
    "csv": "3.14,2.71,1.41\n0.57,1.61,2.23\n9.80,6.67,1.38\n8.31,6.02,1.60\n4.18,2.99,1.05\n",
    "bits": "0, 1, 1, 0, 0, 1, 0, 1, 1, 1, 0, 1, 0, 0, 0, 1, 0, 1, 1, 0, 1, 0, 0, 1,",
    "table of numbers": lines("| {} | {} |", [12, 19, 4, 51, 7, 88, 3, 60], [7, 3, 88, 6, 15, 2, 91, 40]),
    "cells of a table": lines('<td class="num">{}</td>', [5, 12, 3, 44, 9, 71]),
    "log": "2021-04-05 10:20:11 INFO started\n2021-04-05 10:20:12 INFO read config\n2021-04-05 10:20:14 WARN no"
    " cache\n2021-04-05 10:20:19 INFO listening on 8080\n",
    "squares": lines("assertEqual(square({}), {})", range(3, 12), [i * i for i in range(3, 12)]),
    "counts up, with new words": lines("{}. {}", range(1, 9), ["ab", "cd", "ef", "gh", "ij", "kl", "mn", "op"]),
    "rises in unequal steps": "1, 3, 4, 8, 9, 15, 16, 22, 30, 31, 40, 42, 50, 57, 60, 61, 70, 75",
    "years in prose": "In 2001, 2002, 2003 and 2004 the company grew by 3, 4, 5 and 6 per cent; in 2005 it fell by 4",
    "once more": "a text that stands here twice. a text that stands here twice.",  # the prefix shows no return
    "only the prefix repeats": "spam " * 10 + "and then came something else to break it all up",
    "only the continuation repeats": "here stood something else that had no spam in it " + "spam " * 10,
}


@pytest.mark.parametrize("window", REPEATING)
def test_one_piece_again_and_again_is_repeating(window):
    assert flags(window) == "tr"


@pytest.mark.parametrize("window", INCREMENTING)
def test_numbers_that_count_in_repeated_text_are_incrementing(window):
    assert flags(window) == "ti"


@pytest.mark.parametrize("window", TEMPLATED)
def test_nearly_all_of_the_words_given_is_templated(window):
    assert flags(window) == "t"


@pytest.mark.parametrize("kind", NEITHER)
def test_a_known_form_of_unknown_content_has_no_flag(kind):
    assert flags(NEITHER[kind]) == ""


def test_the_prefix_must_show_the_return():
    piece = "0123456789"  # 15 bytes hold it one and a half times
    assert [flags(piece * 4, cut) for cut in (0, 10, 14, 15, 39)] == ["", "", "", "tr", "tr"]
    counted = ", ".join(map(str, range(100, 120)))  # two numbers and their commas show the step
    assert [flags(counted, cut) for cut in (0, 5, 9, 10)] == ["", "", "", "ti"]


def test_the_repetition_is_the_one_that_trying_every_period_finds():
    draw, found = random.Random(0), Counter()
    for _ in range(4000):
        piece = bytes(draw.choices(b"ab", k=draw.randint(1, 6)))
        window = bytes(draw.choices(b"ab", k=draw.randint(0, 5))) + piece * draw.randint(1, 6)
        window = window[: max(2, len(window) - draw.randint(0, 3))]
        cut = draw.randint(0, len(window) - 1)
        expected = any(
            all(window[i] == window[i - p] for i in range(begin + p, len(window)))
            for p in range(1, cut + 1)
            for begin in range(cut // 2 + 1)
            if cut - begin >= 1.5 * p and len(window) - begin >= 2 * p
        )
        assert guess(window[:cut], window[cut:]).repeating == expected
        found[expected] += 1
    assert min(found[True], found[False]) > 500


@pytest.mark.parametrize(
    ("first", "second", "third"),
    [
        *[("8", "9", "10"), ("08", "09", "10"), ("098", "099", "100"), ("11", "10", "9"), ("02", "01", "00")],
        *[("0xFE", "0xff", "0x100"), ("0x08", "0x09", "0x0a")],
        *[("7", "3", None), ("0x1", "2", None), ("1" * 40, "2" * 40, None)],
    ],
)
def test_the_next_number_is_written_as_the_last(first, second, third):
    assert next_number(first, second) == third


def code_lengths(weights: list[int]) -> int:
    """Fewest bits of any prefix code, without Huffman's algorithm: the smallest sum over all lengths that Kraft's
    inequality admits."""
    lengths = itertools.product(range(1, len(weights)), repeat=len(weights))
    return min(sum(map(int.__mul__, weights, n)) for n in lengths if sum(2.0**-i for i in n) <= 1)


def test_huffman_codes_are_as_short_as_any():
    draw = random.Random(0)
    for _ in range(60):
        weights = [draw.randint(1, 9) for _ in range(draw.randint(2, 5))]
        data = b"".join(bytes([97 + i]) * w for i, w in enumerate(weights))
        assert huffman_length(data) == pytest.approx(code_lengths(weights) / len(data))
    assert huffman_length(b"aaaa") == 0 and huffman_length(b"abab") == 1 and huffman_length(bytes(range(256))) == 8
    assert huffman_length(b"aaaabbc") == pytest.approx(10 / 7)  # a: 1 bit, b and c: 2 bits


def test_a_huffman_code_is_within_a_bit_of_the_entropy():
    draw = random.Random(1)
    for _ in range(200):
        data = bytes(int(draw.expovariate(0.05)) % 256 for _ in range(draw.randint(2, 300)))
        entropy = -sum(n / len(data) * math.log2(n / len(data)) for n in Counter(data).values())
        assert entropy - 1e-9 <= huffman_length(data) < entropy + 1


def test_rouge_l_is_the_f1_of_the_longest_common_subsequence():
    # Lin 2004, section 3.2: "police killed the gunman" against two candidates, LCS 3 and 2 of 4 words each
    assert rouge_l("police killed the gunman", "Police kill the gunman") == pytest.approx(3 / 4)
    assert rouge_l("police killed the gunman", "the gunman kill police") == pytest.approx(2 / 4)
    assert rouge_l("a b", "a x y z") == pytest.approx(2 * 1 / 6)
    assert rouge_l("", "a") is None and rouge_l("...", "a") is None and rouge_l("a", "!") is None
    draw = random.Random(2)
    for _ in range(300):
        left, right = (draw.choices("abcdef", k=draw.randint(1, 90)) for _ in range(2))

        @cache
        def common(i: int, j: int, left=tuple(left), right=tuple(right)) -> int:
            if i == len(left) or j == len(right):
                return 0
            if left[i] == right[j]:
                return 1 + common(i + 1, j + 1)
            return max(common(i + 1, j), common(i, j + 1))

        expected = 2 * common(0, 0) / (len(left) + len(right))
        assert rouge_l(" ".join(left), " ".join(right)) == pytest.approx(expected)


def test_any_bytes_have_measures():
    draw = random.Random(3)
    for n in (1, 2, 7, 200):
        for _ in range(100):
            data = bytes(draw.choices(draw.choice([range(256), b"0x1\xff\n", b"a1 "]), k=n))
            found = guess(data[: n // 2], data[n // 2 :])
            assert 0 <= found.huffman_length <= 8 and (found.rouge_l is None or 0 <= found.rouge_l <= 1)
            assert found.templated or not (found.incrementing or found.repeating)
    assert guess(b"", b"a") == guessability.Guess(False, False, False, 0.0, None)
    guess(b"9" * 6000, b"9" * 6000)  # Python refuses to read a number so long


@pytest.fixture
def neox(tmp_path):
    return tokenizers.saved(tokenizers.byte_level(nfc=True), tmp_path / "neox")


@pytest.fixture
def llama(tmp_path):
    return tokenizers.saved(tokenizers.sentencepiece(), tmp_path / "llama")


MEASURED = (
    "select s.tokenizer, text, byte_start, byte_cut, byte_end, templated, incrementing, repeating, huffman_length,"
    " rouge_l from stored.guessability g join stored.sequences s using (sequence_id, corpus, domain, tokenizer)"
    " join stored.documents using (document_id)"
)


def test_sampling_measures_each_sequence_by_the_bytes_of_its_document(lake, tmp_path, neox, llama):
    counting = " ".join(map(str, range(100, 400)))
    fill(lake, tmp_path / "in", [text(i) for i in range(6)] + [counting, "go " * 400])
    summary, _ = sample(lake, ["mine"], [neox, llama], window="20+12")
    assert not summary.failed
    found = rows(lake, MEASURED)
    assert len(found) == rows(lake, "select count(*) from stored.sequences")[0][0] > 10
    for tokenizer, full, start, cut, end, *measured in found:
        data = full.encode()
        assert measured == list(asdict(guess(data[start:cut], data[cut:end])).values()), tokenizer
    assert {name for name, *_ in found} == {"neox", "llama"}
    assert {tuple(m[5:8]) for m in found} == {(False,) * 3, (True, True, False), (True, False, True)}


def test_a_second_sample_only_adds_and_what_was_left_undone_is_done(lake, tmp_path, neox, monkeypatch):
    fill(lake, tmp_path / "in", [text(i) for i in range(12)])
    cells = "select distinct cell from stored.guessability order by all"
    with monkeypatch.context() as patch:
        patch.setattr(guessability, "huffman_length", lambda data: 9.0)  # no row passes the audit
        summary, _ = sample(lake, ["mine"], [neox], per_domain=5, window="8+8")
        assert [cell.experiment for cell, _ in summary.failed] == ["guessability"]
        assert "huffman_length_of_bytes (5)" in summary.failed[0][1]
    summary, _ = sample(lake, ["mine"], [neox], per_domain=5, window="8+8")
    assert not summary.failed and rows(lake, "select count(*) from stored.guessability") == [(5,)]
    first = rows(lake, cells)
    assert guessability.cells(lake, {"neox": neox}) == []
    sample(lake, ["mine"], [neox], per_domain=9, window="8+8")
    assert rows(lake, "select count(*) from stored.guessability") == [(9,)]
    assert len(rows(lake, cells)) == 2 and first[0] in rows(lake, cells)
    with pytest.raises(Conflict, match=r"1 cell stands on it \(1 of guessability: c1-"):
        forget(lake, cell=rows(lake, "select cell from stored.sequences where rank = 0")[0][0])
    forget(lake, cell=first[0][0])  # what is taken back is measured again
    assert not sample(lake, ["mine"], [neox], per_domain=9, window="8+8")[0].failed
    assert rows(lake, "select count(*) from stored.guessability") == [(9,)] and list(check(lake)) == []


def test_imported_sequences_take_the_same_road(lake, tmp_path, neox):
    """One of known tokens, one without tokens, one with a token that the tokenizer does not have."""
    fill(lake, tmp_path / "in", [text(0)])
    sample(lake, ["mine"], [neox], per_domain=1)  # registers the tokenizer
    ids = tokenizers.byte_level(nfc=True).encode("go go go go go go go go").ids
    row = {
        "corpus": "listed",
        "domain": "duped",
        "tokenizer": "neox",
        "sample": "imported-c1",
        "shard": 0,
        "n_tokens": 4,
    }
    tokens = {1: ids, 2: [], 3: [*ids[:-1], 99_999]}
    imported = [
        row | {"sequence_id": i, "external_id": str(i), "rank": i, "tokens": t, "prefix_tokens": max(len(t) - 4, 0)}
        for i, t in tokens.items()
    ]
    publish_rows(lake, "listed", "sequences", imported)
    summary, _ = sample(lake, ["mine"], [neox], per_domain=1)
    assert not summary.failed
    assert rows(lake, "select sequence_id, repeating from stored.guessability where sequence_id < 4") == [(1, True)]
    again, _ = sample(lake, ["mine"], [neox], per_domain=1)
    assert not again.failed
