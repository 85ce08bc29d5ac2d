"""Counting in a prebuilt index instead of the corpus: each distinct n-gram is looked up once.

The cells that look up take the place of those that read a corpus (see `count`): each leaves its counts in the spool,
with 0 for the n-grams of the others. An index knows no documents, so that 'document' is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from memlake.ingest.names import name_problem
from memlake.warehouse.errors import BadInput
from memlake.warehouse.identity import tagged
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import ModelSpec
from memlake.warehouse.models.tokenizer import load_same
from memlake.warehouse.paths import local
from memlake.warehouse.work.cells import CellRows

from .infini_gram import PER_SECOND, LocalIndex, PublicIndex, file_digest, size
from .ngrams import Wanted
from .queries import OWN
from .tallies import AddUp, CountingCell, CountSettings, Extent

LOCAL, PUBLIC = 1_000_000, 2_000  # n-grams that a cell looks up
LOCAL_PER_SECOND = 20_000
SPANS = ("bigrams", "continuation", "unigrams", "window")


@dataclass(frozen=True)
class Index:
    """A prebuilt index as what is counted in. name: the counted corpus. location: its folder, or the name of a public
    one. files: changes with its content, as far as that is known."""

    name: str
    location: str
    public: bool
    files: str
    complete: bool = True
    rejects: int | None = None

    @property
    def digest(self) -> str:
        return tagged("r1", [self.files])

    @property
    def per_cell(self) -> int:
        """N-grams that one cell looks up."""
        return PUBLIC if self.public else LOCAL

    def open(self, spec: ModelSpec | None, digest: str, cache: Path) -> LocalIndex | PublicIndex:
        """spec, digest: of its tokenizer, None for one of bytes. cache: keeps what a public one answers. Raises
        `BadInput`."""
        tokenizer = load_same(spec, digest) if spec else None
        if self.public:
            return PublicIndex(self.location, tokenizer, cache)
        return LocalIndex(Path(self.location), tokenizer)


@dataclass(frozen=True)
class LookUpSettings(CountSettings):
    """The n-grams of [first, end), those of all `SPANS` one after the other."""

    first: int
    end: int


@dataclass(frozen=True)
class LookUp(CountingCell):
    """Looks up some n-grams in an index."""

    EXPERIMENT = "count_lookup"

    settings: LookUpSettings
    index: Index

    @property
    def seconds(self) -> float:
        per_second = PER_SECOND if self.index.public else LOCAL_PER_SECOND
        return (self.settings.end - self.settings.first) / per_second

    def rows(self, lake: Lake) -> CellRows:
        index = _opened(self.index, self.spec, self.settings.tokenizer_digest, cache(lake))
        spans, counts, before = self.asked(lake).spans, {}, 0
        for name in SPANS:
            span = spans[name]
            first, end = (min(max(at - before, 0), len(span)) for at in (self.settings.first, self.settings.end))
            counts[name] = np.zeros(len(span), np.int64)
            counts[name][first:end] = list(index.counts(span[i] for i in range(first, end)))
            before += len(span)
        self.leave(lake, Extent(*size(index)) if self.settings.first == 0 else Extent(), counts)
        return iter(())


_opened = lru_cache(maxsize=1)(Index.open)  # in one process, for the cells of a run


def indexed(text: str, within: str | None, tokenizers: Sequence[str]) -> Index:
    """The index that is asked for: a folder, or the name of a public one. within: what to call it, by default its own
    name. Raises `BadInput`."""
    if len(tokenizers) != 1 or tokenizers[0] == OWN:
        raise BadInput("an index has one tokenizer, which it does not tell: name it with --tokenizer MODEL (or bytes)")
    folder = local(text)
    if folder.is_dir():
        folder = folder.resolve()
        index = Index(within or folder.name, str(folder), public=False, files=file_digest(folder))
    elif "/" in text or text.startswith(("~", ".")):
        raise BadInput(f"there is no folder {text}")
    else:
        index = Index(within or text, text, public=True, files=text)
    if problem := name_problem(index.name, "--index"):
        raise BadInput(problem)
    return index


def lookups(lake: Lake, index: Index, wanted: Wanted, last: AddUp, spec: ModelSpec | None) -> list[LookUp]:
    """The cells that look up the n-grams, for the one that adds up. Raises `BadInput` for an index that cannot be read
    or asked, or has another tokenizer."""
    if not size(index.open(spec, last.settings.tokenizer_digest, cache(lake)))[1]:
        raise BadInput(f"index {index.location} holds no token")
    total, most = sum(len(wanted.spans[s]) for s in SPANS), index.per_cell
    return [
        LookUp(
            LookUpSettings(**vars(last.settings), first=first, end=min(first + most, total)),
            *(last.spool, last.wanted, spec, index),
        )
        for first in range(0, total, most)
    ]


def cache(lake: Lake) -> Path:
    """The file that keeps what public indexes answered."""
    return lake.path / "cache" / "infini_gram.sqlite"
