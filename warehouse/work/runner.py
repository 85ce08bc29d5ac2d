"""Run cells, publish what they staged, and say how it went.

Where it pays they run in processes of Dask, else in this one. This process judges and commits, alone, so that the
tables' logs see one writer a run. A worker that dies takes nothing with it: what it had staged is whole or ignored.
"""

from __future__ import annotations

import fcntl
import pickle
import shutil
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

from memlake.warehouse.errors import interruptible
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.publish import MANIFEST, publish, record

from . import cluster
from .attempt import FAILED, STARTED, Failure, attempt_at, explain, stage_cell, stage_cells
from .cells import Cell, plan
from .progress import Progress

if TYPE_CHECKING:
    from distributed import Client, Future

BESIDE = "another memlake command is writing to this lake: both go on, and each row is published once"
LOST = "its worker staged nothing here: does it see the lake at the same path?"
KILLED = "its worker was killed, most likely out of memory"
POLL = 0.1  # seconds between looks at what the workers staged
START = 10.0  # seconds of work for which starting processes, which load their libraries anew, does not pay


@dataclass
class Summary:
    """How a run ended: ids of the cells done, (cell, reason) of those that failed, how many were done before."""

    done: list[str] = field(default_factory=list)
    failed: list[tuple[Cell, str]] = field(default_factory=list)
    skipped: int = 0

    def add(self, other: Summary) -> None:
        """The run went on as `other` tells."""
        self.done += other.done
        self.failed += other.failed
        self.skipped += other.skipped


def run_cells(
    lake: Lake,
    cells: Sequence[Cell],
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    title: str = "cells",
) -> Summary:
    """Plan, skip what is done, run the rest, publish each as it completes.

    workers: processes on this machine, 0 for none but this one; by default one a core, no more than there are groups of
    cells, and none where the work is short or of one group.
    scheduler: address of a Dask scheduler whose workers see the lake at the same path; then `workers` is not used.
    """
    if recover(lake):
        print(BESIDE, file=sys.stderr)
    once = list({c.id: c for c in cells}.values())
    todo = plan(lake, once)
    summary = Summary(skipped=len(once) - len(todo))
    if not todo:
        return summary
    groups = _groups(todo)
    rows = [sum(c.expected.values()) for c in todo]
    with _run_folder(lake) as folder, Progress(title, len(todo), sum(rows) if all(rows) else None) as progress:
        under_way = Run(lake, folder, todo, summary, progress)
        if scheduler is None and _here(groups, workers):
            under_way.here([cell for group in groups for cell in group])
        else:
            with cluster.client_for(workers, scheduler, len(groups)) as client:
                under_way.on(client, groups)
    return summary


def _here(groups: Sequence[Sequence[Cell]], workers: int | None) -> bool:
    """Is this process the fastest place for the cells?"""
    if workers is not None:
        return workers == 0
    if cluster.is_shared():
        return False
    short = sum(c.seconds for group in groups for c in group) < START
    return short or len(groups) == 1 or cluster.cores() == 1


def _groups(cells: Sequence[Cell]) -> list[list[Cell]]:
    """The cells of each group together, so that a process loads a model once."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.group, []).append(cell)
    return list(groups.values())


def recover(lake: Lake) -> int:
    """Publish what killed runs had staged whole, and remove what they left unfinished; the number of runs alive."""
    alive = 0
    for folder in sorted(p for p in lake.staging.glob("run-*") if p.is_dir()):
        with _lock(folder) as free:
            alive += not free
            if not free or not folder.is_dir():  # or another process was faster
                continue
            for manifest in sorted(folder.glob(f"*/{MANIFEST}")):
                if reason := _publish(lake, manifest.parent):
                    print(f"{manifest.parent.name} of a run that was killed: {reason.strip()}", file=sys.stderr)
            _remove(folder)
    return alive


class Run:
    """The cells of one run, and what became of them; what is staged lies in `folder`."""

    def __init__(self, lake: Lake, folder: Path, cells: Sequence[Cell], summary: Summary, progress: Progress):
        self.lake, self.folder, self.summary, self.progress = lake, folder, summary, progress
        self.waiting = {c.id: c for c in cells}

    def here(self, cells: Sequence[Cell]) -> None:
        """Run the cells in this process."""
        for cell in cells:
            if plan(self.lake, [cell]):
                stage_cell(cell, self.lake, self.folder / cell.id)
                self._take(cell)
            else:  # another run published it meanwhile
                self._end(cell, None)
            self.progress.tick()

    def on(self, client: Client, groups: Sequence[Sequence[Cell]]) -> None:
        """Run the cells on the workers of a Dask cluster."""
        futures: dict[Future, list[Cell]] = {}

        def submit(batch: list[Cell]) -> None:
            gpu = {"GPU": 1} if batch[0].device == "cuda" else None
            places = str(self.lake.path), str(self.folder)
            futures[client.submit(stage_cells, pickle.dumps(batch), *places, pure=False, resources=gpu)] = batch

        for batch in _batches(groups, slots=max(1, len(client.scheduler_info(n_workers=-1)["workers"]))):
            submit(batch)
        while self.waiting:
            ended = [f for f in futures if f.done()]
            for cell in [c for c in self.waiting.values() if (self.folder / c.id).is_dir()]:
                self._take(cell)
            for future in ended:
                left = [c for c in futures.pop(future) if c.id in self.waiting]
                if future.status == "finished":  # what is left either another run published meanwhile, or it is lost
                    missing = {c.id for c in plan(self.lake, left)}
                    for cell in left:
                        self._end(cell, LOST if cell.id in missing else None)
                elif left := self._blame(left, future):
                    submit(left)
                future.release()
            self.progress.tick()
            if not ended:
                sleep(POLL)

    def _take(self, cell: Cell) -> None:
        """Publish or report what was staged of a cell, if its process is through with it."""
        place = self.folder / cell.id
        if (place / FAILED).exists():
            failure = Failure.read(place)
            record(self.lake, failure.attempt, "failed", failure.reason)
            shutil.rmtree(place)
            self._end(cell, failure.reason)
        elif (place / MANIFEST).exists():
            self._end(cell, _publish(self.lake, place))

    def _blame(self, batch: list[Cell], future: Future) -> list[Cell]:
        """The batch's task ended without an end of its own. Where its worker was killed, the cell that was under way is
        the one that failed, and the rest of the batch is returned to be tried again."""
        from distributed.scheduler import KilledWorker

        error = future.exception() if future.status == "error" else ConnectionError("the Dask scheduler was lost")
        started = [c for c in batch if (self.folder / c.id / STARTED).exists()]
        if isinstance(error, KilledWorker):
            failed, reason = started or batch, KILLED
        else:
            failed, reason = batch, explain(error)
        for cell in failed:
            record(self.lake, attempt_at(cell), "failed", reason)
            shutil.rmtree(self.folder / cell.id, ignore_errors=True)
            self._end(cell, reason)
        return [c for c in batch if c not in failed]

    def _end(self, cell: Cell, reason: str | None) -> None:
        """The cell is published, or it failed for this reason."""
        del self.waiting[cell.id]
        if reason is None:
            self.summary.done.append(cell.id)
        else:
            self.summary.failed.append((cell, reason))
        self.progress.advance(sum(cell.expected.values()), failed=reason is not None)


def _batches(groups: Sequence[Sequence[Cell]], slots: int) -> list[list[Cell]]:
    """What is handed to a worker at once: a group, or a part of it where workers would otherwise have nothing to do."""
    parts = max(1, slots // len(groups))
    return [list(g[i::parts]) for g in groups for i in range(min(parts, len(g)))]


def _publish(lake: Lake, folder: Path) -> str | None:
    """Publish a staged cell; None, or why it is not published. Where that is no fault of its rows (a full disk, a
    damaged table), they stay staged, and the next run tries again."""
    try:
        with interruptible():
            return publish(lake, folder)
    except Exception as e:
        return f"{explain(e)} (its rows stay in {lake.relative(folder)})"


def _remove(folder: Path) -> None:
    """Remove a run's folder, unless it holds rows that could not be published."""
    if not any(folder.glob(f"*/{MANIFEST}")):
        shutil.rmtree(folder)


@contextmanager
def _run_folder(lake: Lake) -> Iterator[Path]:
    """A folder for what this run stages. It is locked while this process lives, so that no other run takes it for
    left behind; the lock lies beside the folder, so that there is no moment at which the folder has none."""
    name = f"run-{uuid.uuid4().hex[:12]}"
    with _lock(lake.staging / name):
        folder = lake.staging / name
        folder.mkdir()
        yield folder
        _remove(folder)


@contextmanager
def _lock(folder: Path) -> Iterator[bool]:
    """Hold the folder's lock; False if another process does. The kernel frees it when its holder dies."""
    folder.parent.mkdir(exist_ok=True)
    path = folder.with_suffix(".lock")
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
        path.unlink(missing_ok=True)
