"""Greedy decoding from each row's first mismatch on, on the cache of the teacher-forced forward.

Up to its first mismatch a row's forced and greedy decoding are the same, so that the cache holds all that greedy
decoding needs. From there each step writes a row's key and value into the slot of its own position, over those of the
true continuation, and a mask hides the slots after it: nothing is shifted, appended or copied. End-of-sequence is an
ordinary token, so that every row's number of steps is known beforehand: the rows are sorted by it, and those that have
finished are left out by taking a shorter view.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from memlake.compute.models.checkpoint import Checkpoint

from .forward import Batch, check_finite, decided, logits_of
from .leading import Leading
from .noise import Noise, added

Step = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # token and slot of each row -> hidden [rows, width]


class _Slots(DynamicCache):
    """Keys and values of chosen rows, a slot for each position; `aim` says where the next step writes."""

    def __init__(self, cache: DynamicCache, rows: torch.Tensor):
        super().__init__()
        self.kept = []
        layer: Any  # of the kinds that it may have, one with keys and values
        for layer in cache.layers:  # layer after layer, so that the memory of both is never needed in full
            self.kept.append((layer.keys[rows], layer.values[rows]))
            layer.keys = layer.values = None

    def aim(self, rows: torch.Tensor, slots: torch.Tensor) -> None:
        self.rows, self.slots = rows, slots

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        kept_keys, kept_values = (tensor[: len(self.rows)] for tensor in self.kept[layer_idx])
        for tensor, new in ((kept_keys, key_states), (kept_values, value_states)):
            tensor[self.rows, :, self.slots] = new[:, :, 0]
        return kept_keys, kept_values


def greedy(
    checkpoint: Checkpoint,
    b: Batch,
    cache: DynamicCache | None,
    first: np.ndarray,
    token: np.ndarray,
    noise: Noise | None = None,
) -> list[np.ndarray]:
    """Decode rows greedily after their first mismatch.

    `first` int64 [rows]: position in the continuation of the first mismatch, n where there is none; `token` int64
    [rows]: what the model produced there. `noise`: what the forced forward ran under. Returns for each row the tokens
    after that position (int64, of length n - 1 - first, empty where there is no mismatch). Without a cache, or where a
    row is longer than what a block of the model sees, each step reads the row anew. Raises `BadInput` where logits are
    not finite.
    """
    steps = np.maximum(b.n - 1 - first, 0)
    order = np.argsort(-steps, kind="stable")
    order = order[steps[order] > 0]
    out = [np.empty(0, dtype=np.int64)] * len(steps)
    if len(order) == 0:
        return out
    device = checkpoint.device
    rows = torch.from_numpy(order).to(device)
    last = torch.from_numpy(token[order]).to(device)
    slot = torch.from_numpy((b.prefix + first)[order]).to(device)
    anew = cache is None or (checkpoint.sees is not None and b.ids.shape[1] > checkpoint.sees)
    if cache is None or anew:
        step = _reading_anew(checkpoint, b.ids.to(device)[rows])
    else:
        step = _on_cache(checkpoint, _Slots(cache, rows), slot, b.ids.shape[1])
    made = torch.empty(len(order), int(steps.max()), dtype=torch.int64, device=device)
    finite = torch.ones((), dtype=torch.bool, device=device)
    for i in range(made.shape[1]):
        active = int((steps[order] > i).sum())
        last, slot = last[:active], slot[:active]
        with added(noise, rows[:active], None if anew else slot):
            hidden = step(last, slot)
        firsts = [Leading(decided(x, checkpoint.forbidden), 1).first() for x in logits_of(checkpoint, hidden)]
        best, last = (torch.cat(column) for column in zip(*firsts, strict=True))
        finite &= best.isfinite().all()
        slot = slot + 1
        made[:active, i] = last
    check_finite(checkpoint, bool(finite))
    for place, tokens in zip(order, made.cpu().numpy(), strict=True):
        out[place] = tokens[: steps[place]]
    return out


def _on_cache(checkpoint: Checkpoint, cache: _Slots, slot: torch.Tensor, slots: int) -> Step:
    """A step that reads one token a row: (token, slot) int64 [active] -> hidden [active, width]."""
    dtype, device = checkpoint.model.dtype, checkpoint.device
    closed = torch.arange(slots, device=device) > slot[:, None]
    mask = torch.zeros(closed.shape, dtype=dtype, device=device).masked_fill_(closed, torch.finfo(dtype).min)
    mask = mask[:, None, None, :]  # a mask of four dimensions is taken as it is by every architecture
    rows = torch.arange(len(slot), device=device)

    def step(token: torch.Tensor, slot: torch.Tensor) -> torch.Tensor:
        active = rows[: len(slot)]
        cache.aim(active, slot)
        mask[active, 0, 0, slot] = 0
        return checkpoint.model.base_model(
            input_ids=token[:, None],
            position_ids=slot[:, None],
            attention_mask=mask[: len(slot)],
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state[:, 0]

    return step


def _reading_anew(checkpoint: Checkpoint, ids: torch.Tensor) -> Step:
    """A step that reads each row from its start; what stands after the slot is padding to it."""

    def step(token: torch.Tensor, slot: torch.Tensor) -> torch.Tensor:
        rows = torch.arange(len(slot), device=ids.device)
        ids[rows, slot] = token
        return checkpoint.model.base_model(input_ids=ids[: len(slot)], use_cache=False).last_hidden_state[rows, slot]

    return step
