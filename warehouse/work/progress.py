"""Progress of long work: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

LINE_EVERY = 10.0  # seconds between plain lines


class Progress:
    """Counts cells, and the rows they stand for, from which rate and time left follow; a context manager. Where the
    rows are not known beforehand (None), cells count alike. of: what they are called."""

    def __init__(self, title: str, cells: int, rows: int | None, of: str = "cells"):
        self.title, self.cells, self.rows, self.of = title, cells, rows or cells, of
        self.unit = "rows" if rows else of
        self.done = self.failed = self.done_rows = 0
        self._began = self._said = monotonic()
        self._bar: Bar | None = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(BarColumn(), TextColumn("{task.description}"), console=Console(stderr=True))
            self._task = self._bar.add_task(self.line(), total=self.rows)
            self._bar.start()
        return self

    def __exit__(self, *raised: object) -> None:
        if self._bar:
            self._bar.stop()
        elif self.cells:
            self._say()

    def advance(self, rows: int, failed: bool = False, cells: int = 1) -> None:
        """One more cell is through, or so many."""
        self.done += cells
        self.failed += failed
        self.done_rows += rows if self.unit == "rows" else cells

    def tick(self) -> None:
        """Time passes: show where the work stands."""
        if self._bar:
            self._bar.update(self._task, completed=self.done_rows, description=self.line())
        elif monotonic() - self._said >= LINE_EVERY and self.done < self.cells:
            self._say()

    def line(self) -> str:
        """Where the work stands, in words."""
        spent = monotonic() - self._began
        parts = [f"{self.title}: {self.done}/{self.cells} {self.of}", f"{spent:.0f} s"]
        if self.done_rows:
            parts.append(f"{self.done_rows / spent:.3g} {self.unit}/s")
            if self.done < self.cells:
                parts.append(f"{(self.rows - self.done_rows) * spent / self.done_rows:.0f} s left")
        if self.failed:
            parts.append(f"{self.failed} failed")
        return ", ".join(parts)

    def _say(self) -> None:
        self._said = monotonic()
        print(self.line(), file=sys.stderr, flush=True)
