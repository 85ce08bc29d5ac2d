"""Sequences: a window around each anchor of a sample, once for each tokenizer.

A sample is (corpus, domain, seed, the documents that are there, rule). Its anchors are ordered, so that a larger
sample of the same documents adds ranks and changes none; new documents make a new sample. A window that an earlier
sample holds already (the same anchor, tokenizer and lengths) is not written again: a sequence is one row whoever asked
for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa

from warehouse.cells import Cell, published
from warehouse.errors import BadInput, Conflict, UnknownName
from warehouse.identity import tagged
from warehouse.lake import Lake
from warehouse.registry import Source
from warehouse.run import Summary, recover, run
from warehouse.tokenizer import load_same, load_tokenizer, register_tokenizer

from . import guessability, sample_rows
from .anchors import APART, NOWHERE, Drawn, draw, draw_starts, sample_name
from .tokens import Cut, Encoder, Tokens, Window, cut_at, cut_start

EXPERIMENT, VERSION, TABLES = "sample", 1, ("sequences", "rejects")
SHARD = 1_000_000  # anchors a cell at most
BATCH = 256  # documents tokenized at once
PIECE = 10_000  # sequences in a piece of rows
CHANGED = "text changed by the tokenizer"


@dataclass(frozen=True)
class Part:
    """The sample of one domain under one tokenizer: how many anchors it has, and the cells that are still missing."""

    corpus: str
    domain: str
    tokenizer: str
    sample: str
    anchors: int
    cells: tuple[Cell, ...]
    source: Source  # of the tokenizer


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

    per_domain: anchors of each domain, or all there are. at: 'space', or 'start' for each document's first tokens (the
    setting of the Pythia evaluation, Biderman et al. 2023). Raises `UnknownName`, `BadInput`.
    """
    recover(lake)  # ranks that a killed run left ready are not planned again
    parts = plan_parts(lake, corpora, sources, domains, per_domain, Window.parse(window), at, seed)
    summary = run(lake, [c for p in parts for c in p.cells], work, workers=workers, title="sample")
    failed = {cell.id for cell, _ in summary.failed}
    unguessed = guessability.cells(lake, {p.tokenizer: p.source for p in parts})
    summary.failed += run(lake, unguessed, guessability.work, workers=workers, title="guessability").failed
    return summary, counts(lake, [p for p in parts if not failed & {c.id for c in p.cells}])


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
        rule = {"at": at, "apart": APART, "window": str(window)}
        name = sample_name(corpus, domain, seed, snapshot, rule)
        anchors = len(_drawn(str(lake.path), corpus, domain, snapshot, seed, at, per_domain))
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
            task = {"source": asdict(tokenizer.source), "per_domain": per_domain}
            cells = [
                Cell(
                    EXPERIMENT,
                    VERSION,
                    settings | {"first_rank": first, "last_rank": last},
                    TABLES,
                    group=f"{corpus}/{domain}",
                    task=task,
                )
                for first, last in missing(done.get((name, digest), []), anchors, SHARD)
            ]
            parts.append(Part(corpus, domain, names[digest], name, anchors, tuple(cells), tokenizer.source))
    return parts


def missing(done: Sequence[tuple[int, int]], total: int, most: int) -> list[tuple[int, int]]:
    """The ranks of [0, total) that no range of `done` holds, as ranges (first, last), both included, of at most
    `most`."""
    gaps, at = [], 0
    for first, last in [*sorted(done), (total, total)]:
        gaps += [(i, min(i + most, first, total) - 1) for i in range(at, min(first, total), most)]
        at = max(at, last + 1)
    return gaps


def work(cell: Cell, lake: Lake) -> Iterator[tuple[str, pa.Table]]:
    """The sequences and rejects of one cell; runs on a worker."""
    s = cell.settings
    if _snapshots(lake, [s["corpus"]], [s["domain"]])[s["corpus"], s["domain"]] != s["snapshot"]:
        raise Conflict(f"documents were added to {s['corpus']}/{s['domain']} meanwhile: sample again")
    task = s["corpus"], s["domain"], s["snapshot"], s["seed"], s["rule"]["at"], cell.task["per_domain"]
    drawn = _drawn(str(lake.path), *task)
    ranks = np.arange(s["first_rank"], s["last_rank"] + 1)
    order = np.argsort(drawn.document_id[ranks], kind="stable")
    ranks, ids = ranks[order], drawn.document_id[ranks][order]
    encoder = _encoder(Source(**cell.task["source"]), s["tokenizer_digest"])
    known = _known(lake, s)
    sequences, rejects = [], []
    for document_id, text, tokens in _tokenized(lake, s, np.unique(ids), encoder):
        for rank in ranks[np.searchsorted(ids, document_id) : np.searchsorted(ids, document_id, side="right")]:
            anchor = int(drawn.anchor[rank])
            cut = tokens and _cut(tokens, anchor, Window.parse(s["rule"]["window"]))
            if not cut:
                reason = CHANGED if tokens is None else f"too short for {s['rule']['window']}"
                rejects.append(sample_rows.reject(s, int(rank), reason, text, anchor))
            elif (row := sample_rows.row(s, document_id, int(rank), tokens, cut))["sequence_id"] not in known:
                sequences.append(row)
        if len(sequences) + len(rejects) >= PIECE:
            yield from sample_rows.tables(sequences, rejects)
            sequences, rejects = [], []
    yield from sample_rows.tables(sequences, rejects)


def counts(lake: Lake, parts: Sequence[Part]) -> pa.Table:
    """One row is one domain under one tokenizer: its anchors, and what became of them. `in_other_samples`: windows that
    the lake held before."""
    columns = ("anchors", "sequences", "too_short", "text_changed", "in_other_samples")
    rows = []
    with lake.connect(["sequences", "rejects"]) as con:
        for p in parts:
            (sequences,) = con.execute(
                "select count(*) from stored.sequences where corpus = ? and domain = ? and tokenizer = ? and sample = ?"
                " and rank < ?",
                [p.corpus, p.domain, p.tokenizer, p.sample, p.anchors],
            ).fetchone()
            changed, short = con.execute(
                "select count(*) filter (reason = ?), count(*) filter (reason <> ?) from stored.rejects"
                " where corpus = ? and source = ? and position < ?",
                [CHANGED, CHANGED, p.corpus, sample_rows.source(p.domain, p.tokenizer, p.sample), p.anchors],
            ).fetchone()
            numbers = (p.anchors, sequences, short, changed, p.anchors - sequences - short - changed)
            row = {"corpus": p.corpus, "domain": p.domain, "tokenizer": p.tokenizer}
            rows.append(row | dict(zip(columns, numbers, strict=True)))
    fields = [(n, pa.string()) for n in ("corpus", "domain", "tokenizer")] + [(n, pa.int64()) for n in columns]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


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


@lru_cache(maxsize=4)
def _drawn(lake_path: str, corpus: str, domain: str, snapshot: str, seed: int, at: str, wanted: int) -> Drawn:
    """The first `wanted` anchors of a domain. Kept for the next tokenizer: `snapshot` tells other documents apart."""
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
    return Drawn(drawn.document_id[:wanted], drawn.anchor[:wanted])


@lru_cache(maxsize=1)
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
