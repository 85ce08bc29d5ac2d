"""Run cells on Dask, publish what they staged, and say how it went.

Workers compute and stage; this process judges and commits, alone, so that the tables' logs see one writer a run. A
worker that dies takes nothing with it: what it had staged is whole or ignored.
"""

from __future__ import annotations

import fcntl
import json
import platform
import shutil
import sys
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from time import monotonic, sleep

import pyarrow as pa

from memlake.warehouse.errors import MemlakeError
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.publish import publish, record, write_json
from memlake.warehouse.publishing.stage import Stage

from .cells import Cell, plan
from .cluster import client_for
from .progress import Progress

Work = Callable[[Cell, Lake], Iterator[tuple[str, pa.Table]]]
LIBRARIES = ("numpy", "duckdb", "pyarrow", "deltalake", "tokenizers", "torch", "transformers")
BESIDE = "another memlake command is writing to this lake: both go on, and each row is published once"
LOST = "its worker staged nothing here: does it see the lake at the same path?"
POLL = 0.1  # seconds between looks at what the workers staged


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


def run(
    lake: Lake,
    cells: Sequence[Cell],
    work: Work,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    title: str = "cells",
) -> Summary:
    """Plan, skip what is done, run the rest, publish each as it completes.

    work: a function of a module, called on a worker as work(cell, lake); yields (table, rows) in pieces.
    workers: processes on this machine; by default one a core, and no more than there are groups of cells.
    scheduler: address of a Dask scheduler whose workers see the lake at the same path; then `workers` is not used.
    """
    if recover(lake):
        print(BESIDE, file=sys.stderr)
    todo = plan(lake, list({c.id: c for c in cells}.values()))
    summary = Summary(skipped=len({c.id for c in cells}) - len(todo))
    if not todo:
        return summary
    with _run_folder(lake) as folder, client_for(workers, scheduler, len({c.group or c.id for c in todo})) as client:
        slots = max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
        rows = [sum(c.rows.values()) for c in todo]
        with Progress(title, len(todo), sum(rows) if all(rows) else None) as progress:
            _drive(lake, folder, client, _batches(todo, slots), work, summary, progress)
    return summary


def recover(lake: Lake) -> int:
    """Publish what killed runs had staged whole, and remove what they left unfinished; the number of runs alive."""
    alive = 0
    for folder in sorted(p for p in lake.staging.glob("run-*") if p.is_dir()):
        with _lock(folder) as free:
            alive += not free
            if not free or not folder.is_dir():  # or another process was faster
                continue
            for manifest in sorted(folder.glob("*/manifest.json")):
                if reason := _publish(lake, manifest.parent):
                    print(f"{manifest.parent.name} of a run that was killed: {reason.strip()}", file=sys.stderr)
            _remove(folder)
    return alive


def _publish(lake: Lake, folder: Path) -> str | None:
    """Publish a staged cell; None, or why it is not published. Where that is no fault of its rows (a full disk, a
    damaged table), they stay staged, and the next run tries again."""
    try:
        return publish(lake, folder)
    except Exception as e:
        return f"{_reason(e)} (its rows stay in {lake.relative(folder)})"


def _reason(error: Exception) -> str:
    """What the user can mend is a line; a bug keeps its traceback."""
    return str(error) if isinstance(error, MemlakeError) else "".join(traceback.format_exception(error))


def _remove(folder: Path) -> None:
    """Remove a run's folder, unless it holds rows that could not be published."""
    if not any(folder.glob("*/manifest.json")):
        shutil.rmtree(folder)


def _drive(lake, folder: Path, client, batches: list[list[Cell]], work: Work, summary: Summary, progress) -> None:
    """Submit the batches and settle their cells until none is left."""
    futures = {}
    waiting = {c.id: c for batch in batches for c in batch}

    def submit(batch: list[Cell]) -> None:
        gpu = {"GPU": 1} if batch[0].task.get("device") == "cuda" else None
        future = client.submit(run_batch, batch, work, str(lake.path), str(folder), pure=False, resources=gpu)
        futures[future] = batch

    def settle(cell: Cell, reason: str | None) -> None:
        del waiting[cell.id]
        if reason is None:
            summary.done.append(cell.id)
        else:
            summary.failed.append((cell, reason))
        progress.advance(sum(cell.rows.values()), failed=reason is not None)

    for batch in batches:
        submit(batch)
    while waiting:
        ended = [f for f in futures if f.done()]
        for cell in [c for c in waiting.values() if (folder / c.id).is_dir()]:
            _settle(lake, folder / cell.id, cell, settle)
        for future in ended:
            left = [c for c in futures.pop(future) if c.id in waiting]
            if future.status == "finished":  # what is left either another run published meanwhile, or it is lost
                missing = {c.id for c in plan(lake, left)}
                for cell in left:
                    settle(cell, LOST if cell.id in missing else None)
            elif left := _blame(lake, folder, left, future, settle):
                submit(left)
            future.release()
        progress.tick()
        if not ended:
            sleep(POLL)


def _settle(lake: Lake, folder: Path, cell: Cell, settle: Callable[[Cell, str | None], None]) -> None:
    """Publish or report what a worker left of one cell, if it is through with it."""
    if (folder / "failed.json").exists():
        failure = json.loads((folder / "failed.json").read_text())
        _record_failure(lake, cell, failure["reason"], **failure["measured"])
        shutil.rmtree(folder)
        settle(cell, failure["reason"])
    elif (folder / "manifest.json").exists():
        settle(cell, _publish(lake, folder))


def _blame(lake, folder: Path, batch: list[Cell], future, settle) -> list[Cell]:
    """The batch's task ended without an end of its own. Where its worker was killed, the cell that was under way is
    the one that failed, and the rest of the batch is returned to be tried again."""
    from distributed.scheduler import KilledWorker

    error = future.exception() if future.status == "error" else ConnectionError("the Dask scheduler was lost")
    started = [c for c in batch if (folder / c.id / "started").exists()]
    if isinstance(error, KilledWorker):
        failed, reason = started or batch, "its worker was killed, most likely out of memory"
    else:
        failed, reason = batch, _reason(error)
    for cell in failed:
        _record_failure(lake, cell, reason)
        shutil.rmtree(folder / cell.id, ignore_errors=True)
        settle(cell, reason)
    return [c for c in batch if c not in failed]


def run_batch(cells: list[Cell], work: Work, lake_path: str, folder: str) -> None:
    """On a worker: stage the cells one after the other. After a restart, what is staged or done is not done again."""
    lake = Lake(Path(lake_path))
    for cell in cells:
        place = Path(folder) / cell.id
        if not any((place / end).exists() for end in ("manifest.json", "failed.json")) and plan(lake, [cell]):
            shutil.rmtree(place, ignore_errors=True)
            _stage_cell(cell, work, lake, place)


def _stage_cell(cell: Cell, work: Work, lake: Lake, place: Path) -> None:
    place.mkdir(parents=True)
    (place / "started").touch()
    began = monotonic()
    try:
        with Stage(place, cell.id, place.parent.name) as stage:
            for name, piece in work(cell, lake):
                stage.write(name, piece)
        reason = None
    except Exception as e:  # it does not stop the other cells
        reason = _reason(e)
    measured = {"seconds": monotonic() - began, "device": _device(cell), "versions": _versions()}
    if reason is not None:
        write_json(place / "failed.json", {"reason": reason, "measured": measured})
        return
    manifest = {
        "cell": cell.id,
        "experiment": cell.experiment,
        "version": cell.version,
        "settings": dict(cell.settings),
        "tables": list(cell.tables),
        "expected": dict(cell.rows),
        "files": stage.files,
    }
    write_json(place / "manifest.json", manifest | measured)


def _record_failure(lake: Lake, cell: Cell, reason: str, **measured: object) -> None:
    settings = dict(cell.settings)
    record(lake, cell.id, cell.experiment, cell.version, settings, outcome="failed", reason=reason, **measured)


def _device(cell: Cell) -> str:
    """Where this process computes: the GPU's name if the cell ran on one, else the machine's processor type."""
    if "cuda" in str(cell.task.get("device", "")) and "torch" in sys.modules:
        return sys.modules["torch"].cuda.get_device_name()
    return f"cpu {platform.machine()}"


def _versions() -> dict[str, str]:
    """Versions of the libraries that this process has loaded, and of Python."""
    found = {"python": platform.python_version()}
    return found | {name: version(name) for name in LIBRARIES if name in sys.modules}


def _batches(cells: Sequence[Cell], slots: int) -> list[list[Cell]]:
    """Cells of one group together, so that a worker loads a model once; large groups are cut where workers would
    otherwise have nothing to do."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.group or cell.id, []).append(cell)
    parts = max(1, slots // len(groups))
    return [g[i::parts] for g in groups.values() for i in range(min(parts, len(g)))]


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
