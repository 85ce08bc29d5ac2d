"""One attempt at a cell, in the process that computes it: its rows, staged, and how it went, beside them.

started          the work has begun
manifest.json    the rows are whole
failed.json      there are none, and why
"""

from __future__ import annotations

import pickle
import platform
import shutil
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import Any

from memlake.warehouse.connections import damage, interruptible
from memlake.warehouse.errors import BadInput, MemlakeError, of_a_disk
from memlake.warehouse.json_files import json_object, write_json
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.publish import MANIFEST, Attempt, Manifest
from memlake.warehouse.publishing.stage import Staging

from .cells import Cell, plan

STARTED, FAILED = "started", "failed.json"
LIBRARIES = ("numpy", "duckdb", "pyarrow", "deltalake", "tokenizers", "torch", "transformers")


@dataclass(frozen=True)
class Failure:
    """Why an attempt has no rows, and what `cells` tells of it."""

    reason: str
    attempt: Attempt

    @classmethod
    def read(cls, folder: Path) -> Failure:
        found = json_object(folder / FAILED)
        return cls(found["reason"], Attempt(**found["attempt"]))


def stage_cells(pickled: bytes, lake_path: str, folder: str) -> None:
    """Stage the cells one after the other, each in a folder of `folder` that bears its id. What is staged or done
    already, by a worker that died since, is not done again.

    pickled: of a sequence of cells. Dask would read them in its own loop, where a worker to which one of their modules
    is unknown gets no more tasks, and says nothing.
    """
    try:
        cells: Sequence[Cell] = pickle.loads(pickled)
    except (ImportError, AttributeError) as e:
        raise BadInput(f"the workers cannot read the cells: {e}: do they run the same memlake as this command?") from e
    lake = Lake(Path(lake_path))
    for cell in cells:
        place = Path(folder) / cell.id
        if not any((place / end).exists() for end in (MANIFEST, FAILED)) and plan(lake, [cell]):
            shutil.rmtree(place, ignore_errors=True)
            stage_cell(cell, lake, place)


def stage_cell(cell: Cell, lake: Lake, place: Path) -> None:
    """Stage one cell in `place`. An error does not leave: it stands in `failed.json`."""
    place.mkdir(parents=True)
    (place / STARTED).touch()
    began = monotonic()
    reason = None
    try:
        with interruptible(), Staging(place, cell.id, place.parent.name) as stage:
            for name, piece in cell.rows(lake):
                stage.write(name, piece)
    except Exception as e:  # it does not stop the other cells
        reason = explain(e)
    attempt = attempt_at(cell, seconds=monotonic() - began, device=_device(cell), versions=_versions())
    if reason is not None:
        write_json(place / FAILED, {"reason": reason, "attempt": asdict(attempt)})
        return
    Manifest(**vars(attempt), tables=cell.tables, expected=dict(cell.expected), files=tuple(stage.files)).write(place)


def attempt_at(cell: Cell, **measured: Any) -> Attempt:
    """What `cells` tells of an attempt at the cell; measured: seconds, device, versions."""
    return Attempt(cell.id, cell.experiment, cell.VERSION, cell.settings.to_json(), **measured)


def explain(error: Exception) -> str:
    """What the user can mend is a line; a bug keeps its traceback."""
    return mendable(error) or "".join(traceback.format_exception(error))


def mendable(error: Exception) -> str | None:
    """The line for what the user can mend; None for a bug."""
    if isinstance(error, MemlakeError):
        return str(error)
    return of_a_disk(error, unnamed="the lake's disk") or damage(error)


def _device(cell: Cell) -> str:
    """Where this process computes: the GPU's name if the cell ran on one, else the machine's processor type."""
    torch = sys.modules.get("torch")
    if torch and cell.device != "cpu" and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"cpu {platform.machine()}"


def _versions() -> dict[str, str]:
    """Versions of the libraries that this process has loaded, and of Python."""
    found = {"python": platform.python_version()}
    return found | {name: _version(name) for name in LIBRARIES if name in sys.modules}


@cache
def _version(library: str) -> str:
    return version(library)
