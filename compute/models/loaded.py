"""The model that a process has in memory."""

from __future__ import annotations

from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import ModelSpec
from memlake.warehouse.models.tokenizer import load_tokenizer

from .checkpoint import Checkpoint, known_model, load
from .conditions import Condition
from .device import pick_device, use_threads

_loaded: dict[tuple[object, ...], tuple[Checkpoint, int | None]] = {}


def load_once(
    lake: Lake, spec: ModelSpec, digest: str, condition: Condition, device: str
) -> tuple[Checkpoint, int | None]:
    """A checkpoint, ready to run on what `device` means here, and the id of its BOS token. It stays in memory until
    another is asked for. digest: of the checkpoint as it was planned with.

    Raises as `load` does, and `Conflict` where its files have changed since the lake got to know it.
    """
    key = (spec.location, digest, condition, pick_device(device))
    if key not in _loaded:
        known_model(lake, spec, condition)  # its files may have changed since the work was planned
        _loaded.clear()  # before the next one is loaded, so that both are never in memory
        checkpoint = load(spec, condition, device)
        use_threads(checkpoint.model.num_parameters())
        _loaded[key] = checkpoint, load_tokenizer(spec).bos_id
    return _loaded[key]
