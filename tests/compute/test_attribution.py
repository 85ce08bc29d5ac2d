"""The gradient estimate against a finite difference of the ablation itself, through the unmodified transformers model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compute.ablation import Ablation, Reference, Windows
from compute.attribution import estimate
from compute.blocks import Blocks
from compute.families import parts
from compute.forward import batch

from .tiny import FAMILIES, VOCAB, checkpoint

STEP = 1e-4  # of the way from a head's output to what stands in for it
CASES = [(family, kernel, "peer_mean") for family in FAMILIES for kernel in parts(family).kernels]
CASES += [("pythia", "sdpa", method) for method in ("zero", "mean", "resample")]


def windows() -> Windows:
    """Four windows of different lengths."""
    rng = np.random.default_rng(5)
    tokens = [rng.integers(1, VOCAB, n) for n in (25, 31, 17, 22)]
    return Windows(tokens, np.array([9, 12, 4, 15]), [11, 12, 13, 14])


def moved(c, blocks: Blocks, ablation: Ablation, layer: int, head: int, share: float) -> np.ndarray:
    """Log-probability of each row, from a full forward with a hook that moves the head by a share of the way."""
    own = ablation.trace.heads[layer]
    way = torch.zeros_like(own)
    way[:, :, head] = ablation.stand_in(layer)[:, :, head] - own[:, :, head]

    def move(_, args):
        return (args[0] + share * way.flatten(-2),)

    hook = blocks.projection(layer).register_forward_pre_hook(move)
    with torch.no_grad():
        log_p = c.model(ablation.batch.ids, use_cache=False).logits.double().log_softmax(-1)
    hook.remove()
    b = ablation.batch
    return np.bincount(b.row, log_p[b.row, b.slot, b.target].numpy())


@pytest.mark.parametrize(("family", "kernel", "method"), CASES)
def test_the_estimate_is_the_derivative_of_moving_a_head_towards_what_stands_in_for_it(
    family, kernel, method, monkeypatch
):
    monkeypatch.setattr(torch, "float32", torch.float64)  # to which norms and softmaxes cast
    c = checkpoint(family, see=7, attention=kernel)
    c.model.double()
    blocks, w = Blocks(c), windows()
    ablation = Ablation(c, blocks, batch(w.tokens, w.prefix), method, Reference(c, blocks, w), w.ids)
    got = estimate(ablation)
    assert got.shape == (blocks.n_layers, blocks.n_heads, len(w.tokens))
    for layer in range(blocks.n_layers):
        for head in range(blocks.n_heads):
            ahead, behind = (moved(c, blocks, ablation, layer, head, share) for share in (STEP, -STEP))
            expected = (ahead - behind) / (2 * STEP)
            assert np.abs(expected).max() > 1e-2
            np.testing.assert_allclose(got[layer, head], expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_rows_do_not_depend_on_their_batch_and_the_passes_are_counted():
    c = checkpoint("gpt_neo", see=7)
    blocks, w = Blocks(c), windows()
    together = Ablation(c, blocks, batch(w.tokens, w.prefix), "peer_mean")
    expected = estimate(together)
    assert together.passes == 3 * blocks.n_layers * len(w.tokens)  # forward, forward again, backward
    for i, (tokens, prefix) in enumerate(zip(w.tokens, w.prefix, strict=True)):
        alone = estimate(Ablation(c, blocks, batch([tokens], np.array([prefix])), "peer_mean"))
        np.testing.assert_allclose(alone[..., 0], expected[..., i], rtol=1e-4, atol=1e-5)


def test_in_bfloat16_the_estimate_is_that_of_float32_but_for_rounding():
    w = windows()
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        c = checkpoint("open_llama")
        c.model.to(dtype)
        found.append(estimate(Ablation(c, Blocks(c), batch(w.tokens, w.prefix), "peer_mean")).ravel())
    assert np.isfinite(found[1]).all()
    assert np.corrcoef(*found)[0, 1] > 0.95
