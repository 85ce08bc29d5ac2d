"""Who wants to know that a lake has changed: called with its path after each commit to one of its tables.

So what follows from a change happens where it is known, and the ground floor knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

WATCHERS: list[Callable[[Path], None]] = []


def tell(lake: Path) -> None:
    """A table of the lake at this path has changed."""
    for watcher in WATCHERS:
        watcher(lake)
