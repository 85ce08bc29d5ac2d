"""Sequences in batches that fit the memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from memlake.compute.models.checkpoint import Checkpoint
from memlake.compute.models.device import free_memory
from memlake.warehouse.errors import BadInput

from .forward import Batch, batch

GPU_SHARE = 0.4  # of the free GPU memory, for a batch
CPU_BYTES = 2 << 30  # for a batch on a CPU
CPU_TOKENS = 1 << 15  # a batch on a CPU: with more, nothing gets faster


def prepared(
    checkpoint: Checkpoint, tokens: list[np.ndarray], prefix: np.ndarray, bos_id: int | None
) -> tuple[list[np.ndarray], np.ndarray]:
    """Sequences as the checkpoint's condition has them: with its BOS token in front, if it wants one.

    `tokens`: for each its int token ids, prefix first; `prefix` int64 [sequences]: how many of them are prompt.
    Raises `BadInput`: a sequence without a prompt or longer than the model's positions, an id beyond its vocabulary, no
    BOS token where the condition wants one.
    """
    if checkpoint.condition.bos:
        if bos_id is None:
            raise BadInput(f"the tokenizer of {checkpoint.name} has no beginning-of-sequence token: use --no-bos")
        tokens = [np.concatenate([[bos_id], t]) for t in tokens]
        prefix = prefix + 1
    if prefix.min() < 1:
        raise BadInput("a sequence has no prompt, so that nothing predicts its first token: use --bos")
    longest = max(len(t) for t in tokens)
    if longest > checkpoint.positions:
        raise BadInput(
            f"a sequence of {longest} tokens is longer than the {checkpoint.positions} positions"
            f" of {checkpoint.name}: sample shorter ones"
        )
    top = max(int(t.max()) for t in tokens)
    if top >= checkpoint.vocab_size:
        raise BadInput(
            f"token {top} is beyond the {checkpoint.vocab_size} tokens of {checkpoint.name}:"
            " the sequences are of another tokenizer"
        )
    return tokens, prefix


def each_batch(
    checkpoint: Checkpoint,
    tokens: list[np.ndarray],
    prefix: np.ndarray,
    run: Callable[[np.ndarray, Batch], None],
    batch_size: int | None = None,
) -> None:
    """Call run(rows, batch) until it has seen every sequence; `rows` int64: which of them the batch holds.

    `batch_size`: sequences at once; by default what fits. Raises `BadInput` for a GPU too small for one sequence.
    """
    lengths = np.array([len(t) for t in tokens])
    order = np.argsort(-lengths, kind="stable")  # those of one length together; the longest, which need most, first

    def part(rows: np.ndarray) -> None:
        run(rows, batch([tokens[r] for r in rows], prefix[rows]))

    try:
        in_parts(order, batch_size or fitting(checkpoint, int(lengths.max())), part)
    except torch.cuda.OutOfMemoryError as error:
        raise BadInput(f"{checkpoint.name} does not fit this GPU: use --dtype bfloat16, or --device cpu") from error


def in_parts(items: np.ndarray, size: int, run: Callable[[np.ndarray], None]) -> int:
    """Call run(part) on consecutive parts of `items`, `size` at a time; where the GPU's memory does not suffice, half
    as many from there on. Returns the size that fitted in the end. Where not even one fits, the error is left to
    whoever may make smaller batches of something else."""
    start = 0
    while start < len(items):
        try:
            run(items[start : start + size])
        except torch.cuda.OutOfMemoryError:
            if size == 1:
                raise
            size = min(size, len(items) - start) // 2 or 1
        else:
            start += size
    return size


def fitting(checkpoint: Checkpoint, length: int) -> int:
    """Sequences of this length that fit in a batch: keys and values twice, and the widest activations of a block."""
    config = checkpoint.model.config
    a_token = config.hidden_size * checkpoint.model.dtype.itemsize * (4 * config.num_hidden_layers + 24)
    if checkpoint.device.type == "cpu":
        tokens = min(CPU_TOKENS, CPU_BYTES // a_token)
    else:
        tokens = int(GPU_SHARE * free_memory(checkpoint.device) / a_token)
    return max(1, tokens // length)
