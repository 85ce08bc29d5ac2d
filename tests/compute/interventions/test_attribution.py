"""The estimates against finite differences of the ablation itself, through the unmodified transformers model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from memlake.compute.engine.blocks import Blocks
from memlake.compute.engine.forward import LOGITS, batch
from memlake.compute.families import parts
from memlake.compute.interventions.ablation import Ablation, Reference, Tokenized
from memlake.compute.interventions.attribution import estimates
from memlake.tests.compute.tiny import FAMILIES, VOCAB, checkpoint

STEP = 1e-5  # of the way from a head's output to what stands in for it
CASES = [(family, kernel, "peer_mean") for family in FAMILIES for kernel in parts(family).kernels]
CASES += [("pythia", "sdpa", method) for method in ("zero", "mean", "resample")]


def windows() -> Tokenized:
    """Four windows of different lengths."""
    rng = np.random.default_rng(5)
    tokens = [rng.integers(1, VOCAB, n) for n in (25, 31, 17, 22)]
    return Tokenized(tokens, np.array([9, 12, 4, 15]), [11, 12, 13, 14])


def moved(c, blocks: Blocks, ablation: Ablation, layer: int, head: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Log p and log-odds of each token of the continuations, [positions, slots], from a full forward with a hook that
    moves the head, at that slot alone, by a share of the way to what stands in for it."""
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
    return np.log(p), np.log(p / (1 - p))


@pytest.mark.parametrize(("family", "kernel", "method"), CASES)
def test_the_estimate_is_made_of_derivatives_of_moving_a_head_towards_what_stands_in_for_it(
    family, kernel, method, monkeypatch
):
    monkeypatch.setattr(torch, "float32", torch.float64)  # to which norms and softmaxes cast
    c = checkpoint(family, see=7, attention=kernel)
    c.model.double()
    blocks, w = Blocks(c), windows()
    ablation = Ablation(c, blocks, batch(w.tokens, w.prefix), method, Reference(c, blocks, w), w.ids)
    got = estimates(ablation)
    assert got.shape == (blocks.n_layers, blocks.n_heads, len(w.tokens))
    p = np.exp(moved(c, blocks, ablation, 0, 0, 0.0)[0][:, :1])
    row = ablation.batch.row
    for layer in range(blocks.n_layers):
        for head in range(blocks.n_heads):
            ahead, behind = (moved(c, blocks, ablation, layer, head, share) for share in (STEP, -STEP))
            log_p, odds = ((a - b) / (2 * STEP) for a, b in zip(ahead, behind, strict=True))
            first = np.bincount(row, log_p.sum(1))
            by_slot = [np.bincount(row, column) for column in (np.sqrt(p * (1 - p)) * odds).T]
            second = (np.array(by_slot) ** 2).sum(0)
            assert np.abs(first).max() > 1e-2 and second.max() > 1e-3
            np.testing.assert_allclose(got[layer, head], first - second, rtol=1e-5, atol=1e-5)


def test_rows_do_not_depend_on_their_batch_and_the_passes_are_counted():
    c = checkpoint("gpt_neo", see=7)
    blocks, w = Blocks(c), windows()
    together = Ablation(c, blocks, batch(w.tokens, w.prefix), "peer_mean")
    expected = estimates(together)
    assert together.passes == 4 * blocks.n_layers * len(w.tokens)  # forward, forward again, two gradients
    for i, (tokens, prefix) in enumerate(zip(w.tokens, w.prefix, strict=True)):
        alone = estimates(Ablation(c, blocks, batch([tokens], np.array([prefix])), "peer_mean"))
        np.testing.assert_allclose(alone[..., 0], expected[..., i], rtol=1e-4, atol=1e-4)


def test_the_unembedding_in_parts_gives_the_same(monkeypatch):
    c = checkpoint("olmo")
    blocks, w = Blocks(c), windows()
    expected = estimates(Ablation(c, blocks, batch(w.tokens, w.prefix), "zero"))
    monkeypatch.setitem(LOGITS, "cpu", 7 * VOCAB)
    got = estimates(Ablation(c, blocks, batch(w.tokens, w.prefix), "zero"))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_in_half_precision_the_estimates_are_those_of_float32_but_for_rounding(half):
    w = windows()
    found = []
    for dtype in (torch.float32, half):
        c = checkpoint("open_llama")
        c.model.to(dtype)
        found.append(estimates(Ablation(c, Blocks(c), batch(w.tokens, w.prefix), "peer_mean")).ravel())
    assert np.corrcoef(*found)[0, 1] > 0.95


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_sure_token_has_an_estimate_all_the_same(dtype):
    """Where p rounds to 1 in float32, 1 - p does not become 0, nor do gradients in half precision."""
    c = checkpoint("pythia")
    tokens = np.array([3, 14, 15, 9])
    best = c.model(torch.from_numpy(tokens)[None]).logits[0, -1].topk(2)
    c.model.get_output_embeddings().weight.mul_(25 / float(best.values[0] - best.values[1]))
    c.model.to(dtype)
    b = batch([np.append(tokens, int(best.indices[0]))], np.array([4]))
    ablation = Ablation(c, Blocks(c), b, "peer_mean")
    assert -1e-8 < ablation.clean.logprob[0] <= 0
    found = estimates(ablation)
    assert (found != 0).all() and np.abs(found).max() > 1e-12
