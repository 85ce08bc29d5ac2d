"""Run a source: its cells, stage by stage, and what they left in the lake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa

from memlake.warehouse.lake import Lake
from memlake.warehouse.work.cells import Cell
from memlake.warehouse.work.runner import Summary, run

from .source import make


def ingest(
    lake: Lake,
    name: str,
    options: Mapping[str, Any],
    *,
    corpus: str | None = None,
    keep: int | None = None,
    strict: bool = False,
    workers: int | None = None,
) -> tuple[Summary, list[str]]:
    """Read the source `name` into the lake; how the run went, and lines that tell what came of it.

    options: fields of the source's class. keep and strict: see `DocumentSource.stages`.
    Raises `UnknownName`, `BadInput`, and `Conflict` where a file of the corpus changed since it was read.
    """
    source = make(name, options)
    total, cells = Summary(), []
    for stage in source.stages(lake, corpus, keep=keep, strict=strict):
        # The worker makes the source again, from the same options.
        now = [replace(c, task={**c.task, "options": dict(options)}) for c in stage]
        cells += now
        summary = run(lake, now, work, workers=workers, title=f"ingest {name}")
        total.add(summary)
        if summary.failed:
            break
    return total, source.report(lake, cells)


def work(cell: Cell, lake: Lake) -> Iterator[tuple[str, pa.Table]]:
    """The rows of one cell of a source; runs on a worker."""
    source = make(cell.settings["source"], cell.task["options"])
    yield from source.rows(cell, lake)
