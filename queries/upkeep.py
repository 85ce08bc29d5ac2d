"""The catalog of a lake follows its tables, without anybody asking for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from memlake.warehouse import changes
from memlake.warehouse.errors import DamagedLake, one_line
from memlake.warehouse.show.terminal import printable, say

PAUSE = 60.0  # seconds between two rebuilds while a command goes on, or
SHARE = 50  # so many times what the last one took, if that is longer


@contextmanager
def catalogs() -> Iterator[None]:
    """Rebuild `catalog.duckdb` of the lakes that the block changes: when it ends, however it ends, and now and then
    before. Where that fails, or a table is damaged, a line says so, and the block's work is not touched by it."""
    changed: set[Path] = set()
    due = monotonic() + PAUSE

    def rebuild() -> None:
        while changed:
            path = changed.pop()
            try:
                _rebuild(path)
            except DamagedLake as e:
                say(printable(one_line(e)))
            except Exception as e:
                say(
                    printable(f"{path / 'catalog.duckdb'} is not up to date ({one_line(e)}): memlake warehouse catalog")
                )

    def note(lake: Path) -> None:
        nonlocal due
        changed.add(lake)
        if (start := monotonic()) >= due:
            rebuild()
            due = monotonic() + max(PAUSE, SHARE * (monotonic() - start))

    changes.WATCHERS.append(note)
    try:
        yield
    finally:
        changes.WATCHERS.remove(note)
        rebuild()


def _rebuild(path: Path) -> None:
    from memlake.warehouse.lake import Lake

    from .database import rebuild

    rebuild(Lake.open(path))
