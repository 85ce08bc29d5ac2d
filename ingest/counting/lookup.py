"""Counting in a prebuilt index instead of the corpus: each distinct n-gram is looked up once.

The cells that look up take the place of those that read a corpus (see `count`): each leaves its counts in the spool,
with 0 for the n-grams of the others. An index knows no documents, so that 'document' is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from memlake.ingest.documents.base import name_problem
from memlake.warehouse.errors import BadInput
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import Source
from memlake.warehouse.models.tokenizer import load_same
from memlake.warehouse.paths import local
from memlake.warehouse.work.cells import Cell
from memlake.warehouse.work.spool import Spool

from .corpus import Counted, Scanned
from .infini_gram import LocalIndex, PublicIndex, file_digest, size
from .ngrams import Wanted
from .partial import Read, leave
from .queries import OWN

LOOKUP, VERSION = "count_lookup", 1
LOCAL, PUBLIC = 1_000_000, 2_000  # n-grams that a cell looks up
SPANS = ("bigrams", "continuation", "unigrams", "window")


def indexed(
    text: str, within: str | None, tokenizers: Sequence[str], workers: int | None
) -> tuple[Counted, int | None]:
    """The index as what is counted in, and how many workers may look up: a folder, or the name of a public one, of
    which one worker may ask, so that not too many requests are sent. within: what to call it, by default its own name.
    Raises `BadInput`."""
    if len(tokenizers) != 1 or tokenizers[0] == OWN:
        raise BadInput("an index has one tokenizer, which it does not tell: name it with --tokenizer MODEL (or bytes)")
    folder = local(text)
    if folder.is_dir():
        folder = folder.resolve()
        name, part = folder.name, Scanned(file_digest(folder), 0, {"index": str(folder), "public": False})
    elif "/" in text or text.startswith(("~", ".")):
        raise BadInput(f"there is no folder {text}")
    else:
        name, part = text, Scanned(text, 0, {"index": text, "public": True})
    if problem := name_problem(within or name, "--index"):
        raise BadInput(problem)
    return Counted(within or name, True, (part,)), 1 if part.task["public"] else workers


def lookups(lake: Lake, counted: Counted, wanted: Wanted, settings: dict[str, Any], task: dict[str, Any]) -> list[Cell]:
    """The cells that look up the n-grams, so many each; none where what is counted in is no index. Raises `BadInput`
    for an index that cannot be read or asked, or has another tokenizer."""
    index = next((dict(part.task) for part in counted.parts if "index" in part.task), None)
    if index is None:
        return []
    total, most = sum(len(wanted.spans[s]) for s in SPANS), PUBLIC if index["public"] else LOCAL
    cells = [
        Cell(LOOKUP, VERSION, settings | {"first": first, "end": min(first + most, total)}, (), task=task | index)
        for first in range(0, total, most)
    ]
    if not size(_open(*_about(cells[0], lake)))[1]:
        raise BadInput(f"index {index['index']} holds no token")
    return cells


def look_up(cell: Cell, lake: Lake, spool: Spool, asked: Wanted) -> None:
    """Look up the n-grams of a cell, and leave the counts in the spool. Runs on a worker."""
    s, index = cell.settings, _held(*_about(cell, lake))
    counts, before = {}, 0
    for name in SPANS:
        span = asked.spans[name]
        first, end = (min(max(at - before, 0), len(span)) for at in (s["first"], s["end"]))
        counts[name] = np.zeros(len(span), np.int64)
        counts[name][first:end] = list(index.counts(span[i] for i in range(first, end)))
        before += len(span)
    leave(spool, cell.id, Read(*size(index)) if s["first"] == 0 else Read(), counts)


def _about(cell: Cell, lake: Lake) -> tuple[str, bool, Source | None, str, Path]:
    """What `_open` needs to know."""
    task = cell.task
    source = Source(**task["tokenizer"]) if task["tokenizer"] else None
    cache = lake.path / "cache" / "infini_gram.sqlite"
    return task["index"], task["public"], source, cell.settings["tokenizer_digest"], cache


def _open(index: str, public: bool, source: Source | None, digest: str, cache: Path) -> LocalIndex | PublicIndex:
    tokenizer = load_same(source, digest) if source else None
    return PublicIndex(index, tokenizer, cache) if public else LocalIndex(Path(index), tokenizer)


_held = lru_cache(maxsize=1)(_open)  # on a worker, for the cells of a run
