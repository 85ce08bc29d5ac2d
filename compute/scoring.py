"""Score windows: how likely the model finds each continuation, and how much of it greedy decoding reproduces.

Equal to `generate`: end-of-sequence is an ordinary token, the checkpoint's generation_config is not used, no
beginning-of-sequence token unless the condition says so, ties take the lowest id. The forced and the greedy decoding
agree up to the first mismatch, so that one forward decides what is memorized, and only the rest is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from warehouse.errors import BadInput

from .checkpoint import Checkpoint, free_memory
from .decode import greedy
from .forward import batch, forced

GPU_SHARE = 0.4  # of the free GPU memory, for a batch
CPU_BYTES = 2 << 30  # for a batch on a CPU
CPU_TOKENS = 1 << 15  # a batch on a CPU: with more, nothing gets faster
READ_OUTS = ("logprob", "log_p", "entropy", "margin")


@dataclass(frozen=True)
class Scores:
    """Read-outs of windows in the order they were given, each [windows, longest continuation]; what stands after a
    row's own continuation means nothing. See `forward.Forced`; `generated` int64, None where decoding was skipped."""

    n: np.ndarray  # int64 [windows]: tokens of the continuation
    target: np.ndarray  # int64: the tokens that stand there
    match: np.ndarray  # bool: teacher-forced
    logprob: np.ndarray
    log_p: np.ndarray
    entropy: np.ndarray
    margin: np.ndarray
    generated: np.ndarray | None

    @property
    def inside(self) -> np.ndarray:
        """bool [windows, longest continuation]: is the place part of its row's continuation."""
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
    """Score windows under the checkpoint's condition.

    `tokens`: for each window its int token ids, prefix first; `prefix` int64 [windows]: how many of them are prompt.
    `batch_size`: windows at once; by default what fits. Rows do not depend on it beyond float tolerance.
    Raises `BadInput`: a window without a prompt or longer than the model's positions, an id beyond its vocabulary, no
    BOS token where the condition wants one, logits that are not finite, a GPU too small for one window.
    """
    if checkpoint.condition.bos:
        if bos_id is None:
            raise BadInput(f"the tokenizer of {checkpoint.name} has no beginning-of-sequence token: leave out --bos")
        tokens = [np.concatenate([[bos_id], t]) for t in tokens]
        prefix = prefix + 1
    lengths = np.array([len(t) for t in tokens])
    _check(checkpoint, tokens, prefix, lengths)
    out = _empty(lengths - prefix, decode)
    order = np.argsort(-lengths, kind="stable")  # windows of one length together; the longest, which need most, first
    size = batch_size or _fitting(checkpoint, int(lengths.max()))
    start = 0
    while start < len(order):
        rows = order[start : start + size]
        try:
            _score_batch(checkpoint, [tokens[r] for r in rows], prefix[rows], rows, out)
        except torch.cuda.OutOfMemoryError as error:
            if size == 1:
                raise BadInput(
                    f"{checkpoint.name} does not fit this GPU: use --dtype bfloat16, or --device cpu"
                ) from error
            size //= 2
        else:
            start += size
    return out


def _empty(n: np.ndarray, decode: bool) -> Scores:
    def square(dtype: type) -> np.ndarray:
        return np.zeros((len(n), n.max()), dtype)

    return Scores(
        n=n,
        target=square(np.int64),
        match=square(bool),
        **{name: square(np.float32) for name in READ_OUTS},
        generated=square(np.int64) if decode else None,
    )


def _score_batch(checkpoint: Checkpoint, tokens: list[np.ndarray], prefix: np.ndarray, rows: np.ndarray, out: Scores):
    """Score one batch into `rows` of `out`."""
    b = batch(tokens, prefix)
    decode = out.generated is not None
    read, cache = forced(checkpoint, b, keep_cache=decode)
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
    if decode:
        first = first_mismatch(out.match[rows], b.n)
        token = top1[np.arange(len(rows)), np.minimum(first, b.n - 1)]
        for row, start, rest in zip(rows, first, greedy(checkpoint, b, cache, first, token), strict=True):
            out.generated[row, start + 1 : start + 1 + len(rest)] = rest
        before = np.arange(top1.shape[1]) <= first[:, None]
        out.generated[rows] = np.where(before, top1, out.generated[rows])


def first_mismatch(match: np.ndarray, n: np.ndarray) -> np.ndarray:
    """The first position that does not match, n where every one does: int64 [rows]."""
    missing = ~match & (np.arange(match.shape[1]) < n[:, None])
    return np.where(missing.any(-1), missing.argmax(-1), n)


def _check(checkpoint: Checkpoint, tokens: list[np.ndarray], prefix: np.ndarray, lengths: np.ndarray) -> None:
    if prefix.min() < 1:
        raise BadInput("a sequence has no prompt, so that nothing predicts its first token: use --bos")
    if lengths.max() > checkpoint.positions:
        raise BadInput(
            f"a sequence of {lengths.max()} tokens is longer than the {checkpoint.positions} positions"
            f" of {checkpoint.name}: sample shorter ones"
        )
    top = max(int(t.max()) for t in tokens)
    if top >= checkpoint.vocab_size:
        raise BadInput(
            f"token {top} is beyond the {checkpoint.vocab_size} tokens of {checkpoint.name}:"
            " the sequences are of another tokenizer"
        )


def _fitting(checkpoint: Checkpoint, length: int) -> int:
    """Windows of this length that fit in a batch: keys and values twice, and the widest activations of a block."""
    config = checkpoint.model.config
    a_token = config.hidden_size * checkpoint.model.dtype.itemsize * (4 * config.num_hidden_layers + 24)
    if checkpoint.device.type == "cpu":
        tokens = min(CPU_TOKENS, CPU_BYTES // a_token)
    else:
        tokens = int(GPU_SHARE * free_memory(checkpoint.device) / a_token)
    return max(1, tokens // length)
