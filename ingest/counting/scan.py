"""Reading a corpus and counting in it: each cell some of its parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from memlake.warehouse.identity import tagged
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import ModelSpec
from memlake.warehouse.models.tokenizer import Tokenizer, load_same
from memlake.warehouse.work.cells import CellRows

from .corpus import Corpus, Part, batches
from .matcher import BYTE_VALUES, Matcher
from .tallies import AddUp, CountingCell, CountSettings, Extent

# Bytes of text that are counted in a second on one core: tokenized, which takes most of the time, or as they are.
TOKENIZED_PER_SECOND, PLAIN_PER_SECOND = 2e6, 12e6


@dataclass(frozen=True)
class ScanSettings(CountSettings):
    """files: a digest of the parts that one cell reads."""

    files: str


@dataclass(frozen=True)
class ScanParts(CountingCell):
    """Counts in some parts of a corpus."""

    EXPERIMENT = "count_scan"

    settings: ScanSettings
    parts: tuple[Part, ...]

    @property
    def seconds(self) -> float:
        return sum(part.size for part in self.parts) / (TOKENIZED_PER_SECOND if self.spec else PLAIN_PER_SECOND)

    def rows(self, lake: Lake) -> CellRows:
        tokenizer, vocabulary = None, BYTE_VALUES
        if self.spec:
            tokenizer, vocabulary = _tokenizer(self.spec, self.settings.tokenizer_digest)
        found, documents, rejects = Matcher(self.asked(lake).spans, vocabulary), 0, Counter[str]()
        for batch in batches(lake, self.parts):
            if batch.texts:
                tokens, lengths = tokenized(tokenizer, batch.texts) if tokenizer else as_bytes(batch.texts)
                found.add(tokens, lengths, batch.hashes)
            documents += len(batch.texts)
            rejects.update(batch.rejects)
        self.leave(lake, Extent(documents, found.tokens, dict(rejects)), found.counts())
        return iter(())


def scans(corpus: Corpus, last: AddUp, spec: ModelSpec | None) -> list[ScanParts]:
    """The cells that read a corpus, for the one that adds up."""
    return [
        ScanParts(
            ScanSettings(**vars(last.settings), files=tagged("files", [p.digest for p in parts])),
            *(last.spool, last.wanted, spec, parts),
        )
        for parts in corpus.groups()
    ]


def tokenized(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """The token ids of documents, one after the other, and how many each has; nothing added. A tokenizer that changes a
    text counts for what it makes of it, as it did in training."""
    ids = [np.array(i, np.int32) for i in tokenizer.encode(texts)]
    return np.concatenate(ids), np.array([len(i) for i in ids], np.int64)


def as_bytes(texts: Sequence[str]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The same in bytes."""
    data = [text.encode() for text in texts]
    return np.frombuffer(b"".join(data), np.uint8), np.array([len(d) for d in data], np.int64)


@lru_cache(maxsize=1)
def _tokenizer(spec: ModelSpec, digest: str) -> tuple[Tokenizer, int]:
    """The tokenizer, and the number below which its ids lie."""
    tokenizer = load_same(spec, digest)
    return tokenizer, max(tokenizer.backend.get_vocab(with_added_tokens=True).values()) + 1
