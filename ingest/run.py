"""Run a source: its cells, stage by stage, and what they left in the lake."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from memlake.warehouse.lake import Lake
from memlake.warehouse.work.cells import Cell
from memlake.warehouse.work.runner import Summary, run_cells

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
    summary, cells = Summary(), list[Cell]()
    # Closed at the end, also where an error is kept: what a source holds of the lake while it is asked is let go
    with closing(stage for stage in source.stages(lake, corpus, keep=keep, strict=strict)) as stages:
        for stage in stages:
            stage.before()
            if stage.cells:
                summary.add(run_cells(lake, stage.cells, workers=workers, title=f"ingest {name}"))
                cells += stage.cells
            if summary.failed:
                break
            stage.after()
    return summary, source.report(lake, cells)
