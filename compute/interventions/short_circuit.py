"""Attention short-circuiting: what a continuation loses when attention in some blocks looks at nothing but its own
position (arXiv 2501.05078).

In the short-circuited blocks the attention weights become the identity; values, output projection, norms, residual and
MLP stay. What lies below the first such block does not change, so that a batch of sequences is traced once, and each
range costs the blocks from its own first one on. Many ranges stand side by side in one batch of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from memlake.compute.engine.batches import each_batch, fitting, prepared
from memlake.compute.engine.blocks import Blocks, Trace
from memlake.compute.engine.forward import Batch, check_finite, decided, read
from memlake.compute.models.checkpoint import Checkpoint

from .bounds import Bounds

Range = tuple[int, int]  # first and last short-circuited block, from 0


@dataclass(frozen=True)
class Effects:
    """Forced read-outs of sequences in the order they were given, each [ranges, sequences] with the range
    short-circuited.

    difference: |short-circuited - clean| of the residual stream, Euclidean, root mean square over the continuation
    positions; bound: what `bounds` says it cannot exceed. Entry b of the last axis is after block b.
    """

    n_match: np.ndarray  # int64: tokens of the continuation that are the arg-max
    entropy: np.ndarray  # float64: predictive entropy summed over the continuation positions, nats
    delta_logprob: np.ndarray  # float64: log-probability of the continuation, short-circuited - clean, nats
    difference: np.ndarray  # float32 [ranges, sequences, n_layers]: 0 before the first block of the range
    bound: np.ndarray  # float32 [ranges, sequences, n_layers]: 0 before the first block of the range


@torch.inference_mode()
def short_circuit(
    checkpoint: Checkpoint,
    tokens: list[np.ndarray],
    prefix: np.ndarray,
    ranges: Sequence[Range],
    *,
    bos_id: int | None = None,
    batch_size: int | None = None,
) -> Effects:
    """Short-circuit each range of blocks alone; arguments and errors as of `scoring.score`."""
    tokens, prefix = prepared(checkpoint, tokens, prefix, bos_id)
    blocks = Blocks(checkpoint)
    shape = (len(ranges), len(tokens))
    out = Effects(
        np.zeros(shape, np.int64),
        *(np.zeros(shape) for _ in range(2)),
        *(np.zeros((*shape, blocks.n_layers), np.float32) for _ in range(2)),
    )
    order = np.array(sorted(range(len(ranges)), key=lambda i: ranges[i]))  # what is batched begins at like blocks

    def run(rows: np.ndarray, b: Batch) -> None:
        batch = _Batch(checkpoint, blocks, b)
        bounds = Bounds(checkpoint, blocks, batch.trace)

        size = max(1, fitting(checkpoint, b.ids.shape[1]) // len(rows))
        for start in range(0, len(order), size):  # out of memory here halves the sequences, as in the trace
            some = order[start : start + size]
            at, cuts = np.ix_(some, rows), [ranges[i] for i in some]
            out.n_match[at], out.entropy[at], logprob, out.difference[at] = batch.effects(cuts)
            out.delta_logprob[at] = logprob - batch.logprob
            out.bound[at] = batch.root_mean_square(bounds.after_each(cuts))

    each_batch(checkpoint, tokens, prefix, run, batch_size)
    return out


def states_after(
    blocks: Blocks, trace: Trace, ranges: Sequence[Range]
) -> Iterator[tuple[int, dict[int, torch.Tensor]]]:
    """Each block from the first short-circuited one on, with the states that leave it: for each range that has begun
    (by its place in `ranges`) [rows of the trace, slots, width]."""
    states: dict[int, torch.Tensor] = {}
    for layer in range(min(first for first, _ in ranges), blocks.n_layers):
        cut = [i for i, (first, last) in enumerate(ranges) if first <= layer <= last]
        past = [i for i, (_, last) in enumerate(ranges) if last < layer]
        for group, heads in ((cut, blocks.identity(layer)), (past, None)):
            if group:
                entering = torch.cat([states.get(i, trace.hidden[layer]) for i in group])
                left = blocks.run(trace, layer, entering, heads)
                states |= zip(group, left.chunk(len(group)), strict=True)
        yield layer, states


class _Batch:
    """One batch of sequences, traced once. logprob float64 [rows]: of each continuation, nothing short-circuited."""

    def __init__(self, checkpoint: Checkpoint, blocks: Blocks, b: Batch):
        self.checkpoint, self.blocks, self.batch = checkpoint, blocks, b
        self.trace = blocks.trace(b.ids, heads=True)
        self.row, self.slot = (torch.from_numpy(at).to(checkpoint.device) for at in (b.row, b.slot))
        self.logprob = self._read(self.trace.hidden[-1])[2]

    def effects(self, ranges: Sequence[Range]) -> tuple[np.ndarray, ...]:
        """n_match, entropy, logprob [ranges, rows] and difference [ranges, rows, n_layers]."""
        difference = np.zeros((len(ranges), len(self.batch.n), self.blocks.n_layers))
        for layer, states in states_after(self.blocks, self.trace, ranges):
            clean = self._positions(self.trace.hidden[layer + 1]).float()
            for i, hidden in states.items():
                squares = (self._positions(hidden).float() - clean).square().sum(-1)
                difference[i, :, layer] = np.sqrt(self._sum(squares) / self.batch.n)
        read_outs = zip(*(self._read(states[i]) for i in range(len(ranges))), strict=True)
        return (*(np.stack(column) for column in read_outs), difference)

    def root_mean_square(self, per_slot: Iterator[tuple[int, torch.Tensor]]) -> np.ndarray:
        """Of what is given after each block, [ranges, rows, slots], over each row's continuation positions: [ranges,
        rows, n_layers], 0 after blocks for which nothing is given."""
        columns = {}
        for layer, values in per_slot:
            squares = values[:, self.row, self.slot].double().square()
            columns[layer] = np.stack([np.sqrt(self._sum(s) / self.batch.n) for s in squares])
        nothing = np.zeros_like(columns[layer])
        return np.stack([columns.get(layer, nothing) for layer in range(self.blocks.n_layers)], axis=-1)

    def _positions(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden[self.row, self.slot]

    def _sum(self, values: torch.Tensor | np.ndarray) -> np.ndarray:
        """Over each row's continuation positions: float64 [rows]."""
        return np.bincount(
            self.batch.row, weights=np.asarray(torch.as_tensor(values).cpu()), minlength=len(self.batch.n)
        )

    def _read(self, hidden: torch.Tensor) -> tuple[np.ndarray, ...]:
        """n_match, entropy and logprob [rows], `hidden` being what leaves the last block."""
        states = self.blocks.norm(self._positions(hidden))
        match, entropy, logprob = read(self.checkpoint, states, torch.from_numpy(self.batch.target), _read_out)
        check_finite(self.checkpoint, bool(np.isfinite(entropy).all()))
        return self._sum(match).astype(np.int64), self._sum(entropy), self._sum(logprob)


def _read_out(logits: torch.Tensor, target: torch.Tensor, forbidden: tuple[int, ...]) -> tuple[torch.Tensor, ...]:
    """`logits` float32 [positions, vocabulary], `target` int64 [positions]."""
    log_softmax = logits.log_softmax(-1)
    return (
        decided(logits, forbidden).argmax(-1) == target,  # torch documents: of equals the first
        torch.linalg.vecdot(log_softmax.exp(), log_softmax).neg().clamp_min(0),
        log_softmax.gather(-1, target[:, None])[:, 0],
    )
