"""Head ablation against its plain definition: full forwards of one row with a hook on the unmodified model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from memlake.compute.engine.blocks import Blocks
from memlake.compute.engine.forward import batch
from memlake.compute.families import parts
from memlake.compute.interventions.ablation import Ablation, Reference, Tokenized, _read_out, ablate, defined
from memlake.tests.compute.tiny import FAMILIES, HEADS, LAYERS, checkpoint, windows
from memlake.warehouse.errors import BadInput
from memlake.warehouse.identity import hash63
from memlake.warehouse.tables.head_deltas import METHODS

PROJECTIONS = {  # of what the heads give, in the transformers model of a family
    "pythia": "gpt_neox.layers.{}.attention.dense",
    "gpt_neo": "transformer.h.{}.attn.attention.out_proj",
    "starcoder": "transformer.h.{}.attn.c_proj",
    **dict.fromkeys(("open_llama", "olmo", "olmo2", "olmo3"), "model.layers.{}.self_attn.o_proj"),
}
ROWS, REFERENCES = 5, 3
IDS = [hash63("sequence", i) for i in range(ROWS)]
ALL = [(layer, head) for layer in range(LAYERS) for head in range(HEADS)]
CASES = [(family, kernel, 256) for family in FAMILIES for kernel in parts(family).kernels]
CASES += [("gpt_neo", "eager", 7), ("olmo3", "sdpa", 7), ("olmo3", "eager", 7)]  # a window shorter than the sequences


class Plain:
    """The definition. The references are the first REFERENCES of the rows."""

    def __init__(self, family: str, model, tokens: list[np.ndarray], prefix: np.ndarray, ids=IDS, n_heads=HEADS):
        self.model, self.tokens, self.prefix, self.ids, self.n_heads = model, tokens, prefix, ids, n_heads
        self.projections = [model.get_submodule(PROJECTIONS[family].format(layer)) for layer in range(LAYERS)]
        self.heads = [[self.record(layer, t) for layer in range(LAYERS)] for t in tokens]

    def record(self, layer: int, tokens: np.ndarray) -> torch.Tensor:
        """What the heads of a layer give, [tokens read, heads, head width]."""
        seen = []
        hook = self.projections[layer].register_forward_pre_hook(lambda _, args: seen.append(args[0][0]))
        self.model(torch.from_numpy(tokens[:-1])[None])
        hook.remove()
        return seen[0].reshape(len(tokens) - 1, self.n_heads, -1)

    def stand_in(self, method: str, row: int, layer: int, head: int) -> torch.Tensor:
        own = self.heads[row][layer]
        if method == "peer_mean":
            return torch.stack([own[:, other] for other in range(self.n_heads) if other != head]).mean(0)
        if method == "zero":
            return torch.zeros(own.shape[0], own.shape[2])
        if method == "mean":
            pooled = torch.cat([self.heads[r][layer][:, head] for r in range(REFERENCES)])
            return pooled.mean(0).expand(own.shape[0], -1)
        partner = hash63("resample", self.ids[row]) % REFERENCES
        if partner == row:
            partner = (partner + 1) % REFERENCES
        other = self.heads[partner][layer][:, head]
        return torch.stack([other[slot % len(other)] for slot in range(len(own))])

    def logits(self, row: int, replaced: tuple[str, int, int] | None = None) -> torch.Tensor:
        """At the continuation positions; `replaced`: method, layer and head."""
        handles = []
        if replaced:
            method, layer, head = replaced
            new = self.stand_in(method, row, layer, head)

            def replace(_, args):
                heads = args[0].clone().reshape(1, len(new), self.n_heads, -1)
                heads[0, :, head] = new
                return (heads.reshape(args[0].shape),)

            handles.append(self.projections[layer].register_forward_pre_hook(replace))
        out = self.model(torch.from_numpy(self.tokens[row][:-1])[None]).logits[0, self.prefix[row] - 1 :]
        for handle in handles:
            handle.remove()
        return out

    def read(self, row: int, replaced: tuple[str, int, int] | None = None) -> tuple[float, int, bool]:
        """Log-probability of the continuation, tokens that match, do all."""
        logits, target = self.logits(row, replaced).double(), torch.from_numpy(self.tokens[row][self.prefix[row] :])
        match = logits.argmax(-1) == target
        return float(logits.log_softmax(-1)[range(len(target)), target].sum()), int(match.sum()), bool(match.all())

    def effects(self, method: str, heads=ALL) -> tuple[np.ndarray, ...]:
        """Log-probabilities, matches and flags, each [heads, rows]."""
        every = [[self.read(row, (method, *head)) for row in range(len(self.tokens))] for head in heads]
        return tuple(np.array([[read[i] for read in of] for of in every]) for i in range(3))


def setting(family: str, kernel: str | None = None, see: int = 256):
    """A checkpoint, partly memorized windows, and what stands for the reference."""
    c = checkpoint(family, see, kernel)
    tokens, prefix, _ = windows(c.model, ROWS, (6, 14), (10, 18))
    blocks = Blocks(c)
    reference = Reference(c, blocks, Tokenized(tokens[:REFERENCES], prefix[:REFERENCES], IDS[:REFERENCES]))
    return c, blocks, Tokenized(tokens, prefix, IDS), reference


def same(got, expected) -> None:
    np.testing.assert_allclose(got.logprob, expected[0], rtol=1e-5, atol=2e-4)
    np.testing.assert_array_equal(got.n_match, expected[1])
    np.testing.assert_array_equal(got.memorized, expected[2])


@pytest.mark.parametrize(("family", "kernel", "see"), CASES)
@torch.inference_mode()
def test_equals_a_full_forward_with_a_hook(family, kernel, see):
    c, blocks, given, reference = setting(family, kernel, see)
    plain = Plain(family, c.model, given.tokens, given.prefix)
    b = batch(given.tokens, given.prefix)
    assert len({len(t) for t in given.tokens}) > 1
    seen = []
    for method in METHODS:
        ablation = Ablation(c, blocks, b, method, reference, IDS)
        same(ablation.clean, [np.array(x) for x in zip(*(plain.read(row) for row in range(ROWS)), strict=True)])
        assert set(ablation.clean.memorized) == {True, False}
        expected = plain.effects(method)
        same(ablation.effects(ALL), expected)
        assert np.median(np.abs(expected[0] - ablation.clean.logprob)) > 1, "what changes little shows little"
        hook = c.model.get_output_embeddings().register_forward_hook(lambda _, __, out: seen.append(out.clone()))
        for layer, head in ((0, 1), (LAYERS - 1, HEADS - 1)):
            seen.clear()
            ablation.effects([(layer, head)])
            want = torch.cat([plain.logits(row, (method, layer, head)) for row in range(ROWS)])
            torch.testing.assert_close(seen[0], want, rtol=0, atol=1e-5 * float(want.abs().max()))
        hook.remove()


@pytest.mark.parametrize("method", METHODS)
def test_does_not_depend_on_batches_or_groups(method):
    c, blocks, given, reference = setting("olmo2")
    clean, want = ablate(c, blocks, given, ALL, method, reference)
    shuffled = [ALL[i] for i in np.random.default_rng(0).permutation(len(ALL))]
    for batch_size, heads in ((1, ALL), (2, shuffled), (3, shuffled[:3]), (ROWS, [ALL[5]]), (ROWS, [])):
        c2, got = ablate(c, blocks, given, heads, method, reference, batch_size)
        assert got.logprob.shape == (len(heads), ROWS)
        at = [ALL.index(head) for head in heads]
        same(got, (want.logprob[at], want.n_match[at], want.memorized[at]))
        same(c2, (clean.logprob, clean.n_match, clean.memorized))


def limited(monkeypatch, rows: int) -> list[int]:
    """Blocks run on so many rows at most; what they were asked for."""
    asked, run = [], Blocks.run

    def small(self, trace, layer, hidden, heads=None):
        asked.append(len(hidden))
        if len(hidden) > rows:
            raise torch.cuda.OutOfMemoryError
        return run(self, trace, layer, hidden, heads)

    monkeypatch.setattr(Blocks, "run", small)
    return asked


def test_out_of_memory_halves_the_batch_and_goes_on(monkeypatch):
    c, blocks, given, _ = setting("pythia")
    want = ablate(c, blocks, given, ALL, "peer_mean")[1]
    asked = limited(monkeypatch, rows=3)
    same(ablate(c, blocks, given, ALL, "peer_mean")[1], (want.logprob, want.n_match, want.memorized))
    assert max(asked) == ROWS * HEADS
    assert sum(n > 3 for n in asked) == 3  # 20 pairs, 10, 5, and from there on 2, which is kept
    limited(monkeypatch, rows=0)
    with pytest.raises(BadInput, match="does not fit this GPU"):
        ablate(c, blocks, given, ALL, "peer_mean")


def test_passes_count_what_was_run():
    c, blocks, given, reference = setting("open_llama")
    ablation = Ablation(c, blocks, batch(given.tokens, given.prefix), "zero")
    assert ablation.passes == LAYERS * ROWS
    ablation.effects([(0, 0), (0, 3)])
    block = blocks.blocks[0]
    unused = sum(
        p.numel() for name in ("q", "k", "v") for p in block.self_attn.get_submodule(f"{name}_proj").parameters()
    )
    part = 1 - unused / sum(p.numel() for p in block.parameters())
    assert 0.5 < part < 0.9
    assert ablation.passes == pytest.approx(LAYERS * ROWS + 2 * ROWS * (part + LAYERS - 1))
    before = ablation.passes
    ablation.effects([(LAYERS - 1, 0)])
    read = sum(len(t) - p for t, p in zip(given.tokens, given.prefix, strict=True))
    slots = max(len(t) for t in given.tokens) - 1
    assert ablation.passes == pytest.approx(before + part * read / slots)
    reference.means()
    assert reference.passes == LAYERS * REFERENCES


def test_a_partner_is_another_sequence():
    c, blocks, given, reference = setting("pythia")
    partners = reference.partners(IDS)
    assert all(IDS[p] != i for p, i in zip(partners, IDS, strict=True))
    drawn = [hash63("resample", i) % REFERENCES for i in IDS]
    assert any(p == row for row, p in enumerate(drawn)), "none would have been its own: the test says nothing"
    alone = Reference(c, blocks, Tokenized(given.tokens[:1], given.prefix[:1], IDS[:1]))
    assert alone.partners(IDS[1:]).tolist() == [0] * (ROWS - 1)
    with pytest.raises(BadInput, match="the domain's sample has only one"):
        alone.partners(IDS)


def test_a_head_alone_in_its_layer_has_no_peers(monkeypatch):
    assert defined("peer_mean", Blocks(checkpoint("pythia")))
    monkeypatch.setattr("memlake.tests.compute.tiny.HEADS", 1)
    blocks = Blocks(checkpoint("pythia"))
    assert [method for method in METHODS if not defined(method, blocks)] == ["peer_mean"]


def test_of_equal_logits_the_lowest_id_matches():
    logits = torch.randint(0, 4, (500, 6), generator=torch.Generator().manual_seed(0)).float()
    target = torch.arange(500) % 6
    expected = logits.argmax(-1) == target
    tied = (logits == logits.amax(-1, keepdim=True)).sum(-1) > 1
    assert set(expected[tied].tolist()) == {True, False}
    logprob, match = _read_out(logits.clone(), target)
    assert torch.equal(match, expected)
    torch.testing.assert_close(logprob, logits.log_softmax(-1)[range(500), target])


def test_logits_that_are_not_numbers():
    c, blocks, given, _ = setting("pythia")
    c.model.get_output_embeddings().weight[7] = torch.nan
    with pytest.raises(BadInput, match=r"NaN or infinite logits in float32"):
        ablate(c, blocks, given, ALL, "zero")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", FAMILIES)
def test_cuda_equals_cpu(family, method):
    c, blocks, given, reference = setting(family)
    cpu = ablate(c, blocks, given, ALL, method, reference)[1]
    c.model.cuda()
    fresh = Reference(c, blocks, reference.sequences)
    gpu = ablate(c, blocks, given, ALL, method, fresh)[1]
    np.testing.assert_allclose(gpu.logprob, cpu.logprob, rtol=1e-3, atol=1e-2)
    assert (gpu.n_match == cpu.n_match).mean() > 0.95


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_bfloat16_on_cuda_equals_a_full_forward_with_a_hook(family, record_property):
    c, blocks, given, _ = setting(family)
    c.model.cuda().bfloat16()
    plain = Plain(family, c.model, given.tokens, given.prefix)
    got = ablate(c, blocks, given, ALL, "zero")[1]
    expected = plain.effects("zero")[0]
    apart = np.abs(got.logprob - expected) / np.abs(expected)
    record_property("largest relative difference", float(apart.max()))
    assert np.median(apart) < 0.02
