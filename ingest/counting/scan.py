"""The cells that read a corpus and count in it: each some of its files, what it counts goes to the spool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from memlake.warehouse.identity import tagged
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import Source
from memlake.warehouse.models.tokenizer import Tokenizer, load_same
from memlake.warehouse.work.cells import Cell
from memlake.warehouse.work.spool import Spool

from .corpus import Counted, batches
from .matcher import BYTE_VALUES, Scan
from .ngrams import Wanted
from .partial import Read, leave

SCAN, VERSION = "count_scan", 1


def scans(counted: Counted, settings: Mapping[str, Any], task: Mapping[str, Any]) -> list[Cell]:
    """The cells that read a corpus. They publish no rows."""
    return [
        Cell(
            SCAN,
            VERSION,
            {**settings, "files": tagged("files", [p.digest for p in group])},
            (),
            task={**task, "parts": [dict(p.task) for p in group]},
        )
        for group in counted.groups()
    ]


def scan(cell: Cell, lake: Lake, spool: Spool, asked: Wanted) -> None:
    """Count in the files of a cell, and leave the counts in the spool. Runs on a worker."""
    source = cell.task["tokenizer"]
    tokenizer, vocabulary = None, BYTE_VALUES
    if source:
        tokenizer, vocabulary = _tokenizer(Source(**source), cell.settings["tokenizer_digest"])
    found, documents, rejects = Scan(asked.spans, vocabulary), 0, Counter()
    for texts, hashes in batches(lake, cell.task["parts"], rejects):
        found.add(*(tokenized(tokenizer, texts) if tokenizer else as_bytes(texts)), hashes)
        documents += len(texts)
    leave(spool, cell.id, Read(documents, found.tokens, rejects), found.counts())


def tokenized(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The token ids of documents, one after the other, and how many each has; nothing added. A tokenizer that changes a
    text counts for what it makes of it, as it did in training."""
    ids = [np.array(i, np.int32) for i in tokenizer.encode(texts)]
    return np.concatenate(ids), np.array([len(i) for i in ids], np.int64)


def as_bytes(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The same in bytes."""
    data = [text.encode() for text in texts]
    return np.frombuffer(b"".join(data), np.uint8), np.array([len(d) for d in data], np.int64)


@lru_cache(maxsize=1)
def _tokenizer(source: Source, digest: str) -> tuple[Tokenizer, int]:
    """The tokenizer, and the number below which its ids lie."""
    tokenizer = load_same(source, digest)
    return tokenizer, max(tokenizer.backend.get_vocab(with_added_tokens=True).values()) + 1
