"""Run cells, publish what they staged, and say how it went.

Where it pays they run in processes of Dask, else in this one. This process judges and commits, alone, so that the
tables' logs see one writer a run; what is ready together it publishes together. A worker that dies takes nothing with
it: what it had staged is whole or ignored.
"""

from __future__ import annotations

import pickle
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING

from memlake.warehouse.connections import interruptible
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.compact import clear
from memlake.warehouse.publishing.place import settle
from memlake.warehouse.publishing.publish import MANIFEST, Attempt, Ending, publish, record
from memlake.warehouse.publishing.stage import locked, scratch

from . import cluster
from .attempt import FAILED, STARTED, Failure, attempt_at, explain, mendable, stage_cell, stage_cells
from .cells import Cell, plan
from .progress import Progress

if TYPE_CHECKING:
    from distributed import Client, Future

BESIDE = "another memlake command is writing to this lake: both go on, and each row is published once"
LOST = "its worker staged nothing here: does it see the lake at the same path?"
KILLED = "its worker was killed, most likely out of memory"
EVERY, MOST = 5.0, 500  # seconds between publications, and cells in one: what is ready is judged and committed together
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
    """Plan, skip what is done, run the rest, publish what is complete every few seconds.

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
    models = Counter(filter(None, map(_model, todo)))
    with (
        _run_folder(lake) as folder,
        Progress(title, len(todo), sum(rows) if all(rows) else None, models=models) as progress,
    ):
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


def _model(cell: Cell) -> str:
    """The model that a cell runs or trains; empty for any other cell."""
    return str(getattr(cell.settings, "model", ""))


def _groups(cells: Sequence[Cell]) -> list[list[Cell]]:
    """The cells of each group together, so that a process loads a model once."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.group, []).append(cell)
    return list(groups.values())


def recover(lake: Lake) -> int:
    """Publish what killed runs had staged whole, and remove what they, and others that were killed, left unfinished;
    the number of runs alive."""
    alive = 0
    for folder in sorted(p for p in lake.staging.glob("*-*") if p.is_dir()):
        with locked(folder) as free:
            alive += not free and folder.name.startswith("run-")
            if not free or not folder.is_dir():  # or another process was faster
                continue
            whole = [manifest.parent for manifest in sorted(folder.glob(f"*/{MANIFEST}"))]
            for place, reason in _published(lake, whole):
                if reason:
                    print(f"{place.name} of a run that was killed: {reason.strip()}", file=sys.stderr)
            _remove(lake, folder)
    clear(lake)
    shutil.rmtree(lake.staging / "merge", ignore_errors=True)  # killed runs of an older memlake merged there
    return alive


class Run:
    """The cells of one run, and what became of them; what is staged lies in `folder`."""

    def __init__(self, lake: Lake, folder: Path, cells: Sequence[Cell], summary: Summary, progress: Progress):
        self.lake, self.folder, self.summary, self.progress = lake, folder, summary, progress
        self.waiting = {c.id: c for c in cells}
        # Cells staged here, when the last publication ended, and how long it took
        self._staged, self._last, self._took = 0, monotonic(), 0.0

    def here(self, cells: Sequence[Cell]) -> None:
        """Run the cells in this process."""
        for cell in cells:
            if plan(self.lake, [cell]):
                stage_cell(cell, self.lake, self.folder / cell.id)
                self._staged += 1
                if self._staged >= MOST or self._due():
                    self._publish()
            else:  # another run published it meanwhile
                self._end(cell, None)
            self.progress.tick()
        self._publish()

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
            if ended or self._due():
                self._publish()
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

    def _due(self) -> bool:
        """Is it time to publish? Where that takes long, or others hold the lock, more is published at once."""
        return monotonic() - self._last >= max(EVERY, 4 * self._took)

    def _publish(self) -> None:
        """Publish or report what was staged of the cells, of those whose processes are through with them."""
        began = monotonic()
        cells = [self.waiting[p.name] for p in self.folder.iterdir() if p.name in self.waiting]
        failed = [(c, Failure.read(place)) for c in cells if ((place := self.folder / c.id) / FAILED).exists()]
        self._fail([(cell, failure.attempt, failure.reason) for cell, failure in failed])
        order = {cell: i for i, cell in enumerate(self.waiting)}
        whole = [place for c in cells if ((place := self.folder / c.id) / MANIFEST).exists()]
        for place, reason in _published(self.lake, sorted(whole, key=lambda p: order[p.name])):
            self._end(self.waiting[place.name], reason)
            self.progress.tick()
        self._staged, self._last = 0, monotonic()
        self._took = self._last - began

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
        self._fail([(cell, attempt_at(cell), reason) for cell in failed])
        return [c for c in batch if c not in failed]

    def _fail(self, failed: Sequence[tuple[Cell, Attempt, str]]) -> None:
        """These attempts have no rows, and why."""
        record(self.lake, [(attempt, Ending("failed", reason=reason)) for _, attempt, reason in failed])
        for cell, _, reason in failed:
            shutil.rmtree(self.folder / cell.id, ignore_errors=True)
            self._end(cell, reason)

    def _end(self, cell: Cell, reason: str | None) -> None:
        """The cell is published, or it failed for this reason."""
        del self.waiting[cell.id]
        if reason is None:
            self.summary.done.append(cell.id)
        else:
            self.summary.failed.append((cell, reason))
        self.progress.advance(sum(cell.expected.values()), failed=reason is not None, model=_model(cell))


def _batches(groups: Sequence[Sequence[Cell]], slots: int) -> list[list[Cell]]:
    """What is handed to a worker at once: a group, or a part of it where workers would otherwise have nothing to do."""
    parts = max(1, slots // len(groups))
    return [list(g[i::parts]) for g in groups for i in range(min(parts, len(g)))]


def _published(lake: Lake, folders: Sequence[Path]) -> Iterator[tuple[Path, str | None]]:
    """Publish staged cells, some at a time; for each None, or why it is not published. Where that is no fault of its
    rows (a full disk, a damaged table), they stay staged, and the next run tries again."""
    for i in range(0, len(folders), MOST):
        some = folders[i : i + MOST]
        ended: dict[Path, str | None] = {}
        try:
            with interruptible():
                publish(lake, some, ended)
        except Exception as e:
            left = [folder for folder in some if folder not in ended]
            if not left:  # it met what follows on publication
                yield from ended.items()
                if (line := mendable(e)) is None:
                    raise
                print(line, file=sys.stderr)
                continue
            if len(some) == 1:
                ended[some[0]] = f"{explain(e)} (its rows stay in {lake.relative(some[0])})"
            for folder in left if len(some) > 1 else ():  # it may be one of them only
                yield from _published(lake, [folder])
        yield from ended.items()


def _remove(lake: Lake, folder: Path) -> None:
    """Remove a run's folder, unless it holds rows that could not be published."""
    if not any(folder.glob(f"*/{MANIFEST}")):
        settle(lake, folder)
        shutil.rmtree(folder)


@contextmanager
def _run_folder(lake: Lake) -> Iterator[Path]:
    """A folder for what this run stages."""
    with scratch(lake.staging, "run") as folder:
        yield folder
        _remove(lake, folder)
