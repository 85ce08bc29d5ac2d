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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa

from memlake.ingest.documents.base import listed, name_problem
from memlake.warehouse.errors import BadInput, Conflict
from memlake.warehouse.identity import sha256, tagged
from memlake.warehouse.lake import Lake, spools
from memlake.warehouse.work.cells import Cell, published
from memlake.warehouse.work.runner import Summary, recover, run
from memlake.warehouse.work.spool import Spool

from .corpus import Counted, stored, streamed
from .lookup import LOOKUP, indexed, look_up, lookups
from .ngrams import Wanted, rows
from .partial import Read, all_counts, all_read
from .queries import OWN, Selection, Way, select, ways
from .scan import SCAN, scan, scans

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
    if index:
        counted, workers = indexed(index, within, tokenizers, workers)
    else:
        within = within or corpus
        counted = streamed(lake, within, source, options or {}) if source else stored(lake, within)
    total, found = Summary(), []
    for way in ways(lake, corpus, domains, models, tokenizers):
        refuse_changes(lake, counted, way)
        selection = select(lake, way, corpus, domains, counted.name, counted.complete)
        read = None
        if len(selection.wanted):
            read = _run(lake, plan(lake, corpus, domains, counted, way, selection), total, workers)
        found.append(_row(lake, corpus, domains, counted, way, selection, read))
    if not total.failed:
        _remove_left(lake, counted)
    return total, pa.Table.from_pylist(found)


def refuse_changes(lake: Lake, counted: Counted, way: Way) -> None:
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
            f" `memlake warehouse forget --cell {old[0]}`" + "".join(f", `--cell {cell}`" for cell in old[1:])
        )


def plan(lake: Lake, corpus: str, domains: Sequence[str], counted: Counted, way: Way, selection: Selection) -> Plan:
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
    spool = f"{spools(counted.name)}/count-{second.id}"
    task = {"spool": spool, "wanted": tagged("wanted", settings)}
    task["tokenizer"] = asdict(way.tokenizer.source) if way.tokenizer else None
    first = lookups(lake, counted, selection.wanted, settings, task) or scans(counted, settings, task)
    second = replace(second, task=task | {"cells": sorted(c.id for c in first)})
    return Plan(way, selection, tuple(first), second, Spool(lake, spool))


def _run(lake: Lake, planned: Plan, total: Summary, workers: int | None) -> Read | None:
    """Both stages, and the spool removed at the end. What was read; None where a cell failed."""
    spool = planned.spool
    with _held(spool):
        spool.replan(planned.first, [planned.second])
        with spool.writing(planned.second.task["wanted"]) as path:
            planned.selection.wanted.save(path)
        if not _stage(lake, planned.first, planned.way, total, workers):
            return None
        read = all_read(spool.take(planned.second.task["cells"]))
        if not read.documents:
            spool.remove()
            why = f": {read.rejects.total()} records are none ({listed(read.rejects.most_common())})"
            name = planned.second.settings["counted_corpus"]
            raise BadInput(f"no document of {name} was read{why if read.rejects else ''}; nothing is published")
        if not _stage(lake, [planned.second], planned.way, total, workers):
            return None
        spool.remove()
    return read


def _stage(lake: Lake, cells: Sequence[Cell], way: Way, total: Summary, workers: int | None) -> bool:
    """Whether all of them could be run."""
    summary = run(lake, cells, work, workers=workers, title=f"count under {way.name}")
    total.add(summary)
    return not summary.failed


@contextmanager
def _held(spool: Spool) -> Iterator[None]:
    """While this process lives, `_remove_left` of another one leaves the spool alone."""
    spool.folder.mkdir(parents=True, exist_ok=True)
    folder = os.open(spool.folder, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_SH)  # shared: two processes may be asked for the same counts
        yield
    finally:
        os.close(folder)


def _remove_left(lake: Lake, counted: Counted) -> None:
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


def work(cell: Cell, lake: Lake) -> Iterator[tuple[str, pa.Table]]:
    """The rows of a cell of the second stage; one of the first has none. Runs on a worker."""
    spool = Spool(lake, cell.task["spool"])
    (path,) = spool.take([cell.task["wanted"]])
    if cell.experiment in (SCAN, LOOKUP):
        read = scan if cell.experiment == SCAN else look_up
        read(cell, lake, spool, Wanted.load(path))
        return
    files = spool.take(cell.task["cells"])
    said = {key: cell.settings[key] for key in ("counted_corpus", "counted_tokenizer", "complete")}
    for piece in rows(Wanted.load(path), all_counts(files), tokens_scanned=all_read(files).tokens, **said):
        yield TABLE, piece


def _row(
    lake: Lake,
    corpus: str,
    domains: Sequence[str],
    counted: Counted,
    way: Way,
    selection: Selection,
    read: Read | None,
) -> dict[str, Any]:
    """What the lake holds now of one way of counting. rejects: records of the counted corpus that are no documents;
    null for files that were not read now. skipped: sequences that cannot be counted so. clipped: of those of this run,
    how many lose a token at an edge."""
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
        "rejects": read.rejects.total() if read and counted.rejects is None else counted.rejects,
        "skipped": sum(selection.skipped.values()),
        "why": ", ".join(f"{reason} {n}" for reason, n in selection.skipped.items()),
        "clipped": selection.clipped,
    }
