"""The scores against finite differences of the ablation itself, through the unmodified transformers model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compute.ablation import Ablation, Reference, Windows
from compute.attribution import scores
from compute.blocks import Blocks
from compute.families import parts
from compute.forward import batch

from .tiny import FAMILIES, VOCAB, checkpoint

STEP = 1e-5  # of the way from a head's output to what stands in for it
CASES = [(family, kernel, "peer_mean") for family in FAMILIES for kernel in parts(family).kernels]
CASES += [("pythia", "sdpa", method) for method in ("zero", "mean", "resample")]


def windows() -> Windows:
    """Four windows of different lengths."""
    rng = np.random.default_rng(5)
    tokens = [rng.integers(1, VOCAB, n) for n in (25, 31, 17, 22)]
    return Windows(tokens, np.array([9, 12, 4, 15]), [11, 12, 13, 14])


def moved(c, blocks: Blocks, ablation: Ablation, layer: int, head: int, share: float) -> np.ndarray:
    """Log-odds of each row's continuation, [rows, slots], from a full forward with a hook that moves the head, at that
    slot alone, by a share of the way to what stands in for it."""
    b, (rows, slots) = ablation.batch, ablation.batch.ids.shape
    own = ablation.trace.heads[layer]
    way = torch.zeros(rows, slots, *own.shape[1:], dtype=own.dtype)
    each = torch.arange(slots)
    way[:, each, each, head] = (ablation.stand_in(layer) - own)[:, :, head]
    way = way.flatten(0, 1).flatten(-2)
    hook = blocks.projection(layer).register_forward_pre_hook(lambda _, args: (args[0] + share * way,))
    with torch.no_grad():
        p = c.model(b.ids.repeat_interleave(slots, 0), use_cache=False).logits.double().softmax(-1)
    hook.remove()
    p = p.unflatten(0, (rows, slots))[b.row, :, b.slot, b.target].numpy()
    odds = np.zeros((rows, slots))
    np.add.at(odds, b.row, np.log(p / (1 - p)))
    return odds


@pytest.mark.parametrize(("family", "kernel", "method"), CASES)
def test_the_score_sums_the_squared_derivatives_of_moving_a_head_towards_what_stands_in_for_it(
    family, kernel, method, monkeypatch
):
    monkeypatch.setattr(torch, "float32", torch.float64)  # to which norms and softmaxes cast
    c = checkpoint(family, see=7, attention=kernel)
    c.model.double()
    blocks, w = Blocks(c), windows()
    ablation = Ablation(c, blocks, batch(w.tokens, w.prefix), method, Reference(c, blocks, w), w.ids)
    got = scores(ablation)
    assert got.shape == (blocks.n_layers, blocks.n_heads, len(w.tokens))
    for layer in range(blocks.n_layers):
        for head in range(blocks.n_heads):
            ahead, behind = (moved(c, blocks, ablation, layer, head, share) for share in (STEP, -STEP))
            expected = (((ahead - behind) / (2 * STEP)) ** 2).sum(1)
            assert expected.min() > 1e-2
            np.testing.assert_allclose(got[layer, head], expected, rtol=1e-4)


def test_rows_do_not_depend_on_their_batch_and_the_passes_are_counted():
    c = checkpoint("gpt_neo", see=7)
    blocks, w = Blocks(c), windows()
    together = Ablation(c, blocks, batch(w.tokens, w.prefix), "peer_mean")
    expected = scores(together)
    assert together.passes == 3 * blocks.n_layers * len(w.tokens)  # forward, forward again, backward
    for i, (tokens, prefix) in enumerate(zip(w.tokens, w.prefix, strict=True)):
        alone = scores(Ablation(c, blocks, batch([tokens], np.array([prefix])), "peer_mean"))
        np.testing.assert_allclose(alone[..., 0], expected[..., i], rtol=1e-4)


def test_in_bfloat16_the_scores_are_those_of_float32_but_for_rounding():
    w = windows()
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        c = checkpoint("open_llama")
        c.model.to(dtype)
        found.append(np.log(scores(Ablation(c, Blocks(c), batch(w.tokens, w.prefix), "peer_mean")).ravel()))
    assert np.corrcoef(*found)[0, 1] > 0.95
