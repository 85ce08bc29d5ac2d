"""A uniform sample of a corpus of any size, in one pass: of each domain the N documents with the smallest hash of their
id (bottom-k sampling: Cohen and Kaplan, PODC 2007). Its size is exact, and it is the same in any order of the files and
with any number of workers.

The first stage reads the files, one cell each. A document goes to the spool while fewer than N smaller hashes of its
domain are known, from this file or from those that were read before it; so the spool holds about N log(corpus / N)
documents of a domain and not the corpus. What is known is handed on in one file of the spool, N hashes a domain, that
each cell reads at its beginning and replaces at its end. Of two cells that end at once, the second may undo what the
first wrote: then more goes to the spool, and the sample is the same. The second stage, one cell, publishes the N
smallest of the spool. In memory are hashes, and one piece of text.
"""

from __future__ import annotations

import shutil
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from memlake.ingest.source import Stage
from memlake.warehouse.errors import Conflict
from memlake.warehouse.identity import hash63, tagged
from memlake.warehouse.lake import Lake, spools
from memlake.warehouse.schema import table
from memlake.warehouse.work.cells import Cell, CellRows, Settings, published
from memlake.warehouse.work.spool import Spool

from .pieces import PIECE, Pieces, domain_rows
from .reading import DocumentReader, ReadFile

SLACK = 256  # candidates at least beside those that are kept, so that they are not sorted all the time
SAMPLE = "ingest_keep"  # the experiment whose cell publishes the sample
KNOWN = "known"  # in the spool: the smallest hashes of all files so far


class Smallest:
    """The `n` smallest of the distinct hashes it is shown; keeps at most half as many more candidates, or `SLACK`."""

    def __init__(self, n: int):
        self.n, self.bound = n, 2**63 - 1
        self._candidates = array("q")

    def add(self, value: int) -> bool:
        """Show one; False where `n` smaller ones are known."""
        if value > self.bound:
            return False
        self._candidates.append(value)
        if len(self._candidates) >= self.n + max(self.n // 2, SLACK):
            self.trim()
        return True

    def extend(self, values: np.ndarray) -> None:
        """Show many, int64."""
        self._candidates.frombytes(values[values <= self.bound].tobytes())
        self.trim()

    def trim(self) -> int:
        """Let go of all but the `n` smallest; the largest of these, or 2**63 - 1 while there are fewer."""
        if len(self._candidates) >= self.n:
            smallest = self.hashes()
            self._candidates = array("q", smallest.tobytes())
            if len(smallest) == self.n:
                self.bound = int(smallest[-1])
        return self.bound

    def hashes(self) -> np.ndarray:
        """The `n` smallest, ascending, int64; fewer while fewer are known."""
        return np.unique(np.frombuffer(self._candidates, np.int64))[: self.n]


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
        kept = {domain: smallest.hashes() for domain, smallest in self._domains.items()}
        names = pa.array([domain for domain, hashes in kept.items() for _ in hashes], pa.string())
        pq.write_table(
            pa.table({"domain": names, "hash": np.concatenate([np.empty(0, np.int64), *kept.values()])}), file
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


@dataclass(frozen=True)
class SpoolFile(ReadFile):
    """The first stage's cell: the rejects of a file, and what it holds of each domain; of its documents those that may
    be in the sample go to the spool."""

    TABLES = ("rejects", "domains")

    spool: str

    def rows(self, lake: Lake) -> CellRows:
        assert self.settings.keep is not None
        spool, sample = Spool(lake, self.spool), Sample(self.settings.keep)
        known = spool.folder / KNOWN
        if known.exists():
            sample.show(known)
        pieces = Pieces(self.settings.corpus, self.settings.file, sample.wants)
        columns = [f for f in table("documents").schema if f.name != "cell"] + [pa.field("hash", pa.int64())]
        with spool.writing(self.id) as path, pq.ParquetWriter(path, pa.schema(columns), compression="zstd") as file:
            for name, rows in pieces.of(self.source.read(self.given)):
                if name != "documents":
                    yield name, rows
                    continue
                hashes = pa.array([order(i) for i in rows["document_id"].to_pylist()], pa.int64())
                file.write_table(rows.append_column("hash", hashes).select(file.schema.names))
        if known.exists():
            sample.show(known)  # again: other cells have ended meanwhile
        with spool.writing(KNOWN) as path:
            sample.write(path)
        if pieces.seen:
            counts = {domain: (n, size, 0) for domain, (n, size) in pieces.seen.items()}
            yield "domains", domain_rows(self.settings.corpus, self.source.domain_class, counts)


@dataclass(frozen=True)
class SampleSettings(Settings):
    """files: a digest of the first stage's cells, since all files decide what is in the sample."""

    source: str
    corpus: str
    keep: int
    files: str


@dataclass(frozen=True)
class PublishSample(Cell):
    """The second stage's cell: the documents of the sample. What was seen of the domains stands in the first stage's
    rows. files: the first stage's cells."""

    EXPERIMENT = SAMPLE
    TABLES = ("documents", "domains")

    settings: SampleSettings
    source: DocumentReader
    files: tuple[str, ...]

    @property
    def spool(self) -> str:
        """The name of the spool of both stages."""
        return f"{spools(self.settings.corpus)}/keep-{self.id}"

    def rows(self, lake: Lake) -> CellRows:
        sample = Sample(self.settings.keep)
        files = Spool(lake, self.spool).take(self.files)
        for file in files:
            sample.show(file)
        kept: Counter[str] = Counter()
        pieces, size = list[pa.Table](), 0
        for rows in (rows for file in files for rows in sample.chosen(file)):
            kept.update(rows["domain"].to_pylist())
            pieces.append(rows)
            size += pc.sum(rows["n_bytes"]).as_py()
            if size > PIECE:
                yield "documents", pa.concat_tables(pieces)
                pieces, size = [], 0
        if pieces:
            yield "documents", pa.concat_tables(pieces)
        if kept:
            counts = {domain: (0, 0, n) for domain, n in kept.items()}
            yield "domains", domain_rows(self.settings.corpus, self.source.domain_class, counts)


def publishing(files: Sequence[ReadFile], keep: int) -> PublishSample:
    """The second stage's cell, of these files, all of one corpus."""
    ids, one = tuple(sorted(c.id for c in files)), files[0]
    settings = SampleSettings(one.settings.source, one.settings.corpus, keep, tagged("files", ids))
    return PublishSample(settings, one.source, ids)


def keep_stages(lake: Lake, first: Sequence[SpoolFile], last: PublishSample) -> list[Stage]:
    """The two stages."""
    spool = Spool(lake, last.spool)

    def prepare() -> None:
        for other in spool.folder.parent.glob("keep-*"):
            if other != spool.folder:  # of another set of files: they may have made it leave out what is wanted now
                shutil.rmtree(other)
        spool.replan(first, [last])

    return [Stage(first, before=prepare), Stage([last], after=spool.remove)]


def refuse_another_sample(lake: Lake, last: PublishSample) -> None:
    """Raise `Conflict` where the corpus is a finished sample of other files."""
    for cell, settings in published(lake, SAMPLE, SampleSettings):
        if settings.corpus == last.settings.corpus and cell != last.id:
            raise Conflict(
                f"corpus {settings.corpus} is a finished sample, which takes no more files: name another --corpus"
            )


def _by_domain(file: pq.ParquetFile, group: int) -> Iterator[tuple[str, np.ndarray]]:
    """Each domain of a row group and the hashes of its documents."""
    rows = file.read_row_group(group, columns=["domain", "hash"])
    for domain in pc.unique(rows["domain"]).to_pylist():
        yield domain, rows.filter(pc.equal(rows["domain"], domain))["hash"].to_numpy()
