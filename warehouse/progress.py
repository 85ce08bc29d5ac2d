"""Progress of long work: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from time import monotonic

LINE_EVERY = 10.0  # seconds between plain lines


class Progress:
    """Counts units of work towards `total`; a context manager."""

    def __init__(self, title: str, total: int):
        self.title, self.total, self.done, self.failed = title, total, 0, 0
        self._began = self._said = monotonic()
        self._bar = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._bar.start()
            self._task = self._bar.add_task(self.title, total=self.total, rate="")
        return self

    def __exit__(self, *raised: object) -> None:
        if self._bar:
            self._bar.stop()
        self._say(self._bar is None)

    def advance(self, units: int, failed: bool = False) -> None:
        """So many more units are through."""
        self.done += units
        self.failed += failed
        if self._bar:
            self._bar.update(self._task, completed=self.done, rate=f"{self.rate:.3g}/s")

    def tick(self) -> None:
        """Time passes: say where the work stands if the last line is long ago."""
        if not self._bar and monotonic() - self._said >= LINE_EVERY:
            self._say(True)

    @property
    def rate(self) -> float:
        """Units a second so far."""
        return self.done / max(monotonic() - self._began, 1e-9)

    def _say(self, aloud: bool) -> None:
        self._said = monotonic()
        if not aloud:
            return
        left = f", {(self.total - self.done) / self.rate:.0f} s left" if 0 < self.done < self.total else ""
        failed = f", {self.failed} failed" if self.failed else ""
        spent = f"{self.rate:.3g}/s, {monotonic() - self._began:.0f} s"
        print(f"{self.title}: {self.done}/{self.total}, {spent}{left}{failed}", file=sys.stderr, flush=True)
