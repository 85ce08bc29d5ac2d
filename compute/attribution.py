"""How much taking a head away would disturb a continuation: all heads from one forward and one backward pass.

With z_t the output of a head at slot t (what enters its block's output projection), s_t what stands in for it, and o
the log-odds log(p / (1 - p)) of the continuation's tokens, summed, the score of a head is

    sum over slots t of (d o / d z_t . (s_t - z_t)) ** 2

Attribution patching (Michel, Levy and Neubig 2019, arXiv 1905.10650, section 4.1, for s = 0; Syed, Rager and Conmy
2023, arXiv 2310.10348) is the plain sum, with log p. On memorized sequences that ranks heads no better than chance (see
benchmarks/README.md): log p is at its maximum there, so that what a move in either direction loses is of second order,
and signs cancel what adds up. Log-odds, because log p is flat where the model is sure. The score leaves out which way
a head moves the continuation, and what its slots do together.
"""

from __future__ import annotations

import numpy as np
import torch

from .ablation import Ablation
from .forward import LOGITS


def scores(ablation: Ablation) -> np.ndarray:
    """The score of every head on every row of a batch: float32 [layers, heads, rows], from 0, larger for more.

    The gradient goes down block by block, each run again from its traced input, so that no more than one block's
    activations are held; `ablation.passes` counts the run and the gradient as one pass each. The ablation must have
    been made outside of `torch.inference_mode`, whose tensors take no gradient.
    """
    blocks, trace = ablation.blocks, ablation.trace
    found = np.zeros((blocks.n_layers, blocks.n_heads, ablation.rows), np.float32)
    gradient = _of_states(ablation)
    for layer in reversed(range(blocks.n_layers)):
        gradient, of_heads = _through(ablation, layer, gradient)
        move = (ablation.stand_in(layer) - trace.heads[layer]).float()
        found[layer] = (of_heads.float() * move).sum(-1).square().sum(1).T.cpu().numpy()
        ablation.passes += 2 * ablation.rows
    return found


def _of_states(ablation: Ablation) -> torch.Tensor:
    """The gradient of all rows' log-odds with respect to what leaves the last block: [rows, slots, width]."""
    checkpoint, b, last = ablation.checkpoint, ablation.batch, ablation.trace.hidden[-1]
    row, slot, target = (torch.from_numpy(at).to(last.device) for at in (b.row, b.slot, b.target))
    unembed = checkpoint.model.get_output_embeddings()
    size = max(1, LOGITS[last.device.type] // checkpoint.vocab_size)
    parts = []
    for states, token in zip(last[row, slot].split(size), target.split(size), strict=True):
        with torch.enable_grad():
            states = states.detach().requires_grad_()
            logits = unembed(ablation.blocks.norm(states)).float()
            others = logits.scatter(-1, token[:, None], -torch.inf).logsumexp(-1)
            odds = logits.gather(-1, token[:, None])[:, 0] - others
            parts.append(torch.autograd.grad(odds.sum(), states)[0])
    gradient = torch.zeros_like(last)
    gradient[row, slot] = torch.cat(parts)
    return gradient


def _through(ablation: Ablation, layer: int, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """From the gradient with respect to what leaves a block, those with respect to what enters it, [rows, slots,
    width], and to its heads' outputs, [rows, slots, heads, head width]."""
    blocks, trace = ablation.blocks, ablation.trace
    joined = []
    hook = blocks.projection(layer).register_forward_pre_hook(lambda _, args: joined.append(args[0]))
    try:
        with torch.enable_grad():
            hidden = trace.hidden[layer].detach().requires_grad_()
            leaves = blocks.run(trace, layer, hidden)
            below, of_heads = torch.autograd.grad(leaves, (hidden, joined[0]), gradient)
    finally:
        hook.remove()
    return below, of_heads.unflatten(-1, (blocks.n_heads, -1))
