"""What taking a head away would change, estimated for all heads at once from gradients.

Log p of a token with log-odds o = log(p / (1 - p)) changes by (1 - p) d - p (1 - p) d^2 / 2, to second order in the
change d of o. With z_t the output of a head at slot t (what enters its block's output projection), s_t what stands in
for it, and sums over the tokens of the continuation, the estimate is

    sum over t of  [d (sum log p) / d z_t . (s_t - z_t)]  -  [d (sum sqrt(p (1 - p)) o) / d z_t . (s_t - z_t)]^2

p under the root being held fixed. The first term alone is attribution patching (Michel, Levy and Neubig 2019, arXiv
1905.10650, section 4.1, for s = 0; Syed, Rager and Conmy 2023, arXiv 2310.10348). On memorized sequences it ranks heads
no better than chance: log p is at its maximum there, so that a move either way loses, at second order (benchmarks/
README.md). The second term stands for the curvature, with the cross terms between slots and between tokens taken to
cancel, and with 1 in the place of 1/2, which was nearer to what was measured. What it leaves out: the model's own
curvature, and moves so large that the second order does not hold.
"""

from __future__ import annotations

import numpy as np
import torch

from memlake.compute.engine.forward import LOGITS

from .ablation import Ablation

TINY = torch.finfo(torch.float32).tiny


def estimates(ablation: Ablation) -> np.ndarray:
    """The estimated change of each row's log-probability when a head is taken away: float32 [layers, heads, rows].

    Gradients go down block by block, each run again from its traced input, so that no more than one block's activations
    are held; `ablation.passes` counts this run and each of the two gradients as one pass. The ablation must have been
    made outside of `torch.inference_mode`, whose tensors take no gradient.
    """
    blocks, trace = ablation.blocks, ablation.trace
    found = np.zeros((blocks.n_layers, blocks.n_heads, ablation.rows), np.float32)
    gradients, scales = _of_states(ablation)
    for layer in reversed(range(blocks.n_layers)):
        gradients, of_heads = _through(ablation, layer, gradients)
        move = (ablation.stand_in(layer) - trace.heads[layer]).float()
        first, second = (
            (gradient.float() * move).sum(-1) * scale[:, None, None]
            for gradient, scale in zip(of_heads, scales, strict=True)
        )
        found[layer] = (first - second.square()).sum(1).T.cpu().numpy()
        ablation.passes += 3 * ablation.rows
    return found


def _of_states(ablation: Ablation) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The gradients of sum log p and of sum sqrt(p (1 - p)) o with respect to what leaves the last block, each [rows,
    slots, width], and scales [rows] that they are to be multiplied with: the gradients of tokens that are sure are too
    small for float16."""
    checkpoint, b, last = ablation.checkpoint, ablation.batch, ablation.trace.hidden[-1]
    row, slot, target = (torch.from_numpy(at).to(last.device) for at in (b.row, b.slot, b.target))
    unembed = checkpoint.model.get_output_embeddings()
    size = max(1, LOGITS[last.device.type] // checkpoint.vocab_size // 4)  # the logits' gradients take memory too
    odds_of: list[torch.Tensor] = []
    gradients_of: list[torch.Tensor] = []
    for states, token in zip(last[row, slot].split(size), target.split(size), strict=True):
        with torch.enable_grad():
            states = states.detach().requires_grad_()
            logits = unembed(ablation.blocks.norm(states)).float()
            others = logits.scatter(-1, token[:, None], -torch.inf).logsumexp(-1)
            odds_of.append(logits.gather(-1, token[:, None])[:, 0] - others)
            gradients_of.append(torch.autograd.grad(odds_of[-1].sum(), states)[0])
    odds, of_odds = torch.cat(odds_of).detach(), torch.cat(gradients_of).float()
    p, not_p = odds.sigmoid(), (-odds).sigmoid()  # 1 - p would round to 0
    gradients, scales = [], []
    for weight in (not_p, (p * not_p).sqrt()):
        scale = weight.new_zeros(ablation.rows).scatter_reduce(0, row, weight, "amax").clamp_min(TINY)
        gradient = torch.zeros_like(last)
        gradient[row, slot] = (of_odds * (weight / scale[row])[:, None]).to(last.dtype)
        gradients.append(gradient)
        scales.append(scale)
    return gradients, scales


def _through(
    ablation: Ablation, layer: int, gradients: list[torch.Tensor]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """From gradients with respect to what leaves a block, those with respect to what enters it, [rows, slots, width],
    and to its heads' outputs, [rows, slots, heads, head width]."""
    blocks, trace = ablation.blocks, ablation.trace
    joined = []
    seeing = blocks.projection(layer).register_forward_pre_hook(lambda _, args: joined.append(args[0]))
    with seeing, torch.enable_grad():
        hidden = trace.hidden[layer].detach().requires_grad_()
        leaves = blocks.run(trace, layer, hidden)
        found = [torch.autograd.grad(leaves, (hidden, joined[0]), g, retain_graph=True) for g in gradients]
    return [below for below, _ in found], [of_heads.unflatten(-1, (blocks.n_heads, -1)) for _, of_heads in found]
