"""Remove what no snapshot of the last days needs: data files that were merged or taken back, and old log entries.

Kept is every file of the newest snapshot, every file that a commit has taken out of it since, and every file that a
staged cell waits to commit. The log is kept from the checkpoint on from which the oldest snapshot of those days is
read: a checkpoint holds the transactions of all cells, so that what was published once stays so.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from memlake.warehouse import changes
from memlake.warehouse.errors import BadInput
from memlake.warehouse.lake import Lake

from .publish import MANIFEST, Manifest

DAY = 24 * 60 * 60  # seconds
GRACE = 60 * 60  # seconds; a younger file that no log names may be one that is about to be committed


@dataclass(frozen=True)
class Removed:
    """What was removed of a table: data files, their bytes, and entries of the log."""

    files: int
    size: int
    entries: int


def vacuum(lake: Lake, name: str, keep_days: float) -> Removed:
    """Remove of a table what no snapshot of the last `keep_days` days needs; raises `DamagedLake`, `BadInput`."""
    since = time.time() - keep_days * DAY
    with lake.publishing():  # so that no publication is between moving its files to their places and committing them
        size = files = 0
        for entry in list(_unneeded(lake, name, since)):
            with suppress(FileNotFoundError):  # removed meanwhile
                size, files = size + entry.stat().st_size, files + 1
                os.unlink(entry.path)
        if files:  # what was made over an older snapshot may name them
            changes.tell(lake.path)
        return Removed(files, size, _shorten(lake, name, since))


def on_disk(lake: Lake, name: str) -> int:
    """Bytes of a table's data files, published or not."""
    size = 0
    for entry in _data_files(str(lake.path / name)):
        with suppress(FileNotFoundError):  # removed meanwhile
            size += entry.stat().st_size
    return size


def _data_files(folder: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "_delta_log":
                    yield from _data_files(entry.path)
            elif entry.name.endswith(".parquet"):
                yield entry


def _unneeded(lake: Lake, name: str, since: float) -> Iterator[os.DirEntry[str]]:
    root = lake.path / name
    gone = _taken_out(root)
    needed = {*lake.files(name), *_staged(lake)} | {path for path, at in gone.items() if at >= since}
    for entry in _data_files(str(root)):
        if entry.path in needed:
            continue
        with suppress(FileNotFoundError):
            stat = entry.stat()  # moving a file to its place changes its ctime only
            if entry.path in gone or max(stat.st_mtime, stat.st_ctime) < time.time() - GRACE:
                yield entry


def _taken_out(root: Path) -> dict[str, float]:
    """The files that commits have taken out of the table, and when the last one did, by what is left of the log."""
    found: dict[str, float] = {}
    for entry in (root / "_delta_log").glob("*.json"):
        for line in entry.read_text(encoding="utf-8").split("\n"):
            if line.startswith('{"remove"'):
                removed = json.loads(line)["remove"]
                path = str(root / unquote(removed["path"]))
                found[path] = max(found.get(path, 0), removed["deletionTimestamp"] / 1000)
    return found


def _staged(lake: Lake) -> Iterator[str]:
    """Where the files of staged cells will lie, or do already: a killed publication goes on from there."""
    for path in lake.staging.glob(f"run-*/*/{MANIFEST}"):
        try:
            yield from (str(lake.path / file.path) for file in Manifest.read(path.parent).files)
        except FileNotFoundError:  # its run is over
            continue
        except (BadInput, KeyError, TypeError) as e:
            raise BadInput(f"nothing is removed: {path} cannot be read ({e})") from e


def _shorten(lake: Lake, name: str, since: float) -> int:
    """Remove old entries of a table's log; how many."""
    log = lake.path / name / "_delta_log"
    delta = lake.delta(name)
    if delta.version() not in _versions(log, "checkpoint"):
        delta.create_checkpoint()
    recent = (v for v, p in _versions(log, "json").items() if p.stat().st_mtime >= since)
    oldest = min(recent, default=delta.version() + 1)
    # The snapshot before the first commit of those days is one of theirs, too.
    start = max((v for v in _versions(log, "checkpoint") if v < oldest), default=0)
    old = [p for kind in ("json", "checkpoint") for v, p in sorted(_versions(log, kind).items()) if v < start]
    for path in old:
        path.unlink()
    return len(old)


def _versions(log: Path, kind: str) -> dict[int, Path]:
    """The entries of a log by their versions: commits (`json`), or checkpoints, which stand for all commits before."""
    found = ((re.match(rf"(\d{{20}})\.{kind}\b", path.name), path) for path in log.iterdir())
    return {int(m[1]): path for m, path in found if m}
