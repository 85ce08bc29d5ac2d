"""What the cells that count leave in the spool, and the cell that adds it up.

What is wanted waits in the spool, too, in a file of its own: a cell carries its name, and not the n-grams.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from memlake.warehouse.identity import tagged
from memlake.warehouse.lake import Lake, spools
from memlake.warehouse.models.registry import ModelSpec
from memlake.warehouse.work.cells import Cell, CellRows, Settings
from memlake.warehouse.work.spool import Spool

from .ngrams import Wanted, rows

EXTENT = "read"  # beside the spans in a file


@dataclass(frozen=True)
class Extent:
    """Documents and tokens (or bytes) that were read, and the records that are no documents, by reason."""

    documents: int = 0
    tokens: int = 0
    rejects: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def total(cls, parts: Iterable[Extent]) -> Extent:
        found, rejects = list(parts), Counter[str]()
        for part in found:
            rejects.update(part.rejects)
        return cls(sum(p.documents for p in found), sum(p.tokens for p in found), dict(rejects))

    @property
    def rejected(self) -> int:
        """Records that are no documents."""
        return sum(self.rejects.values())


@dataclass(frozen=True)
class CountSettings(Settings):
    """What is counted, and in what. corpora: that of the sequences, and the one counted in. counted_tokenizer: `bytes`,
    or the tokenizer's name in the lake. wanted: a digest of the sequences. read: one of what is counted in."""

    corpora: tuple[str, ...]
    counted_corpus: str
    counted_tokenizer: str
    tokenizer_digest: str
    wanted: str
    read: str
    complete: bool


@dataclass(frozen=True)
class AddUp(Cell):
    """The counts of all the cells that counted. counted: these cells."""

    EXPERIMENT = "count"
    TABLES = ("ngram_counts",)

    settings: CountSettings
    counted: tuple[str, ...] = ()

    @property
    def spool(self) -> str:
        """The name of the spool that it shares with the cells that count."""
        return f"{spools(self.settings.counted_corpus)}/count-{self.id}"

    @property
    def wanted(self) -> str:
        """The file of the spool in which stands what is wanted."""
        return tagged("wanted", self.settings.to_json())

    def rows(self, lake: Lake) -> CellRows:
        s, spool = self.settings, Spool(lake, self.spool)
        files = spool.take(self.counted)
        pieces = rows(
            read_wanted(spool, self.wanted),
            all_counts(files),
            counted_corpus=s.counted_corpus,
            counted_tokenizer=s.counted_tokenizer,
            tokens_scanned=Extent.total(extents(files)).tokens,
            complete=s.complete,
        )
        for piece in pieces:
            yield "ngram_counts", piece


@dataclass(frozen=True)
class CountingCell(Cell):
    """A cell whose counts go to the spool; it publishes no rows. wanted: the file of the spool that says what is to be
    counted. spec: of the tokenizer; None for bytes."""

    settings: CountSettings
    spool: str
    wanted: str
    spec: ModelSpec | None

    def leave(self, lake: Lake, extent: Extent, counts: Mapping[str, npt.NDArray[np.int64]]) -> None:
        """Write its file. counts: of each span, an entry for each distinct n-gram."""
        with Spool(lake, self.spool).writing(self.id) as path, path.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **{EXTENT: np.array(json.dumps(asdict(extent)))}, **counts)

    def asked(self, lake: Lake) -> Wanted:
        """What is to be counted."""
        return read_wanted(Spool(lake, self.spool), self.wanted)


def read_wanted(spool: Spool, name: str) -> Wanted:
    (path,) = spool.take([name])
    return Wanted.load(path)


def extents(files: Sequence[Path]) -> Iterator[Extent]:
    """How much the cells of these files read, each."""
    for file in files:
        with np.load(file) as part:
            yield Extent(**json.loads(str(part[EXTENT])))


def all_counts(files: Sequence[Path]) -> dict[str, npt.NDArray[np.int64]]:
    """The sums of their counts."""
    counts: dict[str, npt.NDArray[np.int64]] = {}
    for file in files:
        with np.load(file) as part:
            for span in part.files:
                if span != EXTENT:
                    counts[span] = counts[span] + part[span] if span in counts else part[span]
    return counts
