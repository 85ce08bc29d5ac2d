"""Score sequences under noise, and how near the states of that forward are to clean ones (arXiv 2603.21658, section
4.4).

One clean forward and one draw of the noise serve all strengths, and the forward that scores a strength is the one that
is compared: a strength costs no more than scoring does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from memlake.compute.engine.batches import each_batch, prepared
from memlake.compute.engine.blocks import Blocks
from memlake.compute.engine.forward import Batch, forced
from memlake.compute.engine.noise import Noise, draw
from memlake.compute.engine.scoring import Scores, empty, fill
from memlake.compute.models.checkpoint import Checkpoint

PARTS = ("prefix", "continuation")


@dataclass(frozen=True)
class Similarity:
    """How near noisy states are to clean ones, mean over the positions of a part of each sequence.

    cosine, relative_l2: float32 [parts, sequences, n_layers + 1], entry l being what enters block l, the last what
    leaves the last block. positions: int64 [parts, sequences]; where it is 0 the means mean nothing.
    """

    cosine: np.ndarray
    relative_l2: np.ndarray
    positions: np.ndarray


@torch.inference_mode()
def measure(
    checkpoint: Checkpoint,
    tokens: list[np.ndarray],
    prefix: np.ndarray,
    sequence_ids: np.ndarray,
    *,
    strengths: Sequence[float],
    seed: int,
    layer: int,
    scope: str,
    bos_id: int | None = None,
    decode: bool = True,
    batch_size: int | None = None,
) -> list[tuple[Scores, Similarity]]:
    """Score sequences under noise of each strength, and compare the states of the forced forward with the clean ones.

    `tokens`, `prefix`, `batch_size`: as in `scoring.score`, which says what it raises; `sequence_ids` int64.
    `layer`: entry of hidden_states that the noise is added to. `scope`: RMS over each token's vector or over the row;
    with 'row' `decode` must be False, since a row that is being generated has no RMS yet.
    """
    tokens, prefix = prepared(checkpoint, tokens, prefix, bos_id)
    blocks = Blocks(checkpoint)
    n = np.array([len(t) for t in tokens]) - prefix
    out = [(empty(n, decode), _identical(prefix, n, blocks.n_layers)) for _ in strengths]

    def run(rows: np.ndarray, b: Batch) -> None:
        clean = blocks.trace(b.ids).hidden
        z = torch.from_numpy(draw(seed, layer, sequence_ids[rows], *clean[0].shape[1:])).to(checkpoint.device)
        parts = _parts(b).to(checkpoint.device)
        for strength, (scores, similarity) in zip(strengths, out, strict=True):
            noise = Noise(blocks.blocks[layer], z, strength, parts.any(0) if scope == "row" else None)
            with _compared(blocks, layer, clean, parts, rows, similarity):
                read, cache = forced(checkpoint, b, decode, noise)
            fill(scores, rows, checkpoint, b, read, cache, noise)
            del cache  # before the next forward makes one

    each_batch(checkpoint, tokens, prefix, run, batch_size)
    return out


def _identical(prefix: np.ndarray, n: np.ndarray, n_layers: int) -> Similarity:
    """What holds of the states before the noise."""
    shape = (len(PARTS), len(n), n_layers + 1)
    return Similarity(np.ones(shape, np.float32), np.zeros(shape, np.float32), np.stack([prefix - 1, n]))


def _parts(b: Batch) -> torch.Tensor:
    """Which slots belong to which of PARTS, bool [parts, rows, slots]; the slot that predicts the continuation's first
    token is the continuation's. Together they are all that is not padding."""
    slot = np.arange(b.ids.shape[1])
    cut, end = (b.prefix - 1)[:, None], (b.prefix - 1 + b.n)[:, None]
    return torch.from_numpy(np.stack([slot < cut, (cut <= slot) & (slot < end)]))


@contextmanager
def _compared(
    blocks: Blocks, layer: int, clean: list[torch.Tensor], parts: torch.Tensor, rows: np.ndarray, out: Similarity
) -> Iterator[None]:
    """While this lasts, the states of a forward from entry `layer` on are compared with `clean` ones as they pass, so
    that none of them is kept, and the means written into `rows` of `out`."""

    def see(entry: int, noisy: torch.Tensor) -> None:
        a, b = clean[entry].float(), noisy.float()
        distance = (b - a).norm(dim=-1)
        # A vector of zeros has no direction, and noise of its size leaves it as it is
        cosine = torch.cosine_similarity(a, b, dim=-1).where(distance > 0, 1)
        both = torch.stack([cosine, distance / a.norm(dim=-1).clamp_min(torch.finfo(a.dtype).tiny)])
        sums = both[:, None].where(parts, 0).sum(-1) / parts.sum(-1).clamp_min(1)
        out.cosine[:, rows, entry], out.relative_l2[:, rows, entry] = sums.cpu().numpy()

    with ExitStack() as hooks:
        for entry, module in enumerate((*blocks.blocks, blocks.norm)):
            if entry >= layer:
                hook = module.register_forward_pre_hook(lambda _, args, entry=entry: see(entry, args[0]))
                hooks.enter_context(hook)
        yield
