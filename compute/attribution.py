"""Attribution patching: what taking a head away would do, to first order, for all heads from one backward pass.

With z the output of a head (what enters its block's output projection) and s what stands in for it, the change of the
continuation's log-probability is estimated by the sum over positions of d log p / d z . (s - z). Michel, Levy and
Neubig 2019 (arXiv 1905.10650, section 4.1) rank heads so for s = 0; Syed, Rager and Conmy 2023 (arXiv 2310.10348) name
it. It leaves out curvature: where a model is sure, log p is flat, so that most drops come out too small.
"""

from __future__ import annotations

import numpy as np
import torch

from .ablation import Ablation
from .forward import LOGITS


def estimate(ablation: Ablation) -> np.ndarray:
    """First-order change of each row's log-probability when a head is taken away, float32 [layers, heads, rows].

    The gradient goes down block by block, each run again from its traced input, so that no more than one block's
    activations are held. `ablation` counts both as block passes. It must be made outside of `torch.inference_mode`,
    whose tensors take no gradient.
    """
    blocks, trace = ablation.blocks, ablation.trace
    found = np.zeros((blocks.n_layers, blocks.n_heads, ablation.rows), np.float32)
    gradient = _of_states(ablation)
    for layer in reversed(range(blocks.n_layers)):
        gradient, of_heads = _through(ablation, layer, gradient)
        move = (ablation.stand_in(layer) - trace.heads[layer]).float()
        found[layer] = (of_heads.float() * move).sum((1, 3)).T.cpu().numpy()
        ablation.passes += 2 * ablation.rows
    return found


def _of_states(ablation: Ablation) -> torch.Tensor:
    """The gradient of all rows' log-probabilities with respect to what leaves the last block, [rows, slots, width]."""
    checkpoint, last = ablation.checkpoint, ablation.trace.hidden[-1]
    unembed = checkpoint.model.get_output_embeddings()
    size = max(1, LOGITS[last.device.type] // checkpoint.vocab_size)
    target = torch.from_numpy(ablation.batch.target).to(last.device)
    row, slot = (torch.from_numpy(at).to(last.device) for at in (ablation.batch.row, ablation.batch.slot))
    states = last[row, slot]
    parts = []
    for some, token in zip(states.split(size), target.split(size), strict=True):
        with torch.enable_grad():
            some.requires_grad_()
            logits = unembed(ablation.blocks.norm(some)).float()
            loss = torch.nn.functional.cross_entropy(logits, token, reduction="sum")
            parts.append(-torch.autograd.grad(loss, some)[0])
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
