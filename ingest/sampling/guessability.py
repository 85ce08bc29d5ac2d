"""Does the text of a window give its continuation away, to any model that can count and copy?

Three flags and two numbers for each sequence, of its text alone. A flag says that a rule gives the continuation from
what stands before it, so that it may be reproduced without ever having been seen. The rule must hold over the whole
continuation and at least the second half of the prefix. The flags are narrow on purpose, since what they mark is left
out of rates: a list of imports, a CSV row or a licence has a form that is known and a content that is not, and no flag.

Text is the bytes that the tokens stand for, so that imported sequences take the same road as sampled ones.

Source: Prashanth et al. 2024, "Recite, Reconstruct, Recollect", arXiv 2406.17746, section 3.2 (templates are repeating
or incrementing; Huffman length). Its published filters differ: they let the rule break in the first half of the window
and the last two tokens, take any rise of numbers for incrementing, and round up the length of each symbol's code
(Shannon's code, not Huffman's).
"""

from __future__ import annotations

import heapq
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache

import pyarrow as pa

from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import ModelSpec
from memlake.warehouse.models.tokenizer import load_same
from memlake.warehouse.work.cells import Cell, CellRows, Settings

from .windows import token_bytes

BATCH = 4096  # sequences read at once
SECONDS, SECONDS_PER_SEQUENCE = 0.1, 1 / 10_000  # to load a tokenizer; to measure a window
GIVEN = 0.9  # of the words and numbers of a templated continuation stand in the pieces before it

ATOM = re.compile(
    r"(?P<number>0[xX][0-9a-fA-F]+|[0-9]+)|(?P<word>[^\W\d_]+)|(?P<line>\s*\n\s*)|(?P<space>\s+)|.", re.DOTALL
)
KINDS = {"number": "0", "word": "a", "line": "\n", "space": " "}
WORD = re.compile(r"\w+")
DIGITS = 18  # of a counter, at most


@dataclass(frozen=True)
class BatchSettings(Settings):
    """Which sequences: those of one domain, tokenizer, sample and shard that had no row yet. sequences, ids: how many
    these were, and the sum of their ids."""

    corpus: str
    domain: str
    tokenizer: str
    tokenizer_digest: str
    sample: str
    shard: int
    sequences: int
    ids: str


@dataclass(frozen=True)
class MeasureGuessability(Cell):
    """A row for each sequence of a batch. None for a sequence that came without tokens, that has a token unknown to the
    tokenizer, or whose continuation stands for no byte."""

    EXPERIMENT = "guessability"
    TABLES = ("guessability",)

    settings: BatchSettings
    spec: ModelSpec  # of the tokenizer

    @property
    def group(self) -> str:
        return f"{self.settings.tokenizer} {self.settings.corpus}/{self.settings.domain}"

    @property
    def seconds(self) -> float:
        return SECONDS + SECONDS_PER_SEQUENCE * self.settings.sequences

    def rows(self, lake: Lake) -> CellRows:
        s = self.settings
        known = _bytes(self.spec, s.tokenizer_digest)
        with lake.connect(["sequences", "guessability"]) as con:
            reader = con.execute(
                "select sequence_id, tokens, prefix_tokens from stored.sequences"
                " anti join stored.guessability using (corpus, domain, sequence_id)"
                " where corpus = ? and domain = ? and tokenizer = ? and sample = ? and shard = ? and len(tokens) > 0",
                [s.corpus, s.domain, s.tokenizer, s.sample, s.shard],
            ).to_arrow_reader(BATCH)
            for batch in reader:
                rows = []
                for sequence_id, tokens, cut in zip(*(c.to_pylist() for c in batch.columns), strict=True):
                    if max(tokens) < len(known) and (continuation := b"".join([known[t] for t in tokens[cut:]])):
                        prefix = b"".join([known[t] for t in tokens[:cut]])
                        rows.append({"sequence_id": sequence_id} | asdict(guess(prefix, continuation)))
                if rows:
                    place = {"corpus": s.corpus, "domain": s.domain, "tokenizer": s.tokenizer}
                    yield "guessability", pa.Table.from_pylist([row | place for row in rows])


def cells(lake: Lake, tokenizers: Mapping[str, ModelSpec]) -> list[MeasureGuessability]:
    """A cell for each batch of sequences that have no row yet, whatever their corpus.

    tokenizers: their names in the lake, each with a checkpoint to load it from.
    """
    with lake.connect(["sequences", "tokenizers", "guessability"]) as con:
        batches = con.execute(
            "select corpus, domain, tokenizer, digest as tokenizer_digest, sample, shard, count(*) as sequences,"
            " sum(sequence_id::hugeint)::varchar as ids"
            " from stored.sequences join stored.tokenizers using (tokenizer)"
            " anti join stored.guessability using (corpus, domain, sequence_id)"
            " where list_contains(?, tokenizer) group by all order by all",
            [list(tokenizers)],
        ).fetchall()
    settings = [BatchSettings(*batch) for batch in batches]
    return [MeasureGuessability(s, tokenizers[s.tokenizer]) for s in settings]


@lru_cache(maxsize=1)
def _bytes(spec: ModelSpec, digest: str) -> list[bytes]:
    return token_bytes(load_same(spec, digest))


@dataclass(frozen=True)
class Guess:
    """The measures of one window. `templated` holds wherever one of the other two flags does."""

    templated: bool
    incrementing: bool
    repeating: bool
    huffman_length: float
    rouge_l: float | None


def guess(prefix: bytes, continuation: bytes) -> Guess:
    """The measures of a window, cut in two; any bytes will do, and the prefix may be empty."""
    before, after = (part.decode("utf-8", "replace") for part in (prefix, continuation))
    repeats = repeating(prefix, continuation)
    templated, incrementing = templates(before, after)
    return Guess(
        templated=templated or incrementing or repeats,
        incrementing=incrementing,
        repeating=repeats,
        huffman_length=huffman_length(prefix + continuation),
        rouge_l=rouge_l(before, after),
    )


def repeating(prefix: bytes, continuation: bytes) -> bool:
    """One piece of bytes is repeated from the middle of the prefix, at the latest, to the end of the window.

    Every byte equals the one a period earlier. The prefix holds the piece one and a half times, so that it shows the
    return, and the window twice, as a whole. The last repetition may break off.
    """
    window, cut = prefix + continuation, len(prefix)
    at = cut  # the continuation stands at `at` too, a period earlier
    while (at := window.rfind(continuation, 0, at - 1 + len(continuation))) >= 0 and at < cut:
        period = cut - at
        begin = min(cut // 2, cut - (3 * period + 1) // 2, len(window) - 2 * period)
        if begin < 0:
            return False  # the periods grow from here on
        if window[begin + period :] == window[begin:-period]:
            return True
    return False


def templates(prefix: str, continuation: str) -> tuple[bool, bool]:
    """(templated, incrementing): does the continuation go on with pieces of the shape that those before it have.

    The window is a row of atoms: numbers (decimal, or hexadecimal after 0x), words, white space, other characters. Its
    shape is that row with every number, word and white space masked. Pieces of k atoms have one shape if the shape has
    period k, from the middle of the prefix, at the latest, to the end of the window; the prefix holds two of them.
    An atom is *given* where it is the same in the two pieces before, or, for numbers, where it goes on in equal steps.

    incrementing: all of the continuation is given, and a number in it changes. templated: `GIVEN` of its words and
    numbers are. Of the last atom, which the window may cut off, the beginning counts.

    Not seen: pieces longer than half the prefix, counters that carry (11:59 to 12:00, 1.9 to 2.0) or wrap around,
    letters that count, hexadecimal numbers without 0x. Numbers that rise in unequal steps are not guessable, and not
    meant to be seen.
    """
    found = list(ATOM.finditer(prefix + continuation))
    atoms = [m[0] for m in found]
    kinds = "".join([KINDS.get(m.lastgroup or "", m[0]) for m in found])
    ends = [m.end() for m in found]
    cut = bisect_right(ends, len(prefix))  # the first atom that the continuation has a part in
    middle = bisect_right(ends, len(prefix) // 2)
    templated = False
    for k in range(1, cut // 2 + 1):
        begin = min(middle, cut - 2 * k)
        if kinds[begin + k :] != kinds[begin:-k]:
            continue
        given, changes = _given(atoms, kinds, cut, k)
        if changes and all(given):
            return True, True
        filled = [g for g, kind in zip(given, kinds[cut:], strict=True) if kind in "0a"]
        templated |= sum(filled) >= GIVEN * len(filled)
    return templated, False


def _given(atoms: Sequence[str], kinds: str, cut: int, k: int) -> tuple[list[bool], bool]:
    """For each atom from `cut` on, is it given by the pieces of k atoms before; and does a given number change."""
    given, changes = list[bool](), False
    for i in range(cut, len(atoms)):
        first, second, third = atoms[i - 2 * k], atoms[i - k], atoms[i]
        expected: str | None = second
        if first != second:
            expected, third = next_number(first, second) if kinds[i] == "0" else None, third.lower()
        last = i == len(atoms) - 1
        given.append(expected is not None and (expected.startswith(third) if last else expected == third))
        changes |= given[-1] and first != second
    return given, changes


def next_number(first: str, second: str) -> str | None:
    """The number that goes on from two others in equal steps, in lower case; None below 0. `08`, `09`: `10`."""
    marks = {n[:2].lower() == "0x" for n in (first, second)}
    if len(marks) > 1 or max(len(first), len(second)) > DIGITS:
        return None
    base, mark = (16, "0x") if marks.pop() else (10, "")
    first, second = first[len(mark) :], second[len(mark) :]
    value = 2 * int(second, base) - int(first, base)
    digits = f"{value:x}" if mark else str(value)
    if len(first) == len(second) and (first[0] == "0" or second[0] == "0"):
        digits = digits.zfill(len(second))
    return mark + digits if value >= 0 else None


def huffman_length(data: bytes) -> float:
    """Mean bits a byte of the Huffman code of `data`'s own bytes (Huffman 1952, Proc. IRE 40:1098); 0 for one symbol.

    The sum, over the merges of the algorithm, of the weights merged, divided by the length. `data` is not empty.
    """
    weights = list(Counter(data).values())
    heapq.heapify(weights)
    bits = 0
    while len(weights) > 1:
        merged = heapq.heappop(weights) + weights[0]
        heapq.heapreplace(weights, merged)
        bits += merged
    return bits / len(data)


def rouge_l(prefix: str, continuation: str) -> float | None:
    """ROUGE-L of the continuation's words against the prefix's: 2 LCS / (words of both), the F1 of Lin 2004, "ROUGE",
    section 3.1, with beta = 1. LCS: longest common subsequence. Words: runs of letters, digits and `_`, in lower case;
    in scripts without spaces that is what stands between two marks. None where either has no word."""
    left, right = WORD.findall(prefix.lower()), WORD.findall(continuation.lower())
    if not left or not right:
        return None
    return 2 * _common(left, right) / (len(left) + len(right))


def _common(left: Sequence[str], right: Sequence[str]) -> int:
    """Length of the longest common subsequence, a column of the usual table in one number: bit i is 0 where the length
    grows at left[i] (Hyyrö 2004, "Bit-parallel LCS-length computation revisited")."""
    places: dict[str, int] = {}
    for i, word in enumerate(left):
        places[word] = places.get(word, 0) | 1 << i
    everywhere = (1 << len(left)) - 1
    column = everywhere
    for word in right:
        found = column & places.get(word, 0)
        column = (column + found | column - found) & everywhere
    return len(left) - column.bit_count()
