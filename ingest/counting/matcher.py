"""Counts n-grams in a stream of tokenized documents: every position, overlapping ones too, none across documents.

Counts are exact. Unigrams and bigrams are compared as they are. A longer string is looked for by the hash of its first
K tokens, K being the largest power of two that it is as long as, so that few lengths are hashed whatever lengths are
wanted; its last K tokens must have the right hash too, and both together cover it; then the tokens are compared one by
one, and only that decides. The hash is polynomial modulo 2^64 over a random value for each token (Karp and Rabin 1987):
with prefix sums it is, at all positions of a block at once, a subtraction and a product. Its upper bits are the better
ones.

Memory follows the wanted n-grams: what is added is worked through in blocks of positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from memlake.ingest.hashing import mix

from .ngrams import Span, from_lengths, pairs

BLOCK = 1 << 17  # positions: the arrays that are made of a block fit into a core's cache
COMPARED = 1 << 20  # candidates, and tokens of them, that are compared at once
BASE = 0x9E3779B97F4A7C15  # of the polynomial: odd, so that it has an inverse modulo 2^64
FILTER = 32  # places of the filter for each key: one position in 32 gets past it for nothing
BYTE_VALUES = 256  # a vocabulary of this size has a table of all pairs


class Matcher:
    """Counts the n-grams of `spans` in the documents that are added. vocabulary: their token ids lie below it.

    tokens: how many were read.
    """

    def __init__(self, spans: Mapping[str, Span], vocabulary: int):
        top = max(vocabulary, int(spans["unigrams"].tokens.max(initial=0)) + 1)  # imported ones may lie above
        self._spans = spans
        self._unigrams = np.zeros(top, np.int64)
        self._bigrams = _Table() if top <= BYTE_VALUES else _Sorted(spans["bigrams"])
        self._strings = _Strings([spans["continuation"], spans["window"]], top)
        self._documents = np.zeros(len(spans["document"]), np.int64)
        self.tokens = 0

    def add(self, tokens: np.ndarray, lengths: np.ndarray, text_hash: np.ndarray) -> None:
        """Documents one after the other: their token ids, how many each has, and the hash of its text."""
        _add_known(self._documents, self._spans["document"].tokens, text_hash)
        ends = np.cumsum(lengths[lengths > 0])
        self.tokens += len(tokens)
        for first in range(0, len(tokens), BLOCK):
            these = ends[np.searchsorted(ends, first, side="right") :] - first
            positions = min(BLOCK, len(tokens) - first)
            self._unigrams += np.bincount(tokens[first : first + positions], minlength=len(self._unigrams))
            self._bigrams.add(pairs(tokens[first : first + positions + 1], these))
            self._strings.add(tokens[first : first + positions + self._strings.longest - 1], these, positions)

    def counts(self) -> dict[str, np.ndarray]:
        """For each span how often each of its n-grams was seen."""
        continuation, window = self._strings.counts()
        return {
            "unigrams": self._unigrams[self._spans["unigrams"].tokens],
            "bigrams": self._bigrams.counts(self._spans["bigrams"]),
            "continuation": continuation,
            "window": window,
            "document": self._documents,
        }


class _Table:
    """Counts all pairs of a small vocabulary."""

    def __init__(self) -> None:
        self._counts = np.zeros(BYTE_VALUES * BYTE_VALUES, np.int64)

    def add(self, keys: np.ndarray) -> None:
        first, second = (keys >> np.uint64(32)).astype(np.int64), (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
        self._counts += np.bincount(first * BYTE_VALUES + second, minlength=len(self._counts))

    def counts(self, span: Span) -> np.ndarray:
        first, second = span.tokens.reshape(-1, 2).T
        counts: np.ndarray = self._counts[first * BYTE_VALUES + second]
        return counts


class _Sorted:
    """Counts wanted pairs. Each block's pairs are sorted: the distinct ones, in order, are found quickly."""

    def __init__(self, span: Span):
        first, second = span.tokens.reshape(-1, 2).T.astype(np.uint64)
        self._keys = first << np.uint64(32) | second  # ascending, as the span has them
        self._counts = np.zeros(len(span), np.int64)

    def add(self, keys: np.ndarray) -> None:
        _add_known(self._counts, self._keys, keys)

    def counts(self, span: Span) -> np.ndarray:
        return self._counts


def _add_known(counts: np.ndarray, known: np.ndarray, values: np.ndarray) -> None:
    """Add how often each of `known`, ascending and distinct, is among the values."""
    if not len(known) or not len(values):
        return
    values = np.sort(values)
    first = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    distinct, times = values[first], np.diff(first, append=len(values))
    at = np.minimum(np.searchsorted(known, distinct), len(known) - 1)
    there = known[at] == distinct
    counts[at[there]] += times[there]


class _Strings:
    """Counts strings of any length, those of all `spans` together."""

    def __init__(self, spans: Sequence[Span], top: int):
        self._sizes = [len(span) for span in spans]
        self._tokens = np.concatenate([span.tokens for span in spans])
        self._lengths = np.concatenate([np.diff(span.offsets) for span in spans])
        self._starts = from_lengths(self._lengths)[:-1]
        self._counts = np.zeros(len(self._lengths), np.int64)
        self.longest = int(self._lengths.max(initial=1))
        self._values = mix(BASE, np.arange(top))
        self._powers = _powers(BASE, BLOCK + self.longest)
        self._inverses = _powers(pow(BASE, -1, 1 << 64), BLOCK + self.longest)
        key_lengths = np.left_shift(1, np.log2(self._lengths).astype(np.int64))
        self._tails = np.zeros(len(self._lengths), np.uint64)
        self._keys = []
        for length in np.unique(key_lengths).tolist():
            which = np.flatnonzero(key_lengths == length)
            self._tails[which] = self._own(self._starts[which] + self._lengths[which] - length, length)
            self._keys.append(_Keys(length, which, self._own(self._starts[which], length)))

    def counts(self) -> list[np.ndarray]:
        """For each span how often each of its strings was seen."""
        return np.split(self._counts, np.cumsum(self._sizes)[:-1])

    def add(self, tokens: np.ndarray, ends: np.ndarray, positions: int) -> None:
        """Count the strings that begin at the first `positions` tokens. ends: where documents end, from the first one
        that ends after position 0 on."""
        sums = np.zeros(len(tokens) + 1, np.uint64)
        np.cumsum(self._values[tokens] * self._powers[: len(tokens)], out=sums[1:])
        for keys in self._keys:
            length, n = keys.length, max(0, min(positions, len(tokens) - keys.length + 1))
            hashes = (sums[length : length + n] - sums[:n]) * self._inverses[:n]
            for at, which in keys.found(hashes):
                fits = at + self._lengths[which] <= ends[np.searchsorted(ends, at, side="right")]
                at, which = at[fits], which[fits]
                tail = at + self._lengths[which] - length
                right = (sums[tail + length] - sums[tail]) * self._inverses[tail] == self._tails[which]
                self._count(tokens, at[right], which[right], length)

    def _own(self, at: np.ndarray, length: int) -> np.ndarray:
        """The hashes of the `length` tokens at these places of the strings themselves."""
        found = np.empty(len(at), np.uint64)
        for these in _slices(np.full(len(at), length), COMPARED):
            tokens = self._tokens[at[these, None] + np.arange(length)]
            found[these] = (self._values[tokens] * self._powers[:length]).sum(axis=1, dtype=np.uint64)
        return found

    def _count(self, tokens: np.ndarray, at: np.ndarray, which: np.ndarray, length: int) -> None:
        """Compare the strings `which` with the tokens at these positions, their first `length` and their last, and
        count those that are equal."""
        rest = self._lengths[which] - length
        equal = np.ones(len(at), bool)
        for offset in (0, rest) if rest.any() else (0,):
            equal &= _equal(tokens, at + offset, self._tokens, self._starts[which] + offset, length)
        np.add.at(self._counts, which[equal], 1)


def _equal(a: np.ndarray, i: np.ndarray, b: np.ndarray, j: np.ndarray, length: int) -> np.ndarray:
    """Which of the strings a[i:i + length] are the strings b[j:j + length]."""
    a, b = sliding_window_view(a, length), sliding_window_view(b, length)
    equal = np.empty(len(i), bool)
    n = max(1, COMPARED // length)
    for k in range(0, len(i), n):
        equal[k : k + n] = (a[i[k : k + n]] == b[j[k : k + n]]).all(axis=1)
    return equal


class _Keys:
    """Strings whose keys have the same length, by their keys. Several may share one."""

    def __init__(self, length: int, which: np.ndarray, keys: np.ndarray):
        self.length = length
        order = np.argsort(keys, kind="stable")
        self._which = which[order]
        self._keys, first = np.unique(keys[order], return_index=True)
        self._first = np.append(first, len(which))
        bits = (FILTER * len(self._keys)).bit_length()
        self._shift = np.uint64(64 - bits)
        self._filter = np.zeros(1 << bits, bool)
        self._filter[self._keys >> self._shift] = True

    def found(self, hashes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(position, string) wherever the hash of a position is the key of a string, in pieces."""
        at = np.flatnonzero(self._filter[hashes >> self._shift])
        key = np.minimum(np.searchsorted(self._keys, hashes[at]), len(self._keys) - 1)
        equal = self._keys[key] == hashes[at]
        at, first = at[equal], self._first[key[equal]]
        sharing = self._first[key[equal] + 1] - first
        for these in _slices(sharing, COMPARED):
            n = sharing[these]
            inside = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
            yield np.repeat(at[these], n), self._which[np.repeat(first[these], n) + inside]


def _slices(sizes: np.ndarray, most: int) -> Iterator[slice]:
    """The things in order, so many at once that their sizes come to `most` at most; one at least."""
    ends = np.cumsum(sizes)
    first = 0
    while first < len(ends):
        before = ends[first] - sizes[first]
        last = max(first + 1, int(np.searchsorted(ends, before + most, side="right")))
        yield slice(first, last)
        first = last


def _powers(base: int, n: int) -> np.ndarray:
    """base^0 to base^(n - 1) modulo 2^64."""
    factors = np.full(n, base, np.uint64)
    factors[0] = 1
    return np.cumprod(factors)
