"""The sequences of a sample: a window around each of its anchors, under one tokenizer.

A window that an earlier sample holds already (the same anchor, tokenizer and lengths) is not written again: a sequence
is one row whoever asked for it. An anchor that the tokenizer loses is a row of `rejects`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from memlake.ingest.source import HEAD
from memlake.warehouse.errors import Conflict
from memlake.warehouse.identity import hash63
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import ModelSpec
from memlake.warehouse.models.tokenizer import load_same
from memlake.warehouse.work.cells import Cell, CellRows, Settings

from .anchors import NOWHERE, Drawn
from .drawing import drawn, snapshots
from .windows import Cut, Encoder, Tokens, Window, cut_at, cut_start

BATCH = 256  # documents tokenized at once
PIECE = 10_000  # sequences in a piece of rows
CHANGED = "text changed by the tokenizer"
SECONDS, SECONDS_PER_ANCHOR = 0.2, 1 / 1500  # to load a tokenizer; to tokenize a document of a few kB and cut it


@dataclass(frozen=True)
class Rule:
    """How anchors are drawn and windows are cut. unspaced: which boundaries count in text without spaces; None where
    there is no such text, so that samples of text with spaces are called as ever."""

    at: str
    apart: int
    window: str
    unspaced: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class DomainSample(Settings):
    """The sample of one domain under one tokenizer: which anchors are drawn, and what is cut around them."""

    corpus: str
    domain: str
    tokenizer: str
    tokenizer_digest: str
    sample: str
    snapshot: str
    seed: int
    rule: Rule

    def to_json(self) -> dict[str, Any]:
        return super().to_json() | {"rule": self.rule.to_json()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        return super().from_json({**stored, "rule": Rule(**stored["rule"])})

    @property
    def reject_source(self) -> str:
        """The `source` in `rejects` of anchors without a sequence: no file but the sample."""
        return f"{self.domain}/{self.tokenizer}/{self.sample}"

    def drawn(self, lake: Lake, wanted: int) -> Drawn:
        """At least its first `wanted` anchors, or all there are."""
        return drawn(lake, self.corpus, self.domain, self.snapshot, self.seed, self.rule.at, wanted)


@dataclass(frozen=True)
class SampleSettings(DomainSample):
    """The ranks of the sample from the first to the last, both included."""

    first_rank: int
    last_rank: int


@dataclass(frozen=True)
class SampleSequences(Cell):
    """The sequences of some ranks, and the anchors without one. wanted: anchors that are drawn in the domain for all
    cells together."""

    EXPERIMENT = "sample"
    TABLES = ("sequences", "rejects")

    settings: SampleSettings
    spec: ModelSpec  # of the tokenizer
    wanted: int

    @property
    def group(self) -> str:
        return f"{self.settings.corpus}/{self.settings.domain}"

    @property
    def seconds(self) -> float:
        return SECONDS + SECONDS_PER_ANCHOR * (self.settings.last_rank - self.settings.first_rank + 1)

    def rows(self, lake: Lake) -> CellRows:
        s = self.settings
        if snapshots(lake, [s.corpus], [s.domain])[s.corpus, s.domain] != s.snapshot:
            raise Conflict(f"documents were added to {s.corpus}/{s.domain} meanwhile: sample again")
        anchors, encoder, known = s.drawn(lake, self.wanted), encoder_of(self.spec, s.tokenizer_digest), _known(lake, s)
        sequences, rejects = list[dict[str, object]](), list[dict[str, object]]()
        for place in cuts(lake, s, anchors, np.arange(s.first_rank, s.last_rank + 1), encoder):
            if not place.cut:
                rejects.append(self._reject(place, int(anchors.anchor[place.rank])))
            elif (row := self._sequence(place))["sequence_id"] not in known:
                sequences.append(row)
            if len(sequences) + len(rejects) >= PIECE:
                yield from _tables(sequences, rejects)
                sequences, rejects = [], []
        yield from _tables(sequences, rejects)

    def _sequence(self, place: Place) -> dict[str, object]:
        """The row of a place that is cut."""
        s, tokens, cut = self.settings, place.tokens, place.cut
        assert tokens and cut
        prefix, n, ends = cut.middle - cut.first, cut.last - cut.middle, tokens.ends
        anchor_id = hash63(place.document_id, cut.anchor)
        return {
            "sequence_id": hash63(anchor_id, s.tokenizer_digest, prefix, n),
            "anchor_id": anchor_id,
            "document_id": place.document_id,
            "corpus": s.corpus,
            "domain": s.domain,
            "tokenizer": s.tokenizer,
            "sample": s.sample,
            "shard": s.first_rank,
            "rank": place.rank,
            "anchor": cut.anchor,
            "byte_start": int(ends[cut.first - 1]) if cut.first else 0,
            "byte_cut": int(ends[cut.middle - 1]),
            "byte_end": int(ends[cut.last - 1]),
            "tokens": tokens.ids[cut.first : cut.last],
            "byte_ends": ends[cut.first : cut.last],
            "prefix_tokens": prefix,
            "n_tokens": n,
        }

    def _reject(self, place: Place, anchor: int) -> dict[str, object]:
        """The row of a place that is not cut; its position is the rank."""
        s = self.settings
        reason = CHANGED if place.tokens is None else f"too short for {s.rule.window}"
        head = place.text.encode()[max(anchor, 0) :][:HEAD]
        found = {"corpus": s.corpus, "source": s.reject_source, "position": place.rank}
        return found | {"reason": reason, "head": head}


@dataclass(frozen=True)
class Place:
    """An anchor in its document. tokens: the whole document's; None where the tokenizer changes the text. cut: None
    where it gives no sequence."""

    rank: int
    document_id: int
    text: str
    tokens: Tokens | None
    cut: Cut | None


def cuts(
    lake: Lake, of: DomainSample, anchors: Drawn, ranks: npt.NDArray[np.int64], encoder: Encoder
) -> Iterator[Place]:
    """These ranks of the anchors, in any order."""
    window = Window.parse(of.rule.window)
    order = np.argsort(anchors.document_id[ranks], kind="stable")
    ranks, ids = ranks[order], anchors.document_id[ranks][order]
    for document_id, text, tokens in _tokenized(lake, of, np.unique(ids), encoder):
        first, last = np.searchsorted(ids, document_id), np.searchsorted(ids, document_id, side="right")
        for rank in ranks[first:last].tolist():
            cut = None if tokens is None else _cut(tokens, int(anchors.anchor[rank]), window)
            yield Place(rank, document_id, text, tokens, cut)


@lru_cache(maxsize=4)
def encoder_of(spec: ModelSpec, digest: str) -> Encoder:
    """The tokenizer of a checkpoint, which has this digest; raises `Conflict`."""
    return Encoder(load_same(spec, digest))


def _tokenized(
    lake: Lake, of: DomainSample, ids: npt.NDArray[np.int64], encoder: Encoder
) -> Iterator[tuple[int, str, Tokens | None]]:
    """The documents `ids`, whole, with their tokens."""
    with lake.connect(["documents"]) as con:
        con.register("wanted", pa.table({"document_id": ids}))
        reader = con.execute(
            "select document_id, text from stored.documents where corpus = ? and domain = ?"
            " and document_id in (select document_id from wanted)",
            [of.corpus, of.domain],
        ).to_arrow_reader(BATCH)
        for batch in reader:
            found, texts = (column.to_pylist() for column in batch.columns)
            yield from zip(found, texts, encoder.encode(texts), strict=True)


def _cut(tokens: Tokens, anchor: int, window: Window) -> Cut | None:
    return cut_start(tokens, window) if anchor == NOWHERE else cut_at(tokens, anchor, window)


def _known(lake: Lake, of: DomainSample) -> set[int]:
    """Ids of the sequences that the lake holds for this domain and tokenizer."""
    with lake.connect(["sequences"]) as con:
        found = con.execute(
            "select sequence_id from stored.sequences where corpus = ? and domain = ? and tokenizer = ?",
            [of.corpus, of.domain, of.tokenizer],
        ).fetchnumpy()
    return set(found["sequence_id"].tolist())


def _tables(sequences: Sequence[dict[str, object]], rejects: Sequence[dict[str, object]]) -> CellRows:
    if sequences:
        yield "sequences", pa.table({key: [row[key] for row in sequences] for key in sequences[0]})
    if rejects:
        yield "rejects", pa.Table.from_pylist(list(rejects))
