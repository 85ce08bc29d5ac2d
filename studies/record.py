"""What runs of a study leave to be known beside their cells: `studies/NAME` in the lake.

steps.json      of each step that ended: whether it was done, or why not
run-...         of each run that is alive what it does now, in a folder that it holds locked

Nothing depends on them but what `memlake study status` says: what is done is what the lake's tables hold.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from memlake.warehouse.json_files import write_json
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.stage import locked, scratch
from memlake.warehouse.work import progress

Key = tuple[str, str, str]  # a step's name, what it is about, and a digest of what was asked for

BEAT = 5.0  # seconds between two notes of where a step stands


@dataclass(frozen=True)
class Ended:
    """How a step ended last. reason: None where it was done, '' where it has only begun. at: when. said: a digest of
    what was asked for."""

    reason: str | None
    at: str
    said: str = ""

    @property
    def when(self) -> datetime:
        return datetime.fromisoformat(self.at)


@dataclass(frozen=True)
class Now:
    """What a run does now. began, at: when the run began, and when this was written."""

    pid: int
    host: str
    began: str
    at: str
    step: str = ""
    line: str = ""


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class Record:
    """The folder of one study in a lake."""

    def __init__(self, lake: Lake, name: str):
        self.folder = lake.path / "studies" / name

    def ended(self) -> dict[Key, Ended]:
        """How each step ended."""
        try:
            found = json.loads((self.folder / "steps.json").read_text(encoding="utf-8"))
            return {(step, about, how.get("said", "")): Ended(**how) for step, about, how in found}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def begin(self, step: str, about: str, said: str = "") -> None:
        """A step begins: what is there of it does not tell that it is done, before it has ended."""
        self.end(step, about, "", said)

    def end(self, step: str, about: str, reason: str | None = None, said: str = "") -> None:
        """A step ended, well or for this reason. Runs of one study may end steps at one time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "steps.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            all_ = self.ended() | {(step, about, said): Ended(reason, now(), said)}
            write_json(self.folder / "steps.json", [[*key[:2], asdict(how)] for key, how in all_.items()])

    @contextmanager
    def running(self) -> Iterator[Running]:
        """While a run is alive."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with scratch(self.folder, "run") as folder:
            running = Running(folder)
            progress.WATCHERS.append(running.tick)
            try:
                yield running
            finally:
                progress.WATCHERS.remove(running.tick)
                shutil.rmtree(folder, ignore_errors=True)

    def alive(self) -> list[Now]:
        """What runs do now; what killed ones left is removed."""
        found = []
        for folder in sorted(p for p in self.folder.glob("run-*") if p.is_dir()):
            with locked(folder) as free:
                if free:
                    shutil.rmtree(folder, ignore_errors=True)
                    continue
            with suppress(OSError, ValueError, TypeError):
                found.append(Now(**json.loads((folder / "now.json").read_text(encoding="utf-8"))))
        return found


class Running:
    """Notes of a run that is alive."""

    def __init__(self, folder: Path):
        self.folder, self.began = folder, now()
        self._step, self._last = "", 0.0

    def step(self, name: str) -> None:
        """A step begins."""
        self._step = name
        self._write("")

    def tick(self, line: str) -> None:
        """Where it stands."""
        if monotonic() - self._last >= BEAT:
            self._write(line)

    def _write(self, line: str) -> None:
        self._last = monotonic()
        with suppress(OSError):  # it is only to be looked at
            said = Now(os.getpid(), socket.gethostname(), self.began, now(), self._step, line)
            write_json(self.folder / "now.json", asdict(said))


def last_line(reason: str) -> str:
    """The line of a traceback that says what is wrong."""
    return reason.strip().splitlines()[-1] if reason.strip() else "no reason was noted"
