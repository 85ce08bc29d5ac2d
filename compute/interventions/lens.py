"""What each layer of a model would predict if it were the last: the logit lens, all layers from one forward.

The final norm and the unembedding on every residual state (nostalgebraist 2020; Belrose et al. 2023, arXiv 2303.08112,
section 2). Only the states at continuation positions are read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from memlake.compute.engine.batches import each_batch, prepared
from memlake.compute.engine.blocks import Blocks
from memlake.compute.engine.forward import LOGITS, Batch, check_finite, decided
from memlake.compute.models.checkpoint import Checkpoint


@dataclass(frozen=True)
class Lens:
    """Read-outs of sequences in the order they were given. The first axis is the continuation positions, sequence after
    sequence; the second, where there is one, n_layers + 1 entries: 0 after the embedding, l after block l, the last
    being the model's own output."""

    n: np.ndarray  # int64 [sequences]: tokens of the continuation
    target: np.ndarray  # int64 [positions]: the token that stands there
    top1: np.ndarray  # int32 [positions, entries]: arg-max token, of equals the lowest id
    probability: np.ndarray  # float32: of the target
    rank: np.ndarray  # int32: of the target, from 1; of equal logits the lowest id first
    entropy: np.ndarray  # float32: nats
    kl: np.ndarray  # float32: KL(last entry || entry), nats, the direction of Belrose et al.

    @property
    def first_layer(self) -> np.ndarray:
        """int64 [positions]: the first entry from which top1 stays the last entry's."""
        differs = self.top1 != self.top1[:, -1:]
        after_last_difference = differs.shape[1] - differs[:, ::-1].argmax(-1)
        return np.where(differs.any(-1), after_last_difference, 0)


@torch.inference_mode()
def decode(
    checkpoint: Checkpoint,
    tokens: list[np.ndarray],
    prefix: np.ndarray,
    *,
    bos_id: int | None = None,
    batch_size: int | None = None,
) -> Lens:
    """Read every layer of sequences under the checkpoint's condition; arguments and errors as of `scoring.score`."""
    tokens, prefix = prepared(checkpoint, tokens, prefix, bos_id)
    blocks = Blocks(checkpoint)
    n = np.array([len(t) for t in tokens]) - prefix
    start = np.cumsum(n) - n
    square = (n.sum(), blocks.n_layers + 1)
    dtypes = (np.int32, np.float32, np.int32, np.float32, np.float32)
    out = Lens(n, np.empty(n.sum(), np.int64), *(np.empty(square, dtype) for dtype in dtypes))

    def run(rows: np.ndarray, b: Batch) -> None:
        at = start[rows][b.row] + b.slot - (b.prefix[b.row] - 1)
        out.target[at] = b.target
        columns = (out.top1, out.probability, out.rank, out.entropy, out.kl)
        for column, values in zip(columns, _read(checkpoint, blocks, b), strict=True):
            column[at] = values
        check_finite(checkpoint, bool(np.isfinite(out.entropy[at]).all()))

    each_batch(checkpoint, tokens, prefix, run, batch_size)
    return out


def _read(checkpoint: Checkpoint, blocks: Blocks, b: Batch) -> list[np.ndarray]:
    """The columns of `Lens` from `top1` on, in the order of `b.row`. The logits of one entry at some positions are in
    memory at once, beside the last entry's at the same positions."""
    head = checkpoint.model.get_output_embeddings()
    states = blocks.trace(b.ids).hidden
    row, slot, target = (torch.from_numpy(x).to(checkpoint.device) for x in (b.row, b.slot, b.target))
    size = max(1, LOGITS[checkpoint.device.type] // checkpoint.vocab_size)

    def read(row: torch.Tensor, slot: torch.Tensor, target: torch.Tensor) -> list[torch.Tensor]:
        def logits(hidden: torch.Tensor) -> torch.Tensor:
            return head(blocks.norm(hidden[row, slot])).float()

        last = logits(states[-1]).log_softmax(-1)
        layers = [_read_out(logits(hidden), last, target, checkpoint.forbidden) for hidden in states]
        return [torch.stack(column, dim=1).cpu() for column in zip(*layers, strict=True)]

    pieces = [read(*piece) for piece in zip(row.split(size), slot.split(size), target.split(size), strict=True)]
    return [torch.cat(column).numpy() for column in zip(*pieces, strict=True)]


def _read_out(
    logits: torch.Tensor, last: torch.Tensor, target: torch.Tensor, forbidden: tuple[int, ...]
) -> tuple[torch.Tensor, ...]:
    """`logits` float32 [positions, vocabulary] of one entry, `last` the log-softmax of the last one's, `target` int64
    [positions]."""
    choice = decided(logits, forbidden)
    at_target = choice.gather(-1, target[:, None])
    before = torch.arange(logits.shape[-1], device=logits.device) < target[:, None]
    log_softmax = logits.log_softmax(-1)
    return (
        choice.argmax(-1),  # torch documents: of equals the first
        log_softmax.gather(-1, target[:, None])[:, 0].exp(),
        1 + ((choice > at_target) | ((choice == at_target) & before)).sum(-1),
        torch.linalg.vecdot(log_softmax.exp(), log_softmax).neg().clamp_min(0),
        torch.linalg.vecdot(last.exp(), last - log_softmax).clamp_min(0),
    )
