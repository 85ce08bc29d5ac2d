"""Anchors: the bytes at which continuations begin, drawn before any tokenizer is known.

An anchor is a single space between two words. The space belongs to the continuation: byte-level and SentencePiece
tokenizers put it with the word that follows, so that the anchor is a token boundary for nearly all of them. In text
without spaces, that is at least `APART` bytes from every such space, it is a boundary between two letters of a script
that is written so (see `unspaced`). Within a document anchors stand at least `APART` bytes from one another; which they
are follows from a hash of (seed, document, byte), and so does their order: the first anchors of all documents, then the
second ones, ... A larger sample of the same documents therefore only appends.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from memlake.ingest.hashing import mix
from memlake.warehouse.identity import hash63, tagged

from .unspaced import boundaries

APART = 512  # bytes
NOWHERE = -1  # the anchor is known only when the document is tokenized
WHITE = np.zeros(256, dtype=bool)
WHITE[list(b" \t\n\r\v\f")] = True


@dataclass(frozen=True)
class Drawn:
    """Anchors in the order of the sample: the rank of an anchor is its place. Each array has one entry an anchor."""

    document_id: np.ndarray  # int64
    anchor: np.ndarray  # int64, byte of the document; NOWHERE for --at start
    unspaced: bool = False  # some might have stood in text without spaces

    def __len__(self) -> int:
        return len(self.anchor)


def sample_name(corpus: str, domain: str, seed: int, snapshot: str, rule: dict[str, object]) -> str:
    """The name of a sample: the same documents, seed and rule give the same."""
    return tagged("s1", {"corpus": corpus, "domain": domain, "seed": seed, "snapshot": snapshot, "rule": rule})


def spaces(text: bytes) -> np.ndarray:
    """Every byte that is a single space between two words, ascending."""
    data = np.frombuffer(text, dtype=np.uint8)
    if len(data) < 3:
        return np.empty(0, dtype=np.int64)
    white = WHITE[data]
    single = (data[1:-1] == ord(" ")) & ~white[:-2] & ~white[2:]
    return np.flatnonzero(single) + 1


def between_spaces(text: bytes, at: np.ndarray) -> np.ndarray:
    """Every boundary between letters of a script without spaces that is at least `APART` bytes from all the spaces
    `at`, so that neither kind of anchor keeps one of the other kind away; ascending."""
    first = np.concatenate([np.zeros(1, np.int64), at + APART])
    last = np.concatenate([at - APART, np.array([len(text)])])
    wide = np.flatnonzero(first <= last)
    if text.isascii() or not len(wide):
        return np.empty(0, dtype=np.int64)
    found = boundaries(np.frombuffer(text, dtype=np.uint8))
    stretch = np.searchsorted(first[wide], found, side="right") - 1
    return found[(stretch >= 0) & (found <= last[wide][stretch])]


def choose(places: np.ndarray, key: int, most: int) -> list[int]:
    """At most `most` anchors of a document: of these bytes the one of smallest hash, then the one of smallest hash
    among those at least `APART` bytes from all before, and so on."""
    order = mix(key, places)
    chosen: list[int] = []
    while len(places) and len(chosen) < most:
        chosen.append(int(places[np.argmin(order)]))
        far = np.abs(places - chosen[-1]) >= APART
        places, order = places[far], order[far]
    return chosen


def draw(documents: Iterable[tuple[int, bytes]], seed: int, most: int) -> tuple[Drawn, bool]:
    """The anchors of the documents (id, text), at most `most` each, in the order of the sample; and whether any
    document had that many, so that it may hold more."""
    ids, places, levels, hashes = list[int](), list[int](), list[int](), list[int]()
    full = unspaced = False
    for document_id, text in documents:
        key = hash63(seed, document_id)
        at = spaces(text)
        more = between_spaces(text, at)
        unspaced |= len(more) > 0
        chosen = choose(np.concatenate([at, more]), key, most)
        full |= len(chosen) == most
        ids += [document_id] * len(chosen)
        places += chosen
        levels += range(len(chosen))
        # Hashed once more: the smallest hash of many spaces is small, and would put the long documents first.
        hashes += mix(key, mix(key, np.array(chosen))).tolist()
    return replace(_ordered(ids, places, levels, hashes), unspaced=unspaced), full


def draw_starts(document_ids: Iterable[int], seed: int) -> Drawn:
    """One anchor a document, at its start, in the order of the sample."""
    ids = list(document_ids)
    hashes = [hash63(seed, i) for i in ids]
    return _ordered(ids, [NOWHERE] * len(ids), [0] * len(ids), hashes)


def _ordered(ids: list[int], places: list[int], levels: list[int], hashes: list[int]) -> Drawn:
    document_id, anchor = np.array(ids, dtype=np.int64), np.array(places, dtype=np.int64)
    order = np.lexsort((document_id, np.array(hashes, dtype=np.uint64), np.array(levels, dtype=np.int64)))
    return Drawn(document_id[order], anchor[order])
