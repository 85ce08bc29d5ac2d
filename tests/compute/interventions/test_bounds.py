"""No state moves further than its bound, and no step of the bound is one that would hold for anything."""

from __future__ import annotations

import pytest
import torch

from memlake.compute.engine.blocks import Blocks
from memlake.compute.engine.forward import batch
from memlake.compute.interventions.bounds import Bounds, _mlp, _norm, _spectral
from memlake.compute.interventions.short_circuit import states_after
from memlake.tests.compute.experiments.test_short_circuit import CUTS
from memlake.tests.compute.tiny import FAMILIES, checkpoint, windows


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("scale", [0.2, 1.0, 3.0])
@torch.inference_mode()
def test_no_state_moves_further_than_its_bound(family, scale):
    c = checkpoint(family, see=7)
    for name, p in c.model.base_model.named_parameters():
        p.mul_(scale if "norm" not in name and "ln_" not in name else 1.0)
        if "norm" in name or "ln_" in name:
            p.add_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(len(name))))
    tokens, prefix, _ = windows(c.model, 4, (4, 9), (8, 12))
    b = batch(tokens, prefix)
    blocks = Blocks(c)
    trace = blocks.trace(b.ids, heads=True)
    bounds = dict(Bounds(c, blocks, trace).after_each(CUTS))
    for layer, states in states_after(blocks, trace, CUTS):
        for i, (first, _) in enumerate(CUTS):
            if layer < first:
                assert (bounds[layer][i] == 0).all()
                continue
            moved = (states[i] - trace.hidden[layer + 1]).norm(dim=-1)
            assert (moved <= bounds[layer][i] * (1 + 1e-4) + 1e-5 * trace.hidden[layer + 1].norm(dim=-1)).all()
            assert moved[:, 1:].median() > 0
            assert bounds[layer][i].isfinite().all()
    if family == "pythia":  # branches side by side: at the block only the output projection's norm is loose
        moved = (states_of(blocks, trace, (0, 0)) - trace.hidden[1]).norm(dim=-1)[:, 1:]
        assert (bounds[0][2][:, 1:] / moved).median() < 4


def states_of(blocks: Blocks, trace, cut) -> torch.Tensor:
    return next(states_after(blocks, trace, [cut]))[1][0].clone()


@torch.inference_mode()
def test_a_norm_moves_what_it_gives_no_further_than_its_step():
    generator = torch.Generator().manual_seed(0)
    modules = {family: Blocks(checkpoint(family)).norm for family in ("pythia", "open_llama", "olmo")}
    for family, norm in modules.items():
        if getattr(norm, "weight", None) is not None:
            norm.weight.copy_(torch.linspace(-1.5, 1, 32))
        for size in (1e-3, 0.1, 1.0, 30.0):
            clean = torch.randn(500, 32, generator=generator) * torch.logspace(-4, 2, 500)[:, None]
            shift = torch.randn(500, 32, generator=generator) * size * torch.logspace(-4, 2, 500)[:, None]
            shift = torch.where(torch.arange(500)[:, None] % 3 == 0, -clean * 1.01, shift)  # almost to nothing
            moved = (norm(clean + shift) - norm(clean)).norm(dim=-1)
            allowed = _norm(norm, clean)(shift.norm(dim=-1))
            assert (moved <= allowed * (1 + 1e-4) + 1e-5).all(), family
            if size == 1e-3:
                assert (moved / allowed).max() > 0.5  # and not by a bound that would hold for anything


@torch.inference_mode()
@pytest.mark.parametrize("family", ["gpt_neo", "open_llama"])
def test_an_mlp_moves_what_it_gives_no_further_than_its_step(family):
    c = checkpoint(family)
    blocks = Blocks(c)
    trace = blocks.trace(torch.arange(1, 9)[None], heads=True)
    weights = Bounds(c, blocks, trace)._measured(0)
    mlp = blocks.blocks[0].mlp
    generator = torch.Generator().manual_seed(0)
    for size in (1e-3, 1.0, 100.0):
        clean = torch.randn(1000, 32, generator=generator)
        shift = torch.randn(1000, 32, generator=generator) * size
        moved = (mlp(clean + shift) - mlp(clean)).norm(dim=-1)
        allowed = _mlp(mlp, weights, clean)(shift.norm(dim=-1))
        assert (moved <= allowed).all()
        assert (moved * 100 > allowed).any()


def test_the_spectral_norm_is_never_too_small():
    generator = torch.Generator().manual_seed(0)
    shapes = ((8, 8), (5, 40), (40, 5), (3, 16, 7))
    for w in (*(torch.randn(s, generator=generator) for s in shapes), torch.eye(64), torch.zeros(4, 4)):
        exact, got = torch.linalg.matrix_norm(w, 2), _spectral(w)
        assert got.shape == exact.shape
        assert (got >= exact * (1 - 1e-6)).all()
        assert (got <= exact * 1.04 + 1e-12).all()


@torch.inference_mode()
@pytest.mark.parametrize(
    ("ids", "size", "cut"),
    [
        (torch.arange(6, 18)[None], 1e-2, False),  # a small shift turns sharp attention from one value to another
        (torch.full((1, 12), 7), 1.0, True),  # where all values are alike, only their own shift moves what is given
    ],
)
def test_attention_moves_what_it_gives_no_further_than_its_step(ids, size, cut):
    c = checkpoint("open_llama")
    blocks = Blocks(c)
    block = blocks.blocks[0]
    for p in (block.self_attn.q_proj.weight, block.self_attn.k_proj.weight):
        p.mul_(30)
    block.mlp.down_proj.weight.zero_()
    trace = blocks.trace(ids, heads=True)
    step = Bounds(c, blocks, trace)._block(0)
    generator = torch.Generator().manual_seed(0)
    shift = torch.randn(200, *trace.hidden[0].shape[1:], generator=generator) * size
    hidden = blocks.run(trace, 0, trace.hidden[0] + shift, blocks.identity(0) if cut else None)
    moved = (hidden - trace.hidden[1] - shift).norm(dim=-1)  # what the residual stream adds is known
    off = shift.norm(dim=-1)
    allowed = step(off[:, None], torch.full((200, 1, 1), cut))[:, 0] - off
    assert (moved <= allowed * (1 + 1e-4) + 1e-5).all()
    assert (moved * 10 > allowed).any()
