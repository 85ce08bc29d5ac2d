"""Score sequences: how likely the model finds each continuation, and how much of it greedy decoding reproduces.

Equal to `generate`: end-of-sequence is an ordinary token, the checkpoint's generation_config is not used, no
beginning-of-sequence token unless the condition says so, ties take the lowest id. The forced and the greedy decoding
agree up to the first mismatch, so that one forward decides what is memorized, and only the rest is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from transformers import DynamicCache

from memlake.compute.models.checkpoint import Checkpoint

from .batches import each_batch, prepared
from .decode import greedy
from .forward import Batch, Forced, forced
from .noise import Noise

READ_OUTS = ("logprob", "log_p", "entropy", "margin")


@dataclass(frozen=True)
class Scores:
    """Read-outs of sequences in the order they were given, each [sequences, longest continuation]; what stands after a
    row's own continuation means nothing. See `forward.Forced`; `generated` int64, None where decoding was skipped."""

    n: np.ndarray  # int64 [sequences]: tokens of the continuation
    target: np.ndarray  # int64: the tokens that stand there
    match: np.ndarray  # bool: teacher-forced
    logprob: np.ndarray
    log_p: np.ndarray
    entropy: np.ndarray
    margin: np.ndarray
    generated: np.ndarray | None

    @property
    def inside(self) -> np.ndarray:
        """bool [sequences, longest continuation]: is the place part of its row's continuation."""
        return np.arange(self.match.shape[1]) < self.n[:, None]


@torch.inference_mode()
def score(
    checkpoint: Checkpoint,
    tokens: list[np.ndarray],
    prefix: np.ndarray,
    *,
    bos_id: int | None = None,
    decode: bool = True,
    batch_size: int | None = None,
) -> Scores:
    """Score sequences under the checkpoint's condition.

    `tokens`: for each its int token ids, prefix first; `prefix` int64 [sequences]: how many of them are prompt.
    `batch_size`: sequences at once; by default what fits. Rows do not depend on it beyond float tolerance.
    Raises `BadInput`: a sequence without a prompt or longer than the model's positions, an id beyond its vocabulary, no
    BOS token where the condition wants one, logits that are not finite, a GPU too small for one sequence.
    """
    tokens, prefix = prepared(checkpoint, tokens, prefix, bos_id)
    out = empty(np.array([len(t) for t in tokens]) - prefix, decode)

    def run(rows: np.ndarray, b: Batch) -> None:
        fill(out, rows, checkpoint, b, *forced(checkpoint, b, keep_cache=decode))

    each_batch(checkpoint, tokens, prefix, run, batch_size)
    return out


def empty(n: np.ndarray, decode: bool) -> Scores:
    """Scores to be filled, of sequences with so many continuation tokens: `n` int64 [sequences]."""

    def square(dtype: type) -> np.ndarray:
        return np.zeros((len(n), n.max()), dtype)

    return Scores(
        n=n,
        target=square(np.int64),
        match=square(bool),
        **{name: square(np.float32) for name in READ_OUTS},
        generated=square(np.int64) if decode else None,
    )


def fill(
    out: Scores,
    rows: np.ndarray,
    checkpoint: Checkpoint,
    b: Batch,
    read: Forced,
    cache: DynamicCache | None,
    noise: Noise | None = None,
) -> None:
    """Write what a batch's forced forward gave into `rows` of `out`, and decode from the first mismatches on where
    `out` has a place for it. `noise`: the one that the forward ran under."""
    inside = np.arange(out.match.shape[1]) < b.n[:, None]  # row after row, as the positions of the batch are

    def spread(flat: np.ndarray) -> np.ndarray:
        square = np.zeros(inside.shape, dtype=flat.dtype)
        square[inside] = flat
        return square

    top1 = spread(read.top1)
    out.target[rows] = spread(b.target)
    out.match[rows] = spread(read.top1 == b.target)
    for name in READ_OUTS:
        getattr(out, name)[rows] = spread(getattr(read, name))
    if out.generated is not None:
        first = first_mismatch(out.match[rows], b.n)
        token = top1[np.arange(len(rows)), np.minimum(first, b.n - 1)]
        decoded = greedy(checkpoint, b, cache, first, token, noise)
        for row, start, rest in zip(rows, first, decoded, strict=True):
            out.generated[row, start + 1 : start + 1 + len(rest)] = rest
        before = np.arange(top1.shape[1]) <= first[:, None]
        out.generated[rows] = np.where(before, top1, out.generated[rows])


def first_mismatch(match: np.ndarray, n: np.ndarray) -> np.ndarray:
    """The first position that does not match, n where every one does: int64 [rows]."""
    missing = ~match & (np.arange(match.shape[1]) < n[:, None])
    return np.where(missing.any(-1), missing.argmax(-1), n)
