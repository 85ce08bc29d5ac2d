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

import fcntl
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from memlake.ingest.names import name_problem
from memlake.ingest.source import listed
from memlake.warehouse.errors import BadInput, Conflict
from memlake.warehouse.identity import sha256
from memlake.warehouse.lake import Lake, spools
from memlake.warehouse.words import counted
from memlake.warehouse.work.cells import Cell, published
from memlake.warehouse.work.runner import Summary, recover, run_cells
from memlake.warehouse.work.spool import Spool

from .corpus import Corpus, stored, streamed
from .lookup import Index, indexed, lookups
from .queries import OWN, Selection, Way, select, ways
from .scan import scans
from .tallies import AddUp, CountingCell, CountSettings, Extent, extents


@dataclass(frozen=True)
class Plan:
    """The cells that count in one way, and what they count."""

    way: Way
    selection: Selection
    first: Sequence[CountingCell]
    second: AddUp
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
    `BadInput` (also where no document could be read: nothing is published then), and `Conflict` where the corpus has
    changed since others were counted in it.
    """
    recover(lake)  # counts that a killed run left ready are not planned again
    if options and not source:
        raise BadInput("--path and the like are options of a --source")
    if index and source:
        raise BadInput("give --index or --source: an index is looked up in, and the corpus is not read")
    if within is not None and (problem := name_problem(within, "--in")):
        raise BadInput(problem)
    counted: Corpus | Index
    if index:
        counted = indexed(index, within, tokenizers)
        workers = 0 if counted.public else workers  # one process asks, so that not too many requests are sent
    else:
        within = within or corpus
        counted = streamed(lake, within, source, options or {}) if source else stored(lake, within)
    total, found = Summary(), []
    for way in ways(lake, corpus, domains, models, tokenizers):
        refuse_changes(lake, counted, way)
        selection = select(lake, way, corpus, domains, counted.name, counted.complete)
        read = None
        if len(selection.wanted):
            read = _count(lake, plan(lake, corpus, counted, way, selection), total, workers)
        found.append(_row(lake, corpus, domains, counted, way, selection, read))
    if not total.failed:
        _remove_left(lake, counted)
    return total, pa.Table.from_pylist(found)


def refuse_changes(lake: Lake, counted: Corpus | Index, way: Way) -> None:
    """Raise `Conflict` where counts stand under this name that were made when the corpus held other documents."""
    now = (counted.name, way.name, counted.complete)
    old = [
        cell
        for cell, s in published(lake, AddUp.EXPERIMENT, CountSettings)
        if (s.counted_corpus, s.counted_tokenizer, s.complete) == now and s.read != counted.digest
    ]
    if old:
        raise Conflict(
            f"{counted.name} held other documents when it was counted under {way.name}: take those counts back with"
            f" `memlake warehouse forget --cell {old[0]}`" + "".join(f", `--cell {cell}`" for cell in old[1:])
        )


def plan(lake: Lake, corpus: str, counted: Corpus | Index, way: Way, selection: Selection) -> Plan:
    """The cells of both stages."""
    settings = CountSettings(
        corpora=tuple(sorted({corpus, counted.name})),
        counted_corpus=counted.name,
        counted_tokenizer=way.name,
        tokenizer_digest=way.digest,
        wanted=sha256([selection.wanted.sequence_id.tobytes()]),
        read=counted.digest,
        complete=counted.complete,
    )
    second, spec = AddUp(settings), way.tokenizer.spec if way.tokenizer else None
    first: Sequence[CountingCell]
    if isinstance(counted, Index):
        first = lookups(lake, counted, selection.wanted, second, spec)
    else:
        first = scans(counted, second, spec)
    second = replace(second, counted=tuple(sorted(c.id for c in first)))
    return Plan(way, selection, first, second, Spool(lake, second.spool))


def _count(lake: Lake, planned: Plan, total: Summary, workers: int | None) -> Extent | None:
    """Both stages, and the spool removed at the end. How much was read; None where a cell failed."""
    spool, second = planned.spool, planned.second
    with _locked(spool):
        spool.replan(planned.first, [second])
        with spool.writing(second.wanted) as path:
            planned.selection.wanted.save(path)
        if not _run_stage(lake, planned.first, planned.way, total, workers):
            return None
        read = Extent.total(extents(spool.take(second.counted)))
        if not read.documents:
            spool.remove()
            none = f"{counted(read.rejected, 'record is', 'records are')} none"
            why = f": {none} ({listed(Counter(read.rejects).most_common())})"
            name = second.settings.counted_corpus
            raise BadInput(f"no document of {name} was read{why if read.rejects else ''}; nothing is published")
        if not _run_stage(lake, [second], planned.way, total, workers):
            return None
        spool.remove()
    return read


def _run_stage(lake: Lake, cells: Sequence[Cell], way: Way, total: Summary, workers: int | None) -> bool:
    """Whether all of them could be run."""
    summary = run_cells(lake, cells, workers=workers, title=f"count under {way.name}")
    total.add(summary)
    return not summary.failed


@contextmanager
def _locked(spool: Spool) -> Iterator[None]:
    """While this process lives, `_remove_left` of another one leaves the spool alone."""
    spool.folder.mkdir(parents=True, exist_ok=True)
    folder = os.open(spool.folder, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_SH)  # shared: two processes may be asked for the same counts
        yield
    finally:
        os.close(folder)


def _remove_left(lake: Lake, counted: Corpus | Index) -> None:
    """Remove what killed runs have left that counted in this corpus, and were asked for something else."""
    corpus = spools(counted.name)
    for path in (lake.path / "spool" / corpus).glob("count-*"):
        folder = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue  # its run is alive
        else:
            Spool(lake, f"{corpus}/{path.name}").remove()
        finally:
            os.close(folder)


def _row(
    lake: Lake,
    corpus: str,
    domains: Sequence[str],
    counted: Corpus | Index,
    way: Way,
    selection: Selection,
    read: Extent | None,
) -> dict[str, Any]:
    """What the lake holds now of one way of counting. rejects: records of the counted corpus that are no documents;
    null for files that were not read now. skipped: sequences that cannot be counted so. clipped: of those of this run,
    how many lose a token at an edge."""
    with lake.connect(["ngram_counts"]) as con:
        ((sequences, tokens),) = con.execute(
            "select count(distinct sequence_id), max(tokens_scanned) from stored.ngram_counts where counted_corpus = $1"
            " and counted_tokenizer = $2 and complete = $3 and corpus = $4"
            " and (len($5) = 0 or list_contains($5, domain)) and list_contains($6, tokenizer)",
            [counted.name, way.name, counted.complete, corpus, list(domains), list(way.of)],
        ).fetchall()
    return {
        "counted_corpus": counted.name,
        "counted_tokenizer": way.name,
        "complete": counted.complete,
        "sequences": sequences,
        "tokens_scanned": tokens,
        "rejects": read.rejected if read and counted.rejects is None else counted.rejects,
        "skipped": sum(selection.skipped.values()),
        "why": ", ".join(f"{reason} {n}" for reason, n in selection.skipped.items()),
        "clipped": selection.clipped,
    }
