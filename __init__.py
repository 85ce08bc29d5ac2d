"""A lakehouse for memorization research on language models.

import memlake
lake = memlake.open("lake")
lake.findings.scaling_law(minimum_sizes=2).to_pandas()
lake.sql("select model, share(memorized) from matches group by model")
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .reports.notebook import Notebook

__version__ = "0.1.0"
__all__ = ["__version__", "open"]


def open(
    path: str | Path | None = None,
    *,
    condition: str | None = None,
    sample_rule: str | None = None,
    sample_window: str | None = None,
    models: str | Sequence[str] | None = None,
    families: str | Sequence[str] | None = None,
    corpora: str | Sequence[str] | None = None,
    domains: str | Sequence[str] | None = None,
) -> Notebook:
    """The lake at `path`, by default at MEMLAKE_LAKE or else `./lake`, to be asked in SQL or Ibis, or of its
    measurements only those of a `condition`, a `sample_rule` or a `sample_window`; or as though it held nothing but
    these `models`, `families`, `corpora` or `domains`.

    Raises `NotALake`, `DamagedLake`, `UnknownName`."""
    from .reports.notebook import Notebook

    place = path if path is not None else os.environ.get("MEMLAKE_LAKE") or "lake"
    return Notebook(
        place,
        condition=condition,
        sample_rule=sample_rule,
        sample_window=sample_window,
        models=models,
        families=families,
        corpora=corpora,
        domains=domains,
    )
