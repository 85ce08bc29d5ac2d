"""Progress of long work: a bar with rate and time left on a terminal, lines elsewhere, which become rarer with time."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from time import monotonic, strftime
from typing import TYPE_CHECKING

from memlake.warehouse.words import counted, duration

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

FIRST, MOST = (
    10.0,
    900.0,
)  # seconds to the first line, and between two lines at most: each time it is half as long again
WATCHERS: list[Callable[[str], None]] = []  # are told where the work stands, often


def clock() -> str:
    """The time of the day, as lines of a log begin."""
    return strftime("%H:%M:%S")


class Progress:
    """Counts cells, and the rows they stand for, from which rate and time left follow; a context manager. Where the
    rows are not known beforehand (None), cells count alike. of: what they are called. models: how many cells each model
    has, where they are of models: a line tells which one is through."""

    def __init__(
        self, title: str, cells: int, rows: int | None, of: str = "cells", models: Mapping[str, int] | None = None
    ):
        self.title, self.cells, self.rows, self.of = title, cells, rows or cells, of
        self.unit = "rows" if rows else of
        self.done = self.failed = self.done_rows = 0
        self._left = Counter(models or {})
        self._of_model, self._failed_of = Counter(models or {}), Counter[str]()
        self._model = ""
        self._began = self._said = monotonic()
        self._pause = FIRST
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
            self._say(self.line())

    def advance(self, rows: int, failed: bool = False, cells: int = 1, model: str = "") -> None:
        """One more cell is through, or so many."""
        self.done += cells
        self.failed += failed
        self.done_rows += rows if self.unit == "rows" else cells
        if model in self._left:
            self._left[model] -= cells
            self._failed_of[model] += failed
            self._model = model
            if not self._left[model] and len(self._left) > 1 and self.done < self.cells:
                self._through(model)

    def tick(self) -> None:
        """Time passes: show where the work stands."""
        for watch in WATCHERS:
            watch(self.line())
        if self._bar:
            self._bar.update(self._task, completed=self.done_rows, description=self.line())
        elif monotonic() - self._said >= self._pause and self.done < self.cells:
            self._pause = min(1.5 * self._pause, MOST)
            self._say(self.line())

    def line(self) -> str:
        """Where the work stands, in words."""
        spent = monotonic() - self._began
        parts = [f"{self.title}: {self.done}/{self.cells} {self.of}", duration(spent)]
        if self.done_rows:
            parts.append(f"{self.done_rows / spent:.3g} {self.unit}/s")
            if self.done < self.cells:
                parts.append(f"{duration((self.rows - self.done_rows) * spent / self.done_rows)} left")
        if self._model and self.done < self.cells:
            parts.append(f"last {self._model}")
        if self.failed:
            parts.append(f"{self.failed} failed")
        return ", ".join(parts)

    def _through(self, model: str) -> None:
        failed = f", {self._failed_of[model]} of them failed" if self._failed_of[model] else ""
        spent = duration(monotonic() - self._began)
        line = f"{self.title}: {model} is through, {counted(self._of_model[model], 'cell')}{failed}, after {spent}"
        if self._bar:
            self._bar.console.print(line, highlight=False)
        elif monotonic() - self._said >= 1:  # of a hundred small ones a line each would be noise
            self._say(line)

    def _say(self, line: str) -> None:
        self._said = monotonic()
        print(f"{clock()} {line}", file=sys.stderr, flush=True)
