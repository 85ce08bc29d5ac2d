"""The n-grams that sequences ask for, each distinct one once, and the rows that its counts become.

Whoever counts (a scan of the corpus, `matcher`; a prebuilt index) makes one array of counts for each span, an entry
for each distinct n-gram, and hands it to `rows`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

SPANS = ("bigrams", "continuation", "document", "unigrams", "window")  # in the order of the table
PIECE = 20_000  # sequences in a piece of rows


@dataclass(frozen=True)
class Span:
    """The distinct n-grams of one span, and which of them each sequence asks for.

    tokens, offsets: n-gram i is `tokens[offsets[i]:offsets[i + 1]]`, token ids (int32; bytes as 0 to 255). Of the span
    'document' a document is one int64, its `text_hash`.
    entries, starts: sequence s asks for the n-grams `entries[starts[s]:starts[s + 1]]`, one for each position; none
    where it has no such span.
    """

    tokens: np.ndarray
    offsets: np.ndarray
    entries: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> list[int]:
        """The tokens of n-gram i."""
        if not 0 <= i < len(self):
            raise IndexError(i)
        tokens: list[int] = self.tokens[self.offsets[i] : self.offsets[i + 1]].tolist()
        return tokens


@dataclass(frozen=True)
class Wanted:
    """The sequences to count for under one tokenizer, in ascending order of `sequence_id`.

    place: for each sequence its row of `places`, an array of strings (places, 3): corpus, domain, tokenizer.
    spans: `Span` of each name in `SPANS`.
    """

    sequence_id: np.ndarray
    place: np.ndarray
    places: np.ndarray
    spans: Mapping[str, Span]

    def __len__(self) -> int:
        return len(self.sequence_id)

    def save(self, path: Path) -> None:
        """Write it as one .npz; `load` gives it back."""
        arrays = {f"{name}.{field}": value for name, span in self.spans.items() for field, value in vars(span).items()}
        with path.open("wb") as file:
            np.savez(file, sequence_id=self.sequence_id, place=self.place, places=self.places, **arrays)

    @classmethod
    def load(cls, path: Path) -> Wanted:
        with np.load(path) as f:
            spans = {s: Span(*(f[f"{s}.{field}"] for field in Span.__dataclass_fields__)) for s in SPANS}
            return cls(f["sequence_id"], f["place"], f["places"], spans)


def wanted(
    sequence_id: np.ndarray,
    place: np.ndarray,
    places: np.ndarray,
    tokens: np.ndarray,
    offsets: np.ndarray,
    cuts: np.ndarray,
    text_hash: np.ndarray,
) -> Wanted:
    """The n-grams of windows: sequence s has the window `tokens[offsets[s]:offsets[s + 1]]`, whose continuation begins
    at `tokens[cuts[s]]` (it is empty where that is the end). text_hash: of its document, -1 where it has none."""
    known = text_hash >= 0
    hashes, entries = np.unique(text_hash[known], return_inverse=True)
    spans = {
        "unigrams": _unigrams(tokens, offsets),
        "bigrams": _bigrams(tokens, offsets),
        "continuation": _strings(tokens, cuts, offsets[1:]),
        "window": _strings(tokens, offsets[:-1], offsets[1:]),
        "document": Span(hashes, np.arange(len(hashes) + 1), entries.astype(np.int32), from_lengths(known)),
    }
    return Wanted(sequence_id, place, places, {name: spans[name] for name in SPANS})


def from_lengths(lengths: np.ndarray) -> np.ndarray:
    """Offsets (n + 1,) of things of these lengths that stand one after the other."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def pairs(tokens: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Each two neighbours as one uint64, first << 32 | second; none across an end. `ends`: where texts end, ascending,
    each text at least a token long."""
    wide = tokens.astype(np.uint64)
    return np.delete(wide[:-1] << np.uint64(32) | wide[1:], ends[ends < len(tokens)] - 1)


def rows(
    asked: Wanted,
    counts: Mapping[str, np.ndarray],
    *,
    counted_corpus: str,
    counted_tokenizer: str,
    tokens_scanned: int,
    complete: bool,
) -> Iterator[pa.Table]:
    """The rows of `ngram_counts` for these counts, a piece at a time.

    counts: for each span that was counted, how often each of its distinct n-grams occurs.
    """
    for name in (s for s in SPANS if s in counts):
        span = asked.spans[name]
        for first in range(0, len(asked), PIECE):
            starts = span.starts[first : first + PIECE + 1]
            there = np.flatnonzero(np.diff(starts))
            found = counts[name][span.entries[starts[0] : starts[-1]]]
            corpus, domain, tokenizer = asked.places[asked.place[first : first + PIECE][there]].T
            same = {
                "span": name,
                "counted_corpus": counted_corpus,
                "counted_tokenizer": counted_tokenizer,
                "tokens_scanned": tokens_scanned,
                "complete": complete,
            }
            columns = {
                "sequence_id": asked.sequence_id[first : first + PIECE][there],
                "corpus": corpus,
                "domain": domain,
                "tokenizer": tokenizer,
                "counts": pa.LargeListArray.from_arrays(
                    np.append(starts[:-1][there], starts[-1]) - starts[0], pa.array(found, pa.int64())
                ),
            }
            yield pa.table(columns | {key: pa.repeat(value, len(there)) for key, value in same.items()})


def _unigrams(tokens: np.ndarray, offsets: np.ndarray) -> Span:
    distinct, entries = np.unique(tokens, return_inverse=True)
    return Span(distinct.astype(np.int32), np.arange(len(distinct) + 1), entries.astype(np.int32), offsets)


def _bigrams(tokens: np.ndarray, offsets: np.ndarray) -> Span:
    distinct, entries = np.unique(pairs(tokens, offsets[1:]), return_inverse=True)
    both = np.stack([distinct >> np.uint64(32), distinct & np.uint64(0xFFFFFFFF)], axis=1).astype(np.int32)
    starts = from_lengths(np.diff(offsets) - 1)
    return Span(both.ravel(), np.arange(len(distinct) + 1) * 2, entries.astype(np.int32), starts)


def _strings(tokens: np.ndarray, first: np.ndarray, last: np.ndarray) -> Span:
    """The distinct strings tokens[first:last], by length and then by their bytes; empty ones are not asked for."""
    lengths = last - first
    entries = np.full(len(lengths), -1, dtype=np.int32)
    found, sizes = [np.empty(0, np.int32)], list[int]()
    for n in np.unique(lengths[lengths > 0]).tolist():
        these = np.flatnonzero(lengths == n)
        matrix = tokens[first[these][:, None] + np.arange(n)].astype(np.int32)
        _, at, inverse = np.unique(
            matrix.view(np.dtype((np.void, 4 * n))).ravel(), return_index=True, return_inverse=True
        )
        entries[these] = len(sizes) + inverse
        found.append(matrix[at].ravel())
        sizes += [n] * len(at)
    return Span(np.concatenate(found), from_lengths(np.array(sizes)), entries[lengths > 0], from_lengths(lengths > 0))
