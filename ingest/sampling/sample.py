"""Sequences: a window around each anchor of a sample, once for each tokenizer, and how guessable each is."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import ModelSpec
from memlake.warehouse.work.runner import Summary, recover, run_cells

from . import guessability
from .plan import Part, plan_parts, published_ranks, redraw
from .sequences import CHANGED
from .windows import Window


def sample(
    lake: Lake,
    corpora: Sequence[str],
    specs: Sequence[ModelSpec],
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
    parts = plan_parts(lake, corpora, specs, domains, per_domain, Window.parse(window), at, seed)
    summary, whole = _publish(lake, parts, workers)
    summary.skipped += sum(len(p.done) for p in parts)
    done = published_ranks(lake)
    again, whole = _publish(lake, [redraw(lake, p, done, per_domain) for p in whole], workers)
    summary.add(again)
    unguessed = guessability.cells(lake, {p.sample.tokenizer: p.spec for p in parts})
    summary.failed += run_cells(lake, unguessed, workers=workers, title="guessability").failed
    return summary, counts(lake, whole)


def _publish(lake: Lake, parts: Sequence[Part], workers: int | None) -> tuple[Summary, list[Part]]:
    """Publish what is missing of the parts; how it went, and the parts of which nothing is missing now."""
    cells = [p.cells() for p in parts]
    summary = run_cells(lake, [c for found in cells for c in found], workers=workers, title="sample")
    failed = {cell.id for cell, _ in summary.failed}
    return summary, [p for p, found in zip(parts, cells, strict=True) if not failed & {c.id for c in found}]


def counts(lake: Lake, parts: Sequence[Part]) -> pa.Table:
    """One row is one domain under one tokenizer: its anchors, and what became of them. `in_other_samples`: windows that
    the lake held before. `redrawn`: of the anchors, those that were drawn in the place of lost ones."""
    columns = ("anchors", "sequences", "too_short", "text_changed", "in_other_samples", "redrawn")
    rows = []
    with lake.connect(["sequences", "rejects"]) as con:
        for p in parts:
            of = p.sample
            place = {"corpus": of.corpus, "domain": of.domain, "tokenizer": of.tokenizer}
            ((sequences,),) = con.execute(
                "select count(*) from stored.sequences where corpus = ? and domain = ? and tokenizer = ? and sample = ?"
                " and rank < ?",
                [*place.values(), of.sample, p.tried],
            ).fetchall()
            ((changed, short),) = con.execute(
                "select count(*) filter (reason = ?), count(*) filter (reason <> ?) from stored.rejects"
                " where corpus = ? and source = ? and position < ?",
                [CHANGED, CHANGED, of.corpus, of.reject_source, p.tried],
            ).fetchall()
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
