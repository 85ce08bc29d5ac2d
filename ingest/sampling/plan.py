"""Which ranks of which samples are missing, and how many a tokenizer needs.

A sample is (corpus, domain, seed, the documents that are there, rule). Its anchors are ordered, so that a larger
sample of the same documents adds ranks and changes none; new documents make a new sample.

A tokenizer may lose an anchor: the document is too short around it, or its text is changed. Under that tokenizer the
next ranks are then sampled as well, until it has as many sequences as were asked for or no anchor is left. The others
keep theirs, so that the anchors which all tokenizers share are as many as before. How far a tokenizer goes follows from
the documents alone, not from what was asked for before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from memlake.warehouse.errors import BadInput
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import ModelSpec
from memlake.warehouse.models.tokenizer import load_tokenizer, register_tokenizer
from memlake.warehouse.work.cells import published

from .anchors import APART, sample_name
from .drawing import drawn, snapshots
from .sequences import DomainSample, Rule, SampleSequences, SampleSettings, cuts, encoder_of
from .windows import Encoder, Window

SHARD = 1_000_000  # anchors a cell at most
AHEAD = 256  # ranks at once, of which is seen how many a tokenizer loses

Ranks = tuple[int, int]  # from the first to the last, both included


@dataclass(frozen=True)
class Part:
    """The sample of one domain under one tokenizer.

    spec: of the tokenizer. asked: anchors that are asked for, or all there are. tried: those, and the ones that take
    the place of lost ones; ranks [0, tried). done: what is published.
    """

    sample: DomainSample
    spec: ModelSpec
    asked: int
    tried: int
    done: tuple[Ranks, ...]

    def cells(self) -> list[SampleSequences]:
        """Those that are missing. A sample without an anchor is a cell, too, so that the lake knows that it was
        drawn."""
        ranks = missing(self.done, self.tried, SHARD) if self.tried or self.done else [(0, -1)]
        return [
            SampleSequences(
                SampleSettings(**vars(self.sample), first_rank=first, last_rank=last), self.spec, self.tried
            )
            for first, last in ranks
        ]


def plan_parts(
    lake: Lake,
    corpora: Sequence[str],
    specs: Sequence[ModelSpec],
    domains: Sequence[str],
    per_domain: int,
    window: Window,
    at: str,
    seed: int,
) -> list[Part]:
    """One part for each domain and tokenizer. Registers the tokenizers."""
    if per_domain < 1:
        raise BadInput(f"--per-domain must be positive, not {per_domain}")
    if at not in ("space", "start"):
        raise BadInput(f"--at {at!r}: give space or start")
    there = snapshots(lake, corpora, domains)
    tokenizers = {t.digest: t for t in map(load_tokenizer, specs)}
    for tokenizer in tokenizers.values():
        Encoder(tokenizer)  # refuses a tokenizer whose bytes are not known, before anything is written
    names = {d: register_tokenizer(lake, t) for d, t in tokenizers.items()}
    done = published_ranks(lake)
    parts = []
    for (corpus, domain), snapshot in there.items():
        anchors = drawn(lake, corpus, domain, snapshot, seed, at, per_domain)
        rule = Rule(at, APART, str(window), "graphemes" if anchors.unspaced else None)
        name = sample_name(corpus, domain, seed, snapshot, rule.to_json())
        asked = min(per_domain, len(anchors))
        for digest, tokenizer in tokenizers.items():
            sample = DomainSample(corpus, domain, names[digest], digest, name, snapshot, seed, rule)
            parts.append(Part(sample, tokenizer.spec, asked, asked, tuple(done.get((name, digest), ()))))
    return parts


def missing(done: Sequence[Ranks], total: int, most: int) -> list[Ranks]:
    """The ranks of [0, total) that no range of `done` holds, in ranges of at most `most`."""
    gaps, at = list[Ranks](), 0
    for first, last in [*sorted(done), (total, total)]:
        gaps += [(i, min(i + most, first, total) - 1) for i in range(at, min(first, total), most)]
        at = max(at, last + 1)
    return gaps


def redraw(lake: Lake, part: Part, done: Mapping[tuple[str, str], Sequence[Ranks]], per_domain: int) -> Part:
    """The part with as many more anchors as it takes to have all sequences that were asked for. Of those beyond what is
    published (`done`) it is found out here, in their order, which are lost; the cells sample them."""
    of = part.sample
    ranges = tuple(done.get((of.sample, of.tokenizer_digest), ()))
    seen = max((last + 1 for _, last in ranges if not missing(ranges, last + 1, SHARD)), default=0)
    lost, tried = _lost(lake, of, seen), part.asked
    while part.asked == per_domain and (tried := reach(lost, per_domain)) > seen:
        anchors = of.drawn(lake, max(tried, seen + AHEAD))
        if seen >= len(anchors):
            tried = seen
            break
        ahead = np.arange(seen, min(max(tried, seen + AHEAD), len(anchors)))
        encoder = encoder_of(part.spec, of.tokenizer_digest)
        lost += sorted(place.rank for place in cuts(lake, of, anchors, ahead, encoder) if not place.cut)
        seen += len(ahead)
    return replace(part, tried=tried, done=ranges)


def reach(lost: Sequence[int], wanted: int) -> int:
    """The least number of ranks, from 0 on, of which `wanted` are not among the lost ones (ascending)."""
    for rank in lost:
        if rank >= wanted:
            break
        wanted += 1
    return wanted


def published_ranks(lake: Lake) -> dict[tuple[str, str], list[Ranks]]:
    """The ranges of ranks that are published, by sample and tokenizer digest."""
    found: dict[tuple[str, str], list[Ranks]] = {}
    for _, s in published(lake, SampleSequences.EXPERIMENT, SampleSettings):
        found.setdefault((s.sample, s.tokenizer_digest), []).append((s.first_rank, s.last_rank))
    return found


def _lost(lake: Lake, of: DomainSample, before: int) -> list[int]:
    """The ranks below `before` that gave no sequence, ascending."""
    with lake.connect(["rejects"]) as con:
        found = con.execute(
            "select position from stored.rejects where corpus = ? and source = ? and position < ? order by position",
            [of.corpus, of.reject_source, before],
        ).fetchnumpy()
    ranks: list[int] = found["position"].tolist()
    return ranks
