"""Training of a miniature: which tokens each step shows, and the steps."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

AROUND = 4  # tokens of the document shown around the sampled window, so that it begins at positions 0 to 4
BATCH = 4  # windows a step: many small steps memorize more than a few large ones
WARM_UP = 0.25  # share of the steps in which the learning rate rises
BETAS = (0.9, 0.98)
IGNORED = -100  # target of the padding


@dataclass(frozen=True)
class Shown:
    """A sampled window in its document: `tokens` of the whole document, the window is [first, last)."""

    tokens: list[int]
    first: int
    last: int
    times: int


def window(shown: Shown, draw: random.Random) -> list[int]:
    """Tokens of the document around the sampled window and `AROUND` more, which begin up to `AROUND` tokens before it;
    fewer where the document ends."""
    earliest = max(0, shown.first - AROUND)
    latest = max(earliest, min(shown.first, len(shown.tokens) - (shown.last - shown.first) - AROUND))
    start = draw.randint(earliest, latest)
    return shown.tokens[start : start + shown.last - shown.first + AROUND]


def batches(shown: Sequence[Shown], seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Inputs and targets of every step, int64 of shape (windows, tokens): one pass over all showings in random order.
    Short windows are padded on the right; the padding is no target, and no token sees what follows it."""
    draw = random.Random(seed)
    order = [s for s in shown for _ in range(s.times)]
    draw.shuffle(order)
    for begin in range(0, len(order), BATCH):
        rows = [window(s, draw) for s in order[begin : begin + BATCH]]
        longest = max(map(len, rows))
        inputs = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        targets = torch.tensor([row[1:] + [IGNORED] * (longest - len(row) + 1) for row in rows])
        yield inputs, targets


def train(model: PreTrainedModel, shown: Sequence[Shown], rate: float, seed: int) -> None:
    """One pass of AdamW without weight decay; the learning rate rises to `rate`, then falls to 0 along a cosine."""
    steps = -(-sum(s.times for s in shown) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=BETAS, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=steps, pct_start=WARM_UP, cycle_momentum=False
    )
    model.train()
    for inputs, targets in batches(shown, seed):
        logits = model(input_ids=inputs, use_cache=False).logits
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.eval()
