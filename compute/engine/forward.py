"""One teacher-forced forward over a batch of sequences, read out at the continuation positions only.

Rows are padded on the right: with causal attention nothing real ever sees the padding, so that no mask is needed, and
position in the row = position id = slot in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from transformers import DynamicCache

from memlake.compute.models.checkpoint import Checkpoint
from memlake.compute.models.conditions import TOP_K
from memlake.warehouse.errors import BadInput

from .leading import Leading
from .noise import Noise, added

# Logits are read out this many at a time: on a CPU so that they stay in its cache, on a GPU so that they fit its memory
LOGITS = {"cpu": 1 << 20, "cuda": 1 << 28}
# They are made of at least so many positions at a time: of fewer, a CPU spends its time on fetching the weights
POSITIONS = 256


@dataclass(frozen=True)
class Batch:
    """Sequences side by side. `ids` int64 [rows, slots]: what the model reads, all tokens but each row's last.

    `row` and `slot` int64 [positions]: the continuation positions, row after row, slot being the one that predicts;
    `target` int64 [positions]: the token that stands there. `prefix` and `n` int64 [rows]: tokens before and in the
    continuation. All on the CPU.
    """

    ids: torch.Tensor
    row: np.ndarray
    slot: np.ndarray
    target: np.ndarray
    prefix: np.ndarray
    n: np.ndarray


@dataclass(frozen=True)
class Forced:
    """Read-outs at the continuation positions of a batch, each [positions], in the order of `Batch.row`."""

    top1: np.ndarray  # int64: arg-max token of those that may be decided for, of equals the lowest id
    logprob: np.ndarray  # float32: log-softmax of the float32 logits at the target
    log_p: np.ndarray  # float32: the same under top-k sampling; -inf where the target is not among the top k
    entropy: np.ndarray  # float32: nats
    margin: np.ndarray  # float32: gap between the two best logits of tokens that may be decided for


def batch(tokens: list[np.ndarray], prefix: np.ndarray) -> Batch:
    """Lay sequences side by side. `tokens`: one int array each; `prefix`: tokens before each continuation, from 1."""
    lengths = np.array([len(t) for t in tokens])
    n = lengths - prefix
    ids = np.zeros((len(tokens), lengths.max()), dtype=np.int64)
    ids[np.arange(ids.shape[1]) < lengths[:, None]] = np.concatenate(tokens)
    row = np.repeat(np.arange(len(tokens)), n)
    slot = np.arange(len(row)) - np.repeat(np.cumsum(n) - n, n) + prefix[row] - 1
    return Batch(torch.from_numpy(ids[:, :-1]), row, slot, ids[row, slot + 1], prefix, n)


def forced(
    checkpoint: Checkpoint, b: Batch, keep_cache: bool, noise: Noise | None = None
) -> tuple[Forced, DynamicCache | None]:
    """Run the batch once. The cache holds keys and values of every slot of every block, also where a block slides a
    window (a DynamicCache made without a config drops nothing).

    Raises `BadInput` where logits are not finite.
    """
    cache = DynamicCache() if keep_cache else None
    with added(noise):
        hidden = states(checkpoint, b, cache)
    out = Forced(*read(checkpoint, hidden, torch.from_numpy(b.target), _read_out))
    check_finite(checkpoint, bool(np.isfinite(out.entropy).all()))
    return out, cache


def states(checkpoint: Checkpoint, b: Batch, cache: DynamicCache | None = None) -> torch.Tensor:
    """Run the batch once: normalised states at its continuation positions, [positions, width]. `cache` takes keys and
    values."""
    device = checkpoint.device
    hidden = checkpoint.model.base_model(
        input_ids=b.ids.to(device), past_key_values=cache, use_cache=cache is not None
    ).last_hidden_state
    return hidden[torch.from_numpy(b.row).to(device), torch.from_numpy(b.slot).to(device)]


def logits_of(checkpoint: Checkpoint, hidden: torch.Tensor) -> Iterator[torch.Tensor]:
    """Float32 logits of normalised states [positions, width]: [some, vocabulary], some positions after the others. They
    are the caller's to overwrite."""
    head = checkpoint.model.get_output_embeddings()
    size = max(1, LOGITS[hidden.device.type] // checkpoint.vocab_size)
    for states in hidden.split(max(size, POSITIONS)):
        for logits in head(states).split(size):
            yield logits.float()


def read(
    checkpoint: Checkpoint,
    hidden: torch.Tensor,
    target: torch.Tensor,
    columns: Callable[[torch.Tensor, torch.Tensor, tuple[int, ...]], tuple[torch.Tensor, ...]],
) -> list[np.ndarray]:
    """Read out normalised states [positions, width], `target` int64 [positions] being the tokens that come next.

    `columns` maps float32 logits [some, vocabulary], which it may overwrite, their targets, and the tokens that are
    never decided for, to tensors [some, ...]; it is called on some positions after the others, and what it gives is
    joined.
    """
    target, pieces, start = target.to(hidden.device), [], 0
    for logits in logits_of(checkpoint, hidden):
        pieces.append(columns(logits, target[start : start + len(logits)], checkpoint.forbidden))
        start += len(logits)
    return [torch.cat(column).cpu().numpy() for column in zip(*pieces, strict=True)]


def check_finite(checkpoint: Checkpoint, finite: bool) -> None:
    """Raise `BadInput` where some logits were not numbers."""
    if not finite:
        dtype = checkpoint.condition.dtype
        hint = "its weights are damaged" if dtype == "float32" else "try --dtype float32"
        raise BadInput(f"{checkpoint.name} gives NaN or infinite logits in {dtype}: {hint}")


def decided(logits: torch.Tensor, forbidden: tuple[int, ...]) -> torch.Tensor:
    """The logits by which a token is decided for: [..., vocabulary], minus infinity where it is forbidden."""
    inside = [token for token in forbidden if token < logits.shape[-1]]
    return logits.index_fill(-1, torch.tensor(inside, device=logits.device), -torch.inf) if inside else logits


def _read_out(logits: torch.Tensor, target: torch.Tensor, forbidden: tuple[int, ...] = ()) -> tuple[torch.Tensor, ...]:
    """The columns of `Forced`. `logits` float32 [positions, vocabulary], which are overwritten; `target` int64
    [positions]."""
    leading = Leading(logits, TOP_K)
    best, likeliest, second = leading.two()
    top1 = likeliest
    log_p = _sampled(leading, target)
    margin = best - second
    if any(token < logits.shape[-1] for token in forbidden):
        first, top1, second = Leading(decided(logits, forbidden), TOP_K).two()
        margin = first - second
    gap = logits.sub_(best[:, None])
    at_target = gap.gather(-1, target[:, None])[:, 0]
    gap.mul_(math.log2(math.e))
    p = gap.exp2()  # relative to the best; on a CPU faster than by e, and as exact
    entropy = gap.mul_(p).sum(-1) * -math.log(2)
    # Summed without the best, of which p is 1: where it is all but certain, nothing else is left
    others = p.scatter_(-1, likeliest[:, None], 0).sum(-1)
    log_total = others.log1p()
    return (
        top1,
        at_target - log_total,
        log_p,
        (log_total + entropy / (1 + others)).clamp_min(0),
        margin,
    )


def _sampled(leading: Leading, target: torch.Tensor) -> torch.Tensor:
    """Log-probability of `target` int64 [positions] under top-k sampling, float32 [positions]; minus infinity where it
    is not among the k best."""
    at_target = leading.logits.gather(-1, target[:, None])[:, 0]
    k = min(TOP_K, leading.logits.shape[-1])
    rows = (leading.at_least(at_target) < k).nonzero()[:, 0]
    best = leading.best(rows, k)
    log_p = (at_target[rows] - best.logsumexp(-1)).clamp_max(0)
    among = _among_best(leading.logits, target, at_target, rows, best[:, -1])
    return torch.full_like(at_target, -torch.inf).index_put_((rows,), log_p.where(among, -torch.inf))


def _among_best(
    logits: torch.Tensor, target: torch.Tensor, at_target: torch.Tensor, rows: torch.Tensor, last: torch.Tensor
) -> torch.Tensor:
    """Is the target among the k best tokens of `rows`, bool [rows]? `last` [rows]: the k-th best logit. Of tokens that
    share it the lowest ids belong; `torch.topk` does not say which it takes, so its indices are not used."""
    among = at_target[rows] > last
    tied = (at_target[rows] == last).nonzero()[:, 0]
    these, level = logits[rows[tied]], last[tied, None]
    before = torch.arange(logits.shape[-1], device=logits.device) < target[rows[tied], None]
    among[tied] = ((these > level) | ((these == level) & before)).sum(-1) < min(TOP_K, logits.shape[-1])
    return among
