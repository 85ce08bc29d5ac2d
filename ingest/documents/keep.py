"""A uniform sample of a corpus of any size, in one pass: of each domain the N documents with the smallest hash of their
id (bottom-k sampling: Cohen and Kaplan, PODC 2007). Its size is exact, and it is the same in any order of the files and
with any number of workers.

The first stage reads the files, one cell each. A document goes to the spool while fewer than N smaller hashes of its
domain are known, from this file or from those that were read before it; so the spool holds about N log(corpus / N)
documents of a domain and not the corpus. What is known is handed on in one file of the spool, N hashes a domain, that
each cell reads at its beginning and replaces at its end. Of two cells that end at once, the second may undo what the
first wrote: then more goes to the spool, and the sample is the same. The second stage, one cell, publishes the N
smallest of the spool. Memory holds hashes, and one piece of text.
"""

from __future__ import annotations

import shutil
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from memlake.ingest.source import Document, Reject
from memlake.warehouse.errors import Conflict
from memlake.warehouse.identity import hash63, tagged
from memlake.warehouse.lake import Lake, spools
from memlake.warehouse.schema import table
from memlake.warehouse.work.cells import Cell, published
from memlake.warehouse.work.spool import Spool

from .pieces import PIECE, Pieces, domain_rows

SLACK = 256  # hashes that are held at least beside those that are kept, so that they are not sorted all the time
KEEP, VERSION, TABLES = "ingest_keep", 1, ("documents", "domains")
KNOWN = "known"  # in the spool: the smallest hashes of all files so far

Rows = tuple[str, pa.Table]  # the table, and a piece of its rows


class Smallest:
    """The `n` smallest of the distinct hashes it is shown; holds at most half as many more, or `SLACK`."""

    def __init__(self, n: int):
        self.n, self.bound = n, 2**63 - 1
        self._held = array("q")

    def add(self, value: int) -> bool:
        """Show one; False where `n` smaller ones are known."""
        if value > self.bound:
            return False
        self._held.append(value)
        if len(self._held) >= self.n + max(self.n // 2, SLACK):
            self.trim()
        return True

    def extend(self, values: np.ndarray) -> None:
        """Show many, int64."""
        self._held.frombytes(values[values <= self.bound].tobytes())
        self.trim()

    def trim(self) -> int:
        """Let go of all but the `n` smallest; the largest of these, or 2**63 - 1 while there are fewer."""
        if len(self._held) >= self.n:
            smallest = self.hashes()
            self._held = array("q", smallest.tobytes())
            if len(smallest) == self.n:
                self.bound = int(smallest[-1])
        return self.bound

    def hashes(self) -> np.ndarray:
        """The `n` smallest, ascending, int64; fewer while fewer are known."""
        return np.unique(np.frombuffer(self._held, np.int64))[: self.n]


class Sample:
    """Of each domain the `n` smallest hashes."""

    def __init__(self, n: int):
        self.n = n
        self._domains: dict[str, Smallest] = {}

    def wants(self, domain: str, document_id: int) -> bool:
        """Show one document; False where it cannot be in the sample."""
        return self._smallest(domain).add(order(document_id))

    def show(self, file: Path) -> None:
        """Show the documents of a spool file, or what another sample has written; reads hashes, not texts."""
        with pq.ParquetFile(file) as rows:
            for group in range(rows.num_row_groups):
                for domain, hashes in _by_domain(rows, group):
                    self._smallest(domain).extend(hashes)

    def write(self, file: Path) -> None:
        """Write the hashes down, to be shown to another sample."""
        held = {domain: smallest.hashes() for domain, smallest in self._domains.items()}
        names = pa.array([domain for domain, hashes in held.items() for _ in hashes], pa.string())
        pq.write_table(
            pa.table({"domain": names, "hash": np.concatenate([np.empty(0, np.int64), *held.values()])}), file
        )

    def chosen(self, file: Path) -> Iterator[pa.Table]:
        """Those documents of a spool file that are in the sample, when all files were shown."""
        bounds = {domain: smallest.trim() for domain, smallest in self._domains.items()}
        with pq.ParquetFile(file) as rows:
            for group in range(rows.num_row_groups):
                if any((hashes <= bounds[domain]).any() for domain, hashes in _by_domain(rows, group)):
                    whole = rows.read_row_group(group)
                    limit = pa.array([bounds[d] for d in whole["domain"].to_pylist()])
                    yield whole.filter(pc.less_equal(whole["hash"], limit)).drop_columns(["hash"])

    def _smallest(self, domain: str) -> Smallest:
        return self._domains.setdefault(domain, Smallest(self.n))


def order(document_id: int) -> int:
    """The place of a document in the order in which a sample takes them."""
    return hash63("keep", document_id)


def keep_stages(lake: Lake, first: Sequence[Cell]) -> Iterator[list[Cell]]:
    """The two stages; `first` has a cell for each file, all of one corpus."""
    last = second(first)
    spool = Spool(lake, last.task["spool"])
    for other in spool.folder.parent.glob("keep-*"):
        if other != spool.folder:  # of another set of files: they may have made it leave out what is wanted now
            shutil.rmtree(other)
    spool.replan(first, [last])
    yield [replace(c, task={**c.task, "spool": last.task["spool"]}) for c in first]
    yield [last]
    spool.remove()


def refuse_another_sample(lake: Lake, first: Sequence[Cell]) -> None:
    """Raise `Conflict` where the corpus is a finished sample of other files."""
    last = second(first)
    for cell, settings in published(lake, KEEP):
        if settings["corpus"] == last.settings["corpus"] and cell != last.id:
            raise Conflict(
                f"corpus {settings['corpus']} is a finished sample, which takes no more files: name another --corpus"
            )


def second(first: Sequence[Cell]) -> Cell:
    """The cell that publishes the sample. All files decide its rows."""
    ids = sorted(c.id for c in first)
    settings = {k: first[0].settings[k] for k in ("source", "corpus", "keep")} | {"files": tagged("files", ids)}
    cell = Cell(KEEP, VERSION, settings, TABLES)
    return replace(cell, task={"cells": ids, "spool": f"{spools(settings['corpus'])}/keep-{cell.id}"})


def spooled(cell: Cell, lake: Lake, records: Iterable[Document | Reject], pieces: Pieces) -> Iterator[Rows]:
    """The rows of a cell of the first stage; its documents go to the spool."""
    spool = Spool(lake, cell.task["spool"])
    sample = Sample(cell.settings["keep"])
    known = spool.folder / KNOWN
    if known.exists():
        sample.show(known)
    pieces.wants = sample.wants
    schema = table("documents").schema
    columns = [f for f in schema if f.name != "cell"] + [pa.field("hash", pa.int64())]
    with spool.writing(cell.id) as path, pq.ParquetWriter(path, pa.schema(columns), compression="zstd") as file:
        for name, rows in pieces.of(records):
            if name != "documents":
                yield name, rows
                continue
            hashes = pa.array([order(i) for i in rows["document_id"].to_pylist()], pa.int64())
            file.write_table(rows.append_column("hash", hashes).select(file.schema.names))
    if known.exists():
        sample.show(known)  # again: other cells have ended meanwhile
    with spool.writing(KNOWN) as path:
        sample.write(path)


def sampled(cell: Cell, lake: Lake, domain_class: Callable[[str], str]) -> Iterator[Rows]:
    """The rows of the second stage's cell: the sample. What was seen of the domains stands in the first stage's."""
    sample = Sample(cell.settings["keep"])
    files = Spool(lake, cell.task["spool"]).take(cell.task["cells"])
    for file in files:
        sample.show(file)
    kept: Counter[str] = Counter()
    held, size = [], 0
    for rows in (rows for file in files for rows in sample.chosen(file)):
        kept.update(rows["domain"].to_pylist())
        held.append(rows)
        size += pc.sum(rows["n_bytes"]).as_py()
        if size > PIECE:
            yield "documents", pa.concat_tables(held)
            held, size = [], 0
    if held:
        yield "documents", pa.concat_tables(held)
    if kept:
        yield "domains", domain_rows(cell.settings["corpus"], domain_class, {d: (0, 0, n) for d, n in kept.items()})


def _by_domain(file: pq.ParquetFile, group: int) -> Iterator[tuple[str, np.ndarray]]:
    """Each domain of a row group and the hashes of its documents."""
    rows = file.read_row_group(group, columns=["domain", "hash"])
    for domain in pc.unique(rows["domain"]).to_pylist():
        yield domain, rows.filter(pc.equal(rows["domain"], domain))["hash"].to_numpy()
