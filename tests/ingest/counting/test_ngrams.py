"""Counts of n-grams beside those of a dictionary, on texts where nearly everything occurs nearly everywhere."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from memlake.ingest.counting import matcher
from memlake.ingest.counting.matcher import Matcher
from memlake.ingest.counting.ngrams import SPANS, Wanted, from_lengths, rows, wanted

NONE = -1


def asked_for(windows, cuts, text_hash=None) -> Wanted:
    tokens = np.array([t for w in windows for t in w], np.int32)
    offsets = from_lengths(np.array([len(w) for w in windows]))
    place = np.zeros(len(windows), np.int32)
    hashes = np.array(text_hash or [NONE] * len(windows))
    ids = np.arange(100, 100 + len(windows))
    return wanted(ids, place, np.array([["c", "d", "t"]]), tokens, offsets, offsets[:-1] + cuts, hashes)


def scanned(asked, documents, hashes=None, vocabulary=0, dtype=np.int32, batches=1) -> dict[str, list[list[int]]]:
    """For each span the counts of every sequence."""
    scan = Matcher(asked.spans, vocabulary or max([t for d in documents for t in d], default=0) + 1)
    hashes = np.array(hashes or [0] * len(documents), np.int64)
    for part in np.array_split(np.arange(len(documents)), batches):
        tokens = np.array([t for i in part for t in documents[i]], dtype)
        scan.add(tokens, np.array([len(documents[i]) for i in part], np.int64), hashes[part])
    assert scan.tokens == sum(map(len, documents))
    said = {"counted_corpus": "c", "counted_tokenizer": "t", "tokens_scanned": scan.tokens, "complete": True}
    found = [r for table in rows(asked, scan.counts(), **said) for r in table.to_pylist()]
    return {s: {r["sequence_id"] - 100: r["counts"] for r in found if r["span"] == s} for s in SPANS}


def plainly(windows, cuts, documents, hashes=(), text_hash=()) -> dict[str, dict[int, list[int]]]:
    """The same, by a dictionary of all that occurs."""
    longest = max(map(len, windows))
    seen = Counter(
        tuple(d[i : i + n]) for d in documents for i in range(len(d)) for n in range(1, longest + 1) if i + n <= len(d)
    )
    found = {name: {} for name in SPANS}
    for i, (w, cut) in enumerate(zip(windows, cuts, strict=True)):
        found["unigrams"][i] = [seen[(t,)] for t in w]
        if len(w) > 1:
            found["bigrams"][i] = [seen[pair] for pair in pairwise(w)]
        if cut < len(w):
            found["continuation"][i] = [seen[tuple(w[cut:])]]
        found["window"][i] = [seen[tuple(w)]]
        if text_hash and text_hash[i] != NONE:
            found["document"][i] = [list(hashes).count(text_hash[i])]
    return found


def made_up(seed: int, alphabet: int, documents: int = 40, windows: int = 60, longest: int = 40):
    draw = np.random.default_rng(seed)
    texts = [draw.integers(0, alphabet, draw.integers(0, longest)).tolist() for _ in range(documents)]
    texts += [*texts[:5], [0] * longest, [], [1, 0] * longest]
    sources = [t for t in texts if t]
    found = []
    for _ in range(windows):
        text = sources[draw.integers(len(sources))]
        first = draw.integers(len(text))
        found.append(text[first : first + draw.integers(1, 12)])
    found += [draw.integers(0, alphabet, draw.integers(1, 7)).tolist() for _ in range(10)]
    return found, [int(draw.integers(0, len(w) + 1)) for w in found], texts


@pytest.mark.parametrize("alphabet", [1, 2, 3, 30])
@pytest.mark.parametrize("block", [1, 7, 1 << 17])
def test_counts_are_those_of_a_dictionary(alphabet, block, monkeypatch):
    monkeypatch.setattr(matcher, "BLOCK", block)
    windows, cuts, documents = made_up(alphabet, alphabet)
    expected = plainly(windows, cuts, documents)
    assert sum(c[0] > 1 for c in expected["window"].values()) > 10
    for batches in (1, 3):
        assert scanned(asked_for(windows, cuts), documents, batches=batches) == expected


def test_bytes_and_wide_vocabularies(monkeypatch):
    windows, cuts, documents = made_up(5, 4)
    expected = plainly(windows, cuts, documents)
    assert scanned(asked_for(windows, cuts), documents, vocabulary=256, dtype=np.uint8) == expected
    shift = 130_000
    windows, documents = ([[t + shift for t in text] for text in texts] for texts in (windows, documents))
    assert scanned(asked_for(windows, cuts), documents, vocabulary=shift + 4) == expected


def test_overlapping_occurrences_within_documents_only():
    """By hand: in aaaa the string aaa stands twice and aa three times; in aaaa|aa|a the string aaa still twice."""
    asked = asked_for([[0, 0, 0]], [1])
    found = scanned(asked, [[0] * 4, [0, 0], [], [0]], vocabulary=3)
    assert found["window"] == {0: [2]}
    assert found["continuation"] == {0: [3 + 1]}
    assert found["bigrams"] == {0: [4, 4]}
    assert found["unigrams"] == {0: [7, 7, 7]}


@pytest.mark.parametrize("broken", ["values", "base"])
def test_equal_hashes_of_other_strings_are_no_occurrences(broken, monkeypatch):
    windows, cuts, documents = made_up(7, 3)
    if broken == "values":  # every string of a length has the same hash
        monkeypatch.setattr(matcher, "mix", lambda key, values: np.ones(len(values), np.uint64))
    else:  # every order of the same tokens has the same hash
        monkeypatch.setattr(matcher, "BASE", 1)
    monkeypatch.setattr(matcher, "COMPARED", 50)  # many slices of candidates
    assert scanned(asked_for(windows, cuts), documents) == plainly(windows, cuts, documents)


def test_only_the_comparison_decides(monkeypatch):
    """Without it the collisions would be counted: the test above can fail."""
    windows, cuts, documents = made_up(7, 3)
    monkeypatch.setattr(matcher, "mix", lambda key, values: np.ones(len(values), np.uint64))
    monkeypatch.setattr(matcher, "_equal", lambda a, i, b, j, length: np.ones(len(i), bool))
    assert scanned(asked_for(windows, cuts), documents) != plainly(windows, cuts, documents)


def test_copies_of_documents():
    windows, cuts, hashes = [[1, 2], [2, 1], [1, 1]], [1, 1, 1], [50, NONE, 7]
    documents, seen = [[1, 2], [1, 2], [], [1, 1, 2]], [50, 50, 8, 1 << 62]
    found = scanned(asked_for(windows, cuts, hashes), documents, seen)
    assert found == plainly(windows, cuts, documents, seen, hashes)
    assert found["document"] == {0: [2], 2: [0]}


def test_tokens_that_the_corpus_cannot_have():
    assert scanned(asked_for([[5, 900]], [1]), [[5, 5]], vocabulary=6)["unigrams"] == {0: [2, 0]}


def test_a_file_gives_the_same_n_grams(tmp_path):
    windows, cuts, documents = made_up(3, 3)
    asked = asked_for(windows, cuts, list(range(len(windows))))
    asked.save(tmp_path / "wanted")
    again = Wanted.load(tmp_path / "wanted")
    assert scanned(again, documents) == scanned(asked, documents)
    assert again.sequence_id.tolist() == asked.sequence_id.tolist() and again.places.tolist() == asked.places.tolist()
    span = asked.spans["window"]
    assert [span[i] for i in span.entries.tolist()] == windows


def test_rows_come_in_pieces(monkeypatch):
    windows, cuts, documents = made_up(3, 3)
    whole = scanned(asked_for(windows, cuts), documents)
    monkeypatch.setattr("memlake.ingest.counting.ngrams.PIECE", 7)
    assert scanned(asked_for(windows, cuts), documents) == whole
