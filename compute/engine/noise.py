"""Gaussian noise on what enters one block: H~ = H + e, e ~ N(0, s^2), s = strength x RMS(H) (arXiv 2603.21658, 4.4).

e = s z, and z depends on the seed, the sequence, the layer and the position alone, position being the slot in what the
model reads. So a row depends neither on its batch nor on the device, strengths are paired, and decoding finds at every
position the noise that the forced forward had there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from memlake.warehouse.identity import hash63


def draw(seed: int, layer: int, sequence_ids: np.ndarray, slots: int, width: int) -> np.ndarray:
    """Standard normal z, float32 [rows, slots, width]. Each sequence has a stream of numpy's counter-based Philox
    (Salmon et al. 2011, doi 10.1145/2063384.2063405), drawn position after position, so that more slots only append."""
    z = np.empty((len(sequence_ids), slots, width), dtype=np.float32)
    for row, sequence_id in zip(z, sequence_ids.tolist(), strict=True):
        stream = np.random.Philox(key=hash63(seed, sequence_id, layer))
        np.random.Generator(stream).standard_normal(dtype=np.float32, out=row)
    return z


@dataclass(frozen=True)
class Noise:
    """Noise for the rows of one batch.

    block: the block whose input gets it. z: float32 [rows, slots, width], on the model's device. real: None where RMS
    is taken over each token's vector; else over all that the row holds, bool [rows, slots]: not its padding.
    """

    block: nn.Module
    z: torch.Tensor
    strength: float
    real: torch.Tensor | None = None

    def on(self, hidden: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Noisy states of the shape and dtype of `hidden` [rows, slots, width]; computed in float32, rounded once."""
        states = hidden.float()
        square = states.square().mean(-1, keepdim=True)
        if self.real is not None:
            square = (square[..., 0] * self.real).sum(-1) / self.real.sum(-1)
            square = square[:, None, None]
        return (states + self.strength * square.sqrt() * z).to(hidden.dtype)


@contextmanager
def added(noise: Noise | None, rows: torch.Tensor | None = None, slots: torch.Tensor | None = None) -> Iterator[None]:
    """While this lasts, what enters the block gets its noise; without noise nothing happens.

    rows: int64, which rows of the batch the model reads; None: all. slots: int64, of each such row the one slot that
    the model reads; None: all from the first on.
    """
    if noise is None:
        yield
        return
    z = noise.z if rows is None else noise.z[rows] if slots is None else noise.z[rows, slots, None]

    def entering(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (noise.on(args[0], z), *args[1:])

    # Before other hooks, so that they see what the block sees
    with noise.block.register_forward_pre_hook(entering, prepend=True):
        yield
