"""A lakehouse for memorization research on language models.

import memlake
lake = memlake.open("lake")
lake.sql("select model, share(memorized) from matches group by model")
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .reports.notebook import Notebook

__version__ = "0.1.0"
__all__ = ["__version__", "open"]


def open(path: str | Path = "lake", **only: str) -> Notebook:
    """The lake at `path`, to be asked in SQL or Ibis, or of its measurements `only` those of a `condition`, a
    `sample_rule` or a `sample_window`; raises `NotALake`, `UnknownName`."""
    from .reports.notebook import Notebook

    return Notebook(path, **only)
