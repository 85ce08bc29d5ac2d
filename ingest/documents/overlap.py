"""Which texts share a span of bytes with a set of texts: exact, and linear in the length of all of them.

Any span of 200 bytes of a text holds one of the text's blocks of 100 bytes that begin at a multiple of 100. So the
blocks of the set are hashed, every stretch of 100 bytes of a question is looked up (one pass, by differences of prefix
sums), and what is found is compared byte by byte and extended to both sides.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np

SPAN = 200  # bytes
BLOCK = SPAN // 2
BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that it has an inverse modulo 2**64
PAIRS = 2048  # of a stretch and a block, compared at once


class Spans:
    """A set of texts, given as bytes."""

    def __init__(self, texts: Iterable[bytes]):
        texts = [t for t in texts if len(t) >= SPAN]
        self._bytes = np.frombuffer(b"".join(texts), dtype=np.uint8)
        ends = np.cumsum([len(t) for t in texts], dtype=np.int64)
        places, hashes = [], []
        for text, end in zip(texts, ends, strict=True):
            begin = np.arange(0, len(text) - BLOCK + 1, BLOCK)
            places.append(begin + end - len(text))
            hashes.append(rolling_hashes(np.frombuffer(text, dtype=np.uint8))[begin])
        place = np.concatenate(places) if places else np.empty(0, np.int64)
        hashed = np.concatenate(hashes) if hashes else np.empty(0, np.uint64)
        order = np.argsort(hashed, kind="stable")
        self._place, self._hash = place[order], hashed[order]
        of = np.searchsorted(ends, self._place, side="right")  # of each block its text
        self._end = ends[of] if len(ends) else place
        self._begin = self._end - np.array([len(t) for t in texts], dtype=np.int64)[of] if len(ends) else place

    def occur(self, question: bytes) -> bool:
        """Does a span of `SPAN` bytes of the question stand in one of the texts?"""
        if len(question) < SPAN or not len(self._hash):
            return False
        asked = np.frombuffer(question, dtype=np.uint8)
        hashes = rolling_hashes(asked)
        first = np.searchsorted(self._hash, hashes, side="left")
        count = np.searchsorted(self._hash, hashes, side="right") - first
        at = np.repeat(np.arange(len(hashes)), count)  # each stretch, once for each block of its hash
        block = np.arange(len(at)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
        return any(self._extend(asked, at[i : i + PAIRS], block[i : i + PAIRS]).any() for i in range(0, len(at), PAIRS))

    def _extend(self, asked: np.ndarray, at: np.ndarray, block: np.ndarray) -> np.ndarray:
        """For pairs of a stretch of the question and a block: is it part of a common span of `SPAN` bytes?"""
        around = np.arange(-BLOCK, 2 * BLOCK)
        left, right = at[:, None] + around, self._place[block][:, None] + around
        inside = (left >= 0) & (left < len(asked))
        inside &= (right >= self._begin[block][:, None]) & (right < self._end[block][:, None])
        equal = inside & (asked[np.where(inside, left, 0)] == self._bytes[np.where(inside, right, 0)])
        before = np.cumprod(equal[:, BLOCK - 1 :: -1], axis=1).sum(axis=1)
        after = np.cumprod(equal[:, BLOCK:], axis=1).sum(axis=1)
        found: np.ndarray = (after >= BLOCK) & (before + after >= SPAN)
        return found


def rolling_hashes(data: np.ndarray) -> np.ndarray:
    """A hash of every stretch of `BLOCK` bytes: sum of byte[i + j] * BASE**j, modulo 2**64. Shape
    (len - BLOCK + 1,)."""
    powers, inverse = _powers(1 << (max(len(data), 1) - 1).bit_length())
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(data * powers[: len(data)], dtype=np.uint64)])
    hashes: np.ndarray = (sums[BLOCK:] - sums[:-BLOCK]) * inverse[: len(sums) - BLOCK]
    return hashes


@cache
def _powers(n: int) -> tuple[np.ndarray, np.ndarray]:
    """BASE**i and BASE**-i modulo 2**64, for i < n."""
    inverse = np.uint64(pow(int(BASE), -1, 1 << 64))
    one = np.ones(1, np.uint64)
    powers, inverses = (np.cumprod(np.concatenate([one, np.full(n - 1, b)]), dtype=np.uint64) for b in (BASE, inverse))
    return powers, inverses
