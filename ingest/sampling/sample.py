"""Sequences: a window around each anchor of a sample, once for each tokenizer.

A sample is (corpus, domain, seed, the documents that are there, rule). Its anchors are ordered, so that a larger
sample of the same documents adds ranks and changes none; new documents make a new sample. A window that an earlier
sample holds already (the same anchor, tokenizer and lengths) is not written again: a sequence is one row whoever asked
for it.

A tokenizer may lose an anchor: the document is too short around it, or its text is changed. Under that tokenizer the
next ranks are then sampled as well, until it has as many sequences as were asked for or no anchor is left. The others
keep theirs, so that the anchors which all tokenizers share are as many as before. How far a tokenizer goes follows from
the documents alone, not from what was asked for before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from memlake.warehouse.errors import BadInput, Conflict, UnknownName
from memlake.warehouse.identity import tagged
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import Source
from memlake.warehouse.models.tokenizer import load_same, load_tokenizer, register_tokenizer
from memlake.warehouse.work.cells import Cell, published
from memlake.warehouse.work.runner import Summary, recover, run

from . import guessability
from . import rows as sample_rows
from .anchors import APART, NOWHERE, Drawn, draw, draw_starts, sample_name
from .windows import Cut, Encoder, Tokens, Window, cut_at, cut_start

EXPERIMENT, VERSION, TABLES = "sample", 1, ("sequences", "rejects")
SHARD = 1_000_000  # anchors a cell at most
BATCH = 256  # documents tokenized at once
PIECE = 10_000  # sequences in a piece of rows
PLACE = ("corpus", "domain", "snapshot", "seed")  # settings that say, with the rule, which anchors are drawn
CHANGED = "text changed by the tokenizer"


@dataclass(frozen=True)
class Part:
    """The sample of one domain under one tokenizer.

    settings: of its cells, without their ranks. asked: anchors that are asked for, or all there are. tried: those, and
    the ones that take the place of lost ones; ranks [0, tried). done: ranges of ranks that are published.
    """

    settings: Mapping[str, Any]
    source: Source  # of the tokenizer
    asked: int
    tried: int
    done: tuple[tuple[int, int], ...]

    def cells(self) -> list[Cell]:
        """Those that are missing. A sample without an anchor is a cell, too, so that the lake knows that it was
        drawn."""
        ranks = missing(self.done, self.tried, SHARD) if self.tried or self.done else [(0, -1)]
        return [
            Cell(
                EXPERIMENT,
                VERSION,
                {**self.settings, "first_rank": first, "last_rank": last},
                TABLES,
                group=f"{self.settings['corpus']}/{self.settings['domain']}",
                task={"source": asdict(self.source), "wanted": self.tried},
            )
            for first, last in ranks
        ]


def sample(
    lake: Lake,
    corpora: Sequence[str],
    sources: Sequence[Source],
    *,
    domains: Sequence[str] = (),
    per_domain: int = 300_000,
    window: str = "32+32",
    at: str = "space",
    seed: int = 0,
    workers: int | None = None,
) -> tuple[Summary, pa.Table]:
    """Draw anchors and write the sequences of these checkpoints' tokenizers, and how guessable each is (imported ones
    of these tokenizers, too); how the run went, and `counts`.

    per_domain: sequences of each domain under each tokenizer, or as many as its anchors give. at: 'space' (between two
    words, or two letters of a script without spaces), or 'start' for each document's first tokens. Raises
    `UnknownName`, `BadInput`.
    """
    recover(lake)  # ranks that a killed run left ready are not planned again
    parts = plan_parts(lake, corpora, sources, domains, per_domain, Window.parse(window), at, seed)
    summary, whole = _run(lake, parts, workers)
    summary.skipped += sum(len(p.done) for p in parts)
    done = _done(lake)
    again, whole = _run(lake, [redraw(lake, p, done, per_domain) for p in whole], workers)
    summary.add(again)
    unguessed = guessability.cells(lake, {p.settings["tokenizer"]: p.source for p in parts})
    summary.failed += run(lake, unguessed, guessability.work, workers=workers, title="guessability").failed
    return summary, counts(lake, whole)


def _run(lake: Lake, parts: Sequence[Part], workers: int | None) -> tuple[Summary, list[Part]]:
    """Publish what is missing of the parts; how it went, and the parts of which nothing is missing now."""
    cells = [p.cells() for p in parts]
    summary = run(lake, [c for found in cells for c in found], work, workers=workers, title="sample")
    failed = {cell.id for cell, _ in summary.failed}
    return summary, [p for p, found in zip(parts, cells, strict=True) if not failed & {c.id for c in found}]


def plan_parts(
    lake: Lake,
    corpora: Sequence[str],
    sources: Sequence[Source],
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
    there = _snapshots(lake, corpora, domains)
    tokenizers = {t.digest: t for t in map(load_tokenizer, sources)}
    for tokenizer in tokenizers.values():
        Encoder(tokenizer)  # refuses a tokenizer whose bytes are not known, before anything is written
    names = {d: register_tokenizer(lake, t) for d, t in tokenizers.items()}
    done = _done(lake)
    parts = []
    for (corpus, domain), snapshot in there.items():
        drawn = _drawn(lake, corpus, domain, snapshot, seed, at, per_domain)
        rule = {"at": at, "apart": APART, "window": str(window)}
        if drawn.unspaced:
            rule["unspaced"] = "graphemes"  # samples of text with spaces keep their names
        name = sample_name(corpus, domain, seed, snapshot, rule)
        anchors = min(per_domain, len(drawn))
        for digest, tokenizer in tokenizers.items():
            settings = {
                "corpus": corpus,
                "domain": domain,
                "tokenizer": names[digest],
                "tokenizer_digest": digest,
                "sample": name,
                "snapshot": snapshot,
                "seed": seed,
                "rule": rule,
            }
            ranges = tuple(done.get((name, digest), []))
            parts.append(Part(settings, tokenizer.source, anchors, anchors, ranges))
    return parts


def missing(done: Sequence[tuple[int, int]], total: int, most: int) -> list[tuple[int, int]]:
    """The ranks of [0, total) that no range of `done` holds, as ranges (first, last), both included, of at most
    `most`."""
    gaps, at = [], 0
    for first, last in [*sorted(done), (total, total)]:
        gaps += [(i, min(i + most, first, total) - 1) for i in range(at, min(first, total), most)]
        at = max(at, last + 1)
    return gaps


def redraw(lake: Lake, part: Part, done: Mapping[tuple[str, str], Sequence[tuple[int, int]]], per_domain: int) -> Part:
    """The part with as many more anchors as it takes to have all sequences that were asked for. Those beyond what is
    published (`done`) are looked at here, in their order, and sampled by the cells."""
    s = part.settings
    ranges = tuple(done.get((s["sample"], s["tokenizer_digest"]), []))
    seen = max((last + 1 for _, last in ranges if not missing(ranges, last + 1, SHARD)), default=0)
    lost, tried = _lost(lake, s, seen), part.asked
    while part.asked == per_domain and (tried := reach(lost, per_domain)) > seen:
        drawn = _drawn(lake, *(s[k] for k in PLACE), s["rule"]["at"], max(tried, seen + BATCH))
        if seen >= len(drawn):
            tried = seen
            break
        ahead = np.arange(seen, min(max(tried, seen + BATCH), len(drawn)))
        encoder = _encoder(part.source, s["tokenizer_digest"])
        lost += sorted(rank for rank, *_, cut in _cuts(lake, s, drawn, ahead, encoder) if not cut)
        seen += len(ahead)
    return replace(part, tried=tried, done=ranges)


def reach(lost: Sequence[int], wanted: int) -> int:
    """The least number of ranks, from 0 on, of which `wanted` are not among the lost ones (ascending)."""
    for rank in lost:
        if rank >= wanted:
            break
        wanted += 1
    return wanted


def _lost(lake: Lake, s: Mapping[str, Any], before: int) -> list[int]:
    """The ranks below `before` that gave no sequence, ascending."""
    with lake.connect(["rejects"]) as con:
        found = con.execute(
            "select position from stored.rejects where corpus = ? and source = ? and position < ? order by position",
            [s["corpus"], sample_rows.source(s["domain"], s["tokenizer"], s["sample"]), before],
        ).fetchnumpy()
    return found["position"].tolist()


def work(cell: Cell, lake: Lake) -> Iterator[tuple[str, pa.Table]]:
    """The sequences and rejects of one cell; runs on a worker."""
    s = cell.settings
    if _snapshots(lake, [s["corpus"]], [s["domain"]])[s["corpus"], s["domain"]] != s["snapshot"]:
        raise Conflict(f"documents were added to {s['corpus']}/{s['domain']} meanwhile: sample again")
    drawn = _drawn(lake, *(s[k] for k in PLACE), s["rule"]["at"], cell.task["wanted"])
    ranks = np.arange(s["first_rank"], s["last_rank"] + 1)
    encoder = _encoder(Source(**cell.task["source"]), s["tokenizer_digest"])
    known = _known(lake, s)
    sequences, rejects = [], []
    for rank, document_id, text, tokens, cut in _cuts(lake, s, drawn, ranks, encoder):
        if not cut:
            reason = CHANGED if tokens is None else f"too short for {s['rule']['window']}"
            rejects.append(sample_rows.reject(s, rank, reason, text, int(drawn.anchor[rank])))
        elif (row := sample_rows.row(s, document_id, rank, tokens, cut))["sequence_id"] not in known:
            sequences.append(row)
        if len(sequences) + len(rejects) >= PIECE:
            yield from sample_rows.tables(sequences, rejects)
            sequences, rejects = [], []
    yield from sample_rows.tables(sequences, rejects)


def counts(lake: Lake, parts: Sequence[Part]) -> pa.Table:
    """One row is one domain under one tokenizer: its anchors, and what became of them. `in_other_samples`: windows that
    the lake held before. `redrawn`: of the anchors, those that were drawn in the place of lost ones."""
    columns = ("anchors", "sequences", "too_short", "text_changed", "in_other_samples", "redrawn")
    rows = []
    with lake.connect(["sequences", "rejects"]) as con:
        for p in parts:
            place = {k: p.settings[k] for k in ("corpus", "domain", "tokenizer")}
            (sequences,) = con.execute(
                "select count(*) from stored.sequences where corpus = ? and domain = ? and tokenizer = ? and sample = ?"
                " and rank < ?",
                [*place.values(), p.settings["sample"], p.tried],
            ).fetchone()
            changed, short = con.execute(
                "select count(*) filter (reason = ?), count(*) filter (reason <> ?) from stored.rejects"
                " where corpus = ? and source = ? and position < ?",
                [
                    *(CHANGED, CHANGED, place["corpus"]),
                    sample_rows.source(place["domain"], place["tokenizer"], p.settings["sample"]),
                    p.tried,
                ],
            ).fetchone()
            others = p.tried - sequences - short - changed
            numbers = (p.tried, sequences, short, changed, others, p.tried - p.asked)
            rows.append(place | dict(zip(columns, numbers, strict=True)))
    fields = [(n, pa.string()) for n in ("corpus", "domain", "tokenizer")] + [(n, pa.int64()) for n in columns]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


def remarks(found: pa.Table) -> list[str]:
    """A line for each row of `counts` without a sequence, old or new, that says why."""
    lines = []
    for r in found.to_pylist():
        where, anchors = f"{r['corpus']} ({r['domain']})", r["anchors"]
        if not anchors:
            lines.append(
                f"{where}: no place to begin in any document: no single space between two words, and no two letters"
                " of a script without spaces far from one"
            )
        elif r["too_short"] + r["text_changed"] == anchors:
            lines.append(
                f"{where}: none of {anchors} anchors gave a sequence under {r['tokenizer']}: {r['too_short']} with too"
                f" short a text around (--window), {r['text_changed']} in a text that it does not give back"
            )
    return lines


def _snapshots(lake: Lake, corpora: Sequence[str], domains: Sequence[str]) -> dict[tuple[str, str], str]:
    """For each domain a digest of its documents, the same in any order. Raises `UnknownName`."""
    with lake.connect(["documents"]) as con:
        rows = con.sql(
            "select corpus, domain, count(*), sum(document_id::hugeint)::varchar, sum(text_hash::hugeint)::varchar"
            " from stored.documents group by all order by all"
        ).fetchall()
    for corpus in corpora:
        if corpus not in {r[0] for r in rows}:
            raise UnknownName("corpus", corpus, {r[0] for r in rows})
    for domain in domains:
        known = {r[1] for r in rows if r[0] in corpora}
        if domain not in known:
            raise UnknownName("domain", domain, known)
    return {(c, d): tagged("d1", rest) for c, d, *rest in rows if c in corpora and (not domains or d in domains)}


def _done(lake: Lake) -> dict[tuple[str, str], list[tuple[int, int]]]:
    """The ranges of ranks that are published, by sample and tokenizer digest."""
    found: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for _, s in published(lake, EXPERIMENT):
        found.setdefault((s["sample"], s["tokenizer_digest"]), []).append((s["first_rank"], s["last_rank"]))
    return found


def _drawn(lake: Lake, corpus: str, domain: str, snapshot: str, seed: int, at: str, wanted: int) -> Drawn:
    """At least the first `wanted` anchors of a domain, or all there are."""
    return _draw(str(lake.path), corpus, domain, snapshot, seed, at, 1 << (wanted - 1).bit_length() if wanted else 0)


@lru_cache(maxsize=4)
def _draw(lake_path: str, corpus: str, domain: str, snapshot: str, seed: int, at: str, wanted: int) -> Drawn:
    """Kept for the next tokenizer, and for anchors that take the place of lost ones: `snapshot` tells other documents
    apart."""
    where = "from stored.documents where corpus = ? and domain = ?"
    with Lake.open(lake_path).connect(["documents"]) as con:

        def documents() -> Iterator[tuple[int, bytes]]:
            for batch in con.execute(f"select document_id, encode(text) {where}", [corpus, domain]).to_arrow_reader(
                BATCH
            ):
                yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

        if at == "start":
            ids = con.execute(f"select document_id {where}", [corpus, domain]).fetchnumpy()["document_id"]
            drawn = draw_starts(ids.tolist(), seed)
        else:
            most, full = 1, True
            while full:
                drawn, full = draw(documents(), seed, most)
                full, most = full and len(drawn) < wanted, most * 4
    return replace(drawn, document_id=drawn.document_id[:wanted], anchor=drawn.anchor[:wanted])


@lru_cache(maxsize=4)
def _encoder(source: Source, digest: str) -> Encoder:
    return Encoder(load_same(source, digest))


def _known(lake: Lake, s: dict) -> set[int]:
    """Ids of the sequences that the lake holds for this domain and tokenizer."""
    with lake.connect(["sequences"]) as con:
        found = con.execute(
            "select sequence_id from stored.sequences where corpus = ? and domain = ? and tokenizer = ?",
            [s["corpus"], s["domain"], s["tokenizer"]],
        ).fetchnumpy()
    return set(found["sequence_id"].tolist())


def _cuts(
    lake: Lake, s: Mapping[str, Any], drawn: Drawn, ranks: np.ndarray, encoder: Encoder
) -> Iterator[tuple[int, int, str, Tokens | None, Cut | None]]:
    """(rank, document_id, text, the document's tokens, where the anchor cuts them) for each of these ranks, in any
    order; no tokens where the tokenizer changes the text, and no cut where it gives no sequence."""
    window = Window.parse(s["rule"]["window"])
    order = np.argsort(drawn.document_id[ranks], kind="stable")
    ranks, ids = ranks[order], drawn.document_id[ranks][order]
    for document_id, text, tokens in _tokenized(lake, s, np.unique(ids), encoder):
        for rank in ranks[np.searchsorted(ids, document_id) : np.searchsorted(ids, document_id, side="right")].tolist():
            yield rank, document_id, text, tokens, tokens and _cut(tokens, int(drawn.anchor[rank]), window)


def _tokenized(lake: Lake, s: dict, ids: np.ndarray, encoder: Encoder) -> Iterator[tuple[int, str, Tokens | None]]:
    """The documents `ids`, whole, with their tokens."""
    with lake.connect(["documents"]) as con:
        con.register("wanted", pa.table({"document_id": ids}))
        reader = con.execute(
            "select document_id, text from stored.documents where corpus = ? and domain = ?"
            " and document_id in (select document_id from wanted)",
            [s["corpus"], s["domain"]],
        ).to_arrow_reader(BATCH)
        for batch in reader:
            found, texts = (column.to_pylist() for column in batch.columns)
            yield from zip(found, texts, encoder.encode(texts), strict=True)


def _cut(tokens: Tokens, anchor: int, window: Window) -> Cut | None:
    return cut_start(tokens, window) if anchor == NOWHERE else cut_at(tokens, anchor, window)
