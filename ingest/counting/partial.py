"""What the cells that count leave in the spool for the one that adds up: their counts, and how much they read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from memlake.warehouse.work.spool import Spool

READ = "read"  # beside the spans in a file


@dataclass
class Read:
    """Documents and tokens (or bytes) that were read, and the records that are no documents, by reason."""

    documents: int = 0
    tokens: int = 0
    rejects: Counter[str] = field(default_factory=Counter)


def leave(spool: Spool, cell: str, read: Read, counts: Mapping[str, np.ndarray]) -> None:
    """Write the file of a cell. counts: of each span, an entry for each distinct n-gram."""
    with spool.writing(cell) as path, path.open("wb") as file:
        np.savez_compressed(file, **{READ: json.dumps(vars(read))}, **counts)


def all_read(files: Sequence[Path]) -> Read:
    """What the cells of these files read together."""
    total = Read()
    for file in files:
        with np.load(file) as part:
            read = json.loads(str(part[READ]))
        total.documents += read["documents"]
        total.tokens += read["tokens"]
        total.rejects.update(read["rejects"])
    return total


def all_counts(files: Sequence[Path]) -> dict[str, np.ndarray]:
    """The sums of their counts."""
    counts: dict[str, np.ndarray] = {}
    for file in files:
        with np.load(file) as part:
            for span in part.files:
                if span != READ:
                    counts[span] = counts.get(span, 0) + part[span]
    return counts
