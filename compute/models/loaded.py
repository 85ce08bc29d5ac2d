"""The model that a process holds, ready to run."""

from __future__ import annotations

from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import Source
from memlake.warehouse.models.tokenizer import load_tokenizer
from memlake.warehouse.work.cells import Cell

from .checkpoint import Checkpoint
from .conditions import Condition

_held: dict[tuple, tuple[Checkpoint, int | None]] = {}


def held(lake: Lake, cell: Cell) -> tuple[Checkpoint, int | None]:
    """On a worker: the cell's model, ready to run, and the id of its BOS token. One model is held at a time."""
    from memlake.compute.models.checkpoint import known_model, load, pick_device

    source = Source(**{**cell.task["source"], "corpora": tuple(cell.task["source"]["corpora"])})
    condition = Condition(**cell.task["condition"])
    device = cell.task["device"] = pick_device(cell.task["device"])  # `cells` will tell where it ran
    digest = cell.settings.get("checkpoint_digest") or cell.settings["weights_digest"]
    key = (source.location, digest, condition, device)
    if key not in _held:
        known_model(lake, source, condition)  # its files may have changed since the work was planned
        _held.clear()  # before the next one is loaded, so that both are never in memory
        _held[key] = load(source, condition, device), load_tokenizer(source).bos_id
    return _held[key]
