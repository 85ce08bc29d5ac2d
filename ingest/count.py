"""How often the n-grams of the sequences occur in a corpus: one pass over it, exact counts (`ngram_counts`).

For each sequence: its tokens and pairs of neighbours, position by position; its continuation; its whole window; and
exact copies of its document. Occurrences are counted at every position of a document, overlapping ones too, and none
across documents; a sequence of the counted corpus counts itself. Counts are made under the sequence's own tokenizer
(its tokens as they stand), under bytes (a position is a byte of the window), or under another tokenizer: it tokenizes
the sequence's whole document, and the tokens that lie within the window's bytes stand for it. Imported sequences
without a document are counted under their own tokenizer only.

Cells of a first stage each read some files and leave their counts in the spool; one of the second stage adds them up.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from warehouse.cells import Cell, published
from warehouse.errors import BadInput, Conflict
from warehouse.identity import sha256, tagged
from warehouse.lake import Lake
from warehouse.run import Summary, recover, run

from .count_corpus import Corpus, stored, streamed
from .count_scan import SCAN, scan, scans
from .count_wanted import OWN, Selection, Way, select, ways
from .infini_gram_count import LOOKUP, indexed, look_up, lookups
from .ngrams import Wanted, rows
from .spool import Spool

COUNT, VERSION = "count", 1
TABLE = "ngram_counts"


@dataclass(frozen=True)
class Plan:
    """The cells that count in one way, and what they count."""

    way: Way
    selection: Selection
    first: tuple[Cell, ...]
    second: Cell
    spool: Spool


def count(
    lake: Lake,
    corpus: str,
    *,
    domains: Sequence[str] = (),
    models: Sequence[str] = (),
    tokenizers: Sequence[str] = (OWN,),
    within: str | None = None,
    source: str | None = None,
    options: Mapping[str, Any] | None = None,
    index: str | None = None,
    workers: int | None = None,
) -> tuple[Summary, pa.Table]:
    """Count for the sequences of a corpus; how the run went, and a row for each way of counting.

    models: only sequences under the tokenizers of these. tokenizers: 'own', 'bytes', or what `--model` takes.
    within: the corpus in which is counted, by default that of the sequences: what the lake holds of it or, with a
    source and its options, files that are streamed again. index: a prebuilt infini-gram index to look up in instead, a
    folder or the name of a public one. Sequences that have their counts are left alone. Raises `UnknownName`,
    `BadInput`, and `Conflict` where the corpus has changed since others were counted in it.
    """
    recover(lake)  # counts that a killed run left ready are not planned again
    if options and not source:
        raise BadInput("--path and the like are options of a --source")
    if index and source:
        raise BadInput("give --index or --source: an index is looked up in, and the corpus is not read")
    if index:
        counted, workers = indexed(index, within, tokenizers, workers)
    else:
        within = within or corpus
        counted = streamed(lake, within, source, options or {}) if source else stored(lake, within)
    total, found = Summary(), []
    for way in ways(lake, corpus, domains, models, tokenizers):
        refuse_changes(lake, counted, way)
        selection = select(lake, way, corpus, domains, counted.name, counted.complete)
        if len(selection.wanted):
            _run(lake, plan(lake, corpus, domains, counted, way, selection), total, workers)
        found.append(_row(lake, corpus, domains, counted, way, selection))
    return total, pa.Table.from_pylist(found)


def refuse_changes(lake: Lake, counted: Corpus, way: Way) -> None:
    """Raise `Conflict` where counts stand under this name that were made when the corpus held other documents."""
    same = {"counted_corpus": counted.name, "counted_tokenizer": way.name, "complete": counted.complete}
    old = [
        cell
        for cell, settings in published(lake, COUNT)
        if {k: settings[k] for k in same} == same and settings["read"] != counted.digest
    ]
    if old:
        raise Conflict(
            f"{counted.name} held other documents when it was counted under {way.name}: take those counts back with"
            f" `memlake warehouse forget --cell {old[0]}`" + (f" (and {len(old) - 1} more)" if old[1:] else "")
        )


def plan(lake: Lake, corpus: str, domains: Sequence[str], counted: Corpus, way: Way, selection: Selection) -> Plan:
    """The cells of both stages. What is wanted waits for them in the spool."""
    settings = {
        "corpora": sorted({corpus, counted.name}),
        "counted_corpus": counted.name,
        "counted_tokenizer": way.name,
        "tokenizer_digest": way.digest,
        "wanted": sha256([selection.wanted.sequence_id.tobytes()]),
        "read": counted.digest,
        "complete": counted.complete,
    }
    second = Cell(COUNT, VERSION, settings, (TABLE,))
    request = tagged("count", [corpus, sorted(domains), counted.name, way.name])
    spool = Spool(lake, f"{request}-{second.id}")
    task = {"spool": spool.folder.name, "request": request, "wanted": tagged("wanted", settings)}
    task["tokenizer"] = asdict(way.tokenizer.source) if way.tokenizer else None
    first = lookups(lake, counted, selection.wanted, settings, task) or scans(counted, settings, task)
    second = replace(second, task=task | {"cells": sorted(c.id for c in first)})
    return Plan(way, selection, tuple(first), second, spool)


def _run(lake: Lake, planned: Plan, total: Summary, workers: int | None) -> None:
    """Both stages, and the spool removed at the end."""
    spool = planned.spool
    for other in spool.folder.parent.glob(f"{planned.second.task['request']}-*"):
        if other != spool.folder:  # of a run that was killed, and asked for other sequences
            shutil.rmtree(other)
    spool.replan(planned.first, [planned.second])
    with spool.writing(planned.second.task["wanted"]) as path:
        planned.selection.wanted.save(path)
    for stage in (planned.first, [planned.second]):
        summary = run(lake, stage, work, workers=workers, title=f"count under {planned.way.name}")
        total.add(summary)
        if summary.failed:
            return
    spool.remove()


def work(cell: Cell, lake: Lake) -> Iterator[tuple[str, pa.Table]]:
    """The rows of a cell of the second stage; one of the first has none. Runs on a worker."""
    spool = Spool(lake, cell.task["spool"])
    (path,) = spool.take([cell.task["wanted"]])
    if cell.experiment in (SCAN, LOOKUP):
        read = scan if cell.experiment == SCAN else look_up
        read(cell, lake, spool, Wanted.load(path))
        return
    counts: dict[str, np.ndarray] = {}
    tokens = 0
    for file in spool.take(cell.task["cells"]):
        with np.load(file) as part:
            tokens += int(part["tokens"])
            for span in part.files:
                if span != "tokens":
                    counts[span] = counts.get(span, 0) + part[span]
    said = {key: cell.settings[key] for key in ("counted_corpus", "counted_tokenizer", "complete")}
    for piece in rows(Wanted.load(path), counts, tokens_scanned=tokens, **said):
        yield TABLE, piece


def _row(
    lake: Lake, corpus: str, domains: Sequence[str], counted: Corpus, way: Way, selection: Selection
) -> dict[str, Any]:
    """What the lake holds now of one way of counting. skipped: sequences that cannot be counted so. clipped: of those
    of this run, how many lose a token at an edge."""
    with lake.connect([TABLE]) as con:
        sequences, tokens = con.execute(
            f"select count(distinct sequence_id), max(tokens_scanned) from stored.{TABLE} where counted_corpus = $1"
            " and counted_tokenizer = $2 and complete = $3 and corpus = $4"
            " and (len($5) = 0 or list_contains($5, domain)) and list_contains($6, tokenizer)",
            [counted.name, way.name, counted.complete, corpus, list(domains), list(way.of)],
        ).fetchone()
    return {
        "counted_corpus": counted.name,
        "counted_tokenizer": way.name,
        "complete": counted.complete,
        "sequences": sequences,
        "tokens_scanned": tokens,
        "skipped": sum(selection.skipped.values()),
        "why": ", ".join(f"{reason} {n}" for reason, n in selection.skipped.items()),
        "clipped": selection.clipped,
    }
