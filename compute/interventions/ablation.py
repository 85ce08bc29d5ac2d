"""Head ablation: what a continuation loses when an attention head's output is replaced at every position.

The output vector of one head, before the output projection, is replaced, and everything else runs as it is. What stands
in for it, by `method`:

    peer_mean   the mean of the other heads of its layer at the same position (arXiv 2603.21658, section 4.6)
    zero        zero
    mean        its own mean output over all positions of the reference sequences
    resample    its own output at the same slot of another sequence, one of the reference sequences

What lies below the head's block does not change, so that a batch of sequences is traced once, and each head
costs the blocks from its own on. In its own block attention is not computed again, and where that is the last block
only the continuation positions are run. Many (head, sequence) pairs stand side by side in one batch of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from memlake.compute.engine.batches import each_batch, fitting, in_parts
from memlake.compute.engine.blocks import Blocks
from memlake.compute.engine.forward import Batch, batch, check_finite, decided, read
from memlake.compute.models.checkpoint import Checkpoint
from memlake.warehouse.errors import BadInput
from memlake.warehouse.identity import hash63

CPU_TOKENS = 1 << 12  # rows x slots at once on a CPU: with 8 times as many or a quarter, a fifth more time is needed


@dataclass(frozen=True)
class Tokenized:
    """Sequences as `batches.prepared` returns them, and their ids."""

    tokens: list[np.ndarray]
    prefix: np.ndarray  # int64
    ids: Sequence[int]  # sequence_id

    def take(self, at: np.ndarray) -> Tokenized:
        return Tokenized([self.tokens[i] for i in at], self.prefix[at], [self.ids[i] for i in at])


@dataclass(frozen=True)
class Effects:
    """Forced read-outs of continuations, each [heads, rows] with a head ablated, [rows] of the model as it is."""

    logprob: np.ndarray  # float32: log-probability of the continuation, summed over its tokens; nats
    n_match: np.ndarray  # int64: tokens that are the arg-max
    memorized: np.ndarray  # bool: all of them are


def defined(method: str, blocks: Blocks) -> bool:
    """Can this method stand in for a head of the model: a head that is alone in its layer has no peers."""
    return method != "peer_mean" or blocks.n_heads > 1


class Reference:
    """The sequences that `mean` and `resample` take from: one fixed set, so that no row depends on its batch.

    passes: as in `Ablation`, of what was run for the means.
    """

    def __init__(self, checkpoint: Checkpoint, blocks: Blocks, sequences: Tokenized):
        self.checkpoint, self.blocks, self.sequences = checkpoint, blocks, sequences
        self.passes = 0.0
        self._means: list[torch.Tensor] | None = None

    def means(self) -> list[torch.Tensor]:
        """For each layer the heads' mean outputs, [heads, head width]: over the positions of all sequences, pooled."""
        if self._means is None:
            sums: list = [0.0] * self.blocks.n_layers

            def add(_: np.ndarray, b: Batch) -> None:
                trace = self.blocks.trace(b.ids, heads=True)
                lengths = torch.from_numpy(b.prefix + b.n - 1)
                real = (torch.arange(b.ids.shape[1]) < lengths[:, None]).to(self.checkpoint.device)
                for layer, heads in enumerate(trace.heads):
                    sums[layer] = sums[layer] + heads[real].sum(0, dtype=torch.float64)
                self.passes += self.blocks.n_layers * len(b.n)

            each_batch(self.checkpoint, self.sequences.tokens, self.sequences.prefix, add)
            positions = sum(len(t) - 1 for t in self.sequences.tokens)
            self._means = [(s / positions).to(self.checkpoint.model.dtype) for s in sums]
        return self._means

    def partners(self, ids: Sequence[int]) -> np.ndarray:
        """Which reference sequence each of these sequences takes from, int64 [rows]: drawn by hash, and the next one
        where that is the sequence itself. Raises `BadInput` where there is no other."""
        n = len(self.sequences.ids)
        drawn = np.array([hash63("resample", int(i)) % n for i in ids])
        own = np.array([self.sequences.ids[p] == i for p, i in zip(drawn, ids, strict=True)])
        if n == 1 and own.any():
            raise BadInput("resample takes heads from another sequence, and the domain's sample has only one")
        return (drawn + own) % n


def ablate(
    checkpoint: Checkpoint,
    blocks: Blocks,
    sequences: Tokenized,
    heads: Sequence[tuple[int, int]],
    method: str,
    reference: Reference | None = None,
    batch_size: int | None = None,
) -> tuple[Effects, Effects]:
    """Read-outs of the model as it is, [rows], and with each of the heads (layer, head) ablated alone, [heads, rows].

    `batch_size`: sequences traced at once; by default what fits. Rows do not depend on it beyond float tolerance.
    Raises `BadInput` for logits that are not finite, for a GPU too small for one row, and where `resample` has no
    sequence to take from.
    """
    clean, after = _empty(len(sequences.tokens)), _empty(len(heads), len(sequences.tokens))

    def run(rows: np.ndarray, b: Batch) -> None:
        ablation = Ablation(checkpoint, blocks, b, method, reference, [sequences.ids[row] for row in rows])
        _put(clean, rows, ablation.clean)
        _put(after, (slice(None), rows), ablation.effects(heads))

    with torch.inference_mode():
        each_batch(checkpoint, sequences.tokens, sequences.prefix, run, batch_size)
    return clean, after


def _empty(*shape: int) -> Effects:
    return Effects(np.zeros(shape, np.float32), np.zeros(shape, np.int64), np.zeros(shape, bool))


def _put(effects: Effects, at: Any, given: Effects) -> None:
    """Write read-outs into their places."""
    for column in ("logprob", "n_match", "memorized"):
        getattr(effects, column)[at] = getattr(given, column)


class Ablation:
    """One batch of sequences, traced once; after that any of its heads can be ablated, in any order and grouping.

    reference: wanted by `mean` and `resample`; ids: the rows' sequence ids, wanted by `resample`. clean: the read-outs
    of the model as it is, [rows]. passes: block passes run so far, the trace's included: 1.0 is one block on one row. A
    block whose attention is given counts by the share of its parameters that are still used; on the continuation
    positions alone, by their share of the slots too.

    The method must be `defined`. Raises `BadInput` for logits that are not finite.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        blocks: Blocks,
        b: Batch,
        method: str,
        reference: Reference | None = None,
        ids: Sequence[int] | None = None,
    ):
        self.checkpoint, self.blocks, self.batch = checkpoint, blocks, b
        self.method, self.reference = method, reference
        self.rows, self.slots = b.ids.shape
        self.trace = blocks.trace(b.ids, heads=True)
        self.passes = float(blocks.n_layers * self.rows)
        if method == "resample":
            self._trace_partners(self._wanted, ids or ())
        self.size = fitting(checkpoint, self.slots)  # rows at once
        if checkpoint.device.type == "cpu":
            self.size = max(1, min(self.size, CPU_TOKENS // self.slots))
        row, slot = (torch.from_numpy(at).to(checkpoint.device) for at in (b.row, b.slot))
        self.clean = self._read(self.trace.hidden[-1][row, slot], b.target, b.row, self.rows)

    def stand_in(self, layer: int) -> torch.Tensor:
        """What stands in for each head of the layer: [rows, slots, heads, head width], in the model's dtype."""
        heads = self.trace.heads[layer]
        if self.method == "peer_mean":
            total = heads.sum(-2, keepdim=True, dtype=torch.float32)
            return ((total - heads) / (self.blocks.n_heads - 1)).to(heads.dtype)
        if self.method == "zero":
            return torch.zeros_like(heads)
        if self.method == "mean":
            return self._wanted.means()[layer].expand_as(heads)
        return self._partners.heads[layer][self._partner]

    @torch.inference_mode()
    def effects(self, heads: Sequence[tuple[int, int]]) -> Effects:
        """Take away each of these heads (layer, head), one at a time, on every row: what a full forward with the head
        replaced gives. Raises `BadInput` for logits that are not finite."""
        out = _empty(len(heads), self.rows)
        layers, numbers = np.array(heads, dtype=np.int64).reshape(-1, 2).T
        for layer in np.unique(layers):
            self._layer(int(layer), np.flatnonzero(layers == layer), numbers, out)
        return out

    def _layer(self, layer: int, places: np.ndarray, numbers: np.ndarray, out: Effects) -> None:
        """Take away the heads of one layer; `places`: where they stand in `numbers`, and their rows in `out`."""
        stand_in = self.stand_in(layer)
        place, row = np.repeat(places, self.rows), np.tile(np.arange(self.rows), len(places))

        def run(pairs: np.ndarray) -> None:
            at = place[pairs], row[pairs]
            _put(out, at, self._pairs(layer, numbers[at[0]], at[1], stand_in))

        self.size = in_parts(np.arange(len(row)), self.size, run)

    def _pairs(self, layer: int, heads_at: np.ndarray, rows_at: np.ndarray, stand_in: torch.Tensor) -> Effects:
        """Read-outs [pairs] with the head heads_at[i] of the layer taken away on the row rows_at[i]."""
        b, blocks, trace, device = self.batch, self.blocks, self.trace, self.checkpoint.device
        n = b.n[rows_at]
        pair = np.repeat(np.arange(len(rows_at)), n)
        place = np.arange(len(pair)) + np.repeat((np.cumsum(b.n) - b.n)[rows_at] - (np.cumsum(n) - n), n)
        read_pair, slot = (torch.from_numpy(at).to(device) for at in (pair, b.slot[place]))
        head, row = (torch.from_numpy(at).to(device) for at in (heads_at, rows_at))
        if layer == blocks.n_layers - 1:  # no later block looks at the positions that are not read
            head, row = head[read_pair], row[read_pair]
            heads = trace.heads[layer][row, slot]
            heads[torch.arange(len(row), device=device), head] = stand_in[row, slot, head]
            states = blocks.run(trace, layer, trace.hidden[layer][row, slot][None], lambda _: heads[None])[0]
            self.passes += self._share(layer) * len(pair) / self.slots
        else:
            heads = trace.heads[layer][row]
            heads[torch.arange(len(row), device=device), :, head] = stand_in[row, :, head]
            hidden = blocks.run(trace, layer, trace.hidden[layer][row], lambda _: heads)
            states = blocks.last(trace, layer + 1, hidden)[read_pair, slot]
            self.passes += (self._share(layer) + blocks.n_layers - layer - 1) * len(row)
        return self._read(states, b.target[place], pair, len(n))

    def _read(self, states: torch.Tensor, target: np.ndarray, row: np.ndarray, rows: int) -> Effects:
        """Read out states [positions, width] before the final norm, and sum up each row's."""
        columns = read(self.checkpoint, self.blocks.norm(states), torch.from_numpy(target), _read_out)
        logprob, match = (np.bincount(row, column, rows) for column in columns)
        check_finite(self.checkpoint, bool(np.isfinite(logprob).all()))
        return Effects(logprob.astype(np.float32), match.astype(np.int64), match == np.bincount(row, minlength=rows))

    def _share(self, layer: int) -> float:
        """The share of a block's parameters that is used where its attention is given."""
        block, attention, output = (
            sum(p.numel() for p in part.parameters())
            for part in (self.blocks.blocks[layer], self.blocks.attention(layer), self.blocks.projection(layer))
        )
        return 1 - (attention - output) / block

    @property
    def _wanted(self) -> Reference:
        """The reference, of a method that wants one."""
        assert self.reference is not None, f"{self.method} wants a reference"
        return self.reference

    def _trace_partners(self, reference: Reference, ids: Sequence[int]) -> None:
        """Trace the sequences that the rows take their heads from; a shorter one begins anew after its last slot."""
        sequences, device = reference.sequences, self.checkpoint.device
        which, row = np.unique(reference.partners(ids), return_inverse=True)
        b = batch([sequences.tokens[i] for i in which], sequences.prefix[which])
        self._partners = self.blocks.trace(b.ids, heads=True)
        self.passes += self.blocks.n_layers * len(which)
        slot = np.arange(self.slots) % (b.prefix + b.n - 1)[row, None]
        self._partner = tuple(torch.from_numpy(at).to(device) for at in (row[:, None], slot))


def _read_out(
    logits: torch.Tensor, target: torch.Tensor, forbidden: tuple[int, ...] = ()
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of the target, and is it the arg-max (of equals the lowest id): [positions] each, of logits
    float32 [positions, vocabulary], which are overwritten."""
    logprob = -functional.cross_entropy(logits, target, reduction="none")
    logits = decided(logits, forbidden)
    at_target = logits.gather(-1, target[:, None])
    # An arg-max takes 9 times as long as a maximum on a CPU, and only ties need one
    others = logits.scatter_(-1, target[:, None], -torch.inf).amax(-1, keepdim=True)
    match = at_target > others
    tied = (at_target == others)[:, 0].nonzero()[:, 0]
    match[tied] = logits[tied].argmax(-1, keepdim=True) > target[tied, None]
    return logprob, match[:, 0]
