"""Every intervention against its plain definition: a full forward with a hook on the unmodified transformers model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from memlake.compute.engine.blocks import Blocks
from memlake.compute.families import parts
from memlake.tests.compute.tiny import FAMILIES, POSITIONS, VOCAB, checkpoint

ROWS, SLOTS = 3, 31
# Each family with each kernel that it has; a window shorter than the sequence, and one that is longer
CASES = [(family, kernel, see) for family in FAMILIES for kernel in parts(family).kernels for see in (7, POSITIONS)]


def close(got: torch.Tensor, expected: torch.Tensor) -> None:
    assert got.shape == expected.shape
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5 * max(1.0, float(expected.abs().max())))


def ids(rows: int = ROWS) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(3).integers(1, VOCAB, (rows, SLOTS)))


def logits(c, blocks: Blocks, hidden: torch.Tensor) -> torch.Tensor:
    return c.model.get_output_embeddings()(blocks.norm(hidden))


@pytest.mark.parametrize(("family", "kernel", "see"), CASES)
@torch.inference_mode()
def test_blocks_run_on_from_a_trace_as_the_whole_model_does(family, kernel, see):
    c = checkpoint(family, see=see, attention=kernel)
    blocks = Blocks(c)
    states = c.model(ids(), output_hidden_states=True, use_cache=False)
    trace = blocks.trace(ids(), heads=True)
    assert len(trace.hidden) == blocks.n_layers + 1
    for got, expected in zip(trace.hidden[:-1], states.hidden_states, strict=False):
        close(got, expected)
    close(logits(c, blocks, trace.hidden[-1]), states.logits)
    for layer in range(blocks.n_layers):
        # other rows, and more of them, than were traced; each alone would give the same
        many = torch.cat([trace.hidden[layer].flip(0), trace.hidden[layer][:1]])
        close(logits(c, blocks, blocks.last(trace, layer, many)), torch.cat([states.logits.flip(0), states.logits[:1]]))
        # the heads' own outputs in the place of attention change nothing
        same = blocks.run(trace, layer, trace.hidden[layer], lambda _, layer=layer: trace.heads[layer])
        close(same, trace.hidden[layer + 1])


@pytest.mark.parametrize(("family", "kernel", "see"), CASES)
@torch.inference_mode()
def test_identity_attention_is_attention_under_a_mask_that_shows_only_the_own_position(family, kernel, see):
    c = checkpoint(family, see=see, attention=kernel)
    blocks = Blocks(c)
    alone = torch.full((SLOTS, SLOTS), torch.finfo(torch.float32).min).fill_diagonal_(0)[None, None]
    trace = blocks.trace(ids())
    for layer in range(blocks.n_layers):

        def only_itself(_, args, kwargs):
            return args, kwargs | {"attention_mask": alone}

        hook = blocks.attention(layer).register_forward_pre_hook(only_itself, with_kwargs=True)
        expected = c.model(ids(), use_cache=False).logits
        hook.remove()
        assert (expected - c.model(ids(), use_cache=False).logits).abs().max() > 1e-2
        hidden = blocks.run(trace, layer, trace.hidden[layer], blocks.identity(layer))
        close(logits(c, blocks, blocks.last(trace, layer + 1, hidden)), expected)


@torch.inference_mode()
def test_a_model_is_whole_again_after_an_intervention_that_fails():
    c = checkpoint("pythia")
    blocks = Blocks(c)
    before = c.model(ids(), use_cache=False).logits
    trace = blocks.trace(ids())

    def fails(_):
        raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        blocks.run(trace, 0, trace.hidden[0], fails)
    close(c.model(ids(), use_cache=False).logits, before)
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in c.model.modules())
