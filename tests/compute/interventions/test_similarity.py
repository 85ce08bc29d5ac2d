"""Scores and states under noise against their plain definition: a hook on the unmodified transformers model, one row at
a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from memlake.compute.engine.blocks import Blocks
from memlake.compute.engine.scoring import score
from memlake.compute.families import parts
from memlake.compute.interventions.similarity import measure
from memlake.compute.models.checkpoint import Checkpoint
from memlake.tests.compute.tiny import FAMILIES, LAYERS, POSITIONS, WIDTH, build, checkpoint, windows
from memlake.warehouse.identity import hash63

# Each family with each kernel, at each layer; sequences within and beyond the window of local and sliding blocks
MODELS = [(family, kernel, 256) for family in FAMILIES for kernel in parts(family).kernels]
MODELS += [("gpt_neo", "eager", 8), ("olmo3", "sdpa", 8), ("olmo3", "eager", 8)]
CASES = [(*model, layer) for model in MODELS for layer in range(LAYERS)]
STRENGTHS = (0.02, 0.3)
SEED = 3


def sample(c: Checkpoint, rows: int = 6):
    """Windows of unlike lengths, partly memorized without noise, and their ids."""
    tokens, prefix, _ = windows(c.model, rows, (6, 12), (7, 12))
    return tokens, prefix, np.array([hash63("some", i) for i in range(rows)])


def stray(hidden: torch.Tensor, sequence_id: int, strength: float, layer: int, scope: str = "token") -> torch.Tensor:
    """e for one row's states [1, slots, width]. Its stream is drawn for all positions there could be, and cut."""
    z = np.random.Generator(np.random.Philox(key=hash63(SEED, int(sequence_id), layer)))
    z = torch.from_numpy(z.standard_normal((POSITIONS, WIDTH), dtype=np.float32)[: hidden.shape[1]])
    square = hidden.pow(2)
    rms = square.mean(-1, keepdim=True).sqrt() if scope == "token" else square.mean().sqrt()
    return strength * rms * z


class Hooked:
    """The plain model, one row at a time; with noise if its strength is not 0."""

    def __init__(self, c: Checkpoint, sequence_id: int, strength: float, layer: int, scope: str = "token"):
        self.model, self.entered, self.left = c.model, None, None
        blocks = Blocks(c).blocks

        def entering(_, args):
            self.entered = args[0]
            if strength:
                self.entered = args[0] + stray(args[0], sequence_id, strength, layer, scope)
            return (self.entered, *args[1:])

        def leaving(_, __, output):
            self.left = output[0] if isinstance(output, tuple) else output

        self.hooks = [blocks[layer].register_forward_pre_hook(entering), blocks[-1].register_forward_hook(leaving)]
        self.layer = layer

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for hook in self.hooks:
            hook.remove()

    def logits(self, tokens) -> torch.Tensor:
        return self.model(torch.tensor(np.asarray(tokens))[None], use_cache=False).logits[0]

    def greedy(self, prompt: np.ndarray, n: int) -> tuple[list[int], float]:
        """n tokens, and the smallest gap between two best logits on the way."""
        tokens, gap = prompt.tolist(), np.inf
        for _ in range(n):
            last = self.logits(tokens)[-1]
            best = last.topk(2).values
            gap = min(gap, float(best[0] - best[1]))
            tokens.append(int(last.argmax()))
        return tokens[len(prompt) :], gap

    def states(self, tokens) -> list[torch.Tensor]:
        """What enters each block, and what leaves the last: each [slots, width]."""
        ids = torch.tensor(np.asarray(tokens))[None]
        states = list(self.model(ids, use_cache=False, output_hidden_states=True).hidden_states)
        states[self.layer], states[-1] = self.entered, self.left  # with noise; before the final norm
        return [s[0] for s in states]


@pytest.mark.parametrize(("family", "kernel", "see", "layer"), CASES)
@torch.inference_mode()
def test_scores_equal_a_plain_loop_with_a_hook(family, kernel, see, layer):
    c = checkpoint(family, see, kernel)
    tokens, prefix, ids = sample(c)
    got = measure(c, tokens, prefix, ids, strengths=STRENGTHS, seed=SEED, layer=layer, scope="token", batch_size=5)
    clean = score(c, tokens, prefix)
    for strength, (scores, _) in zip(STRENGTHS, got, strict=True):
        for row, (t, p, sequence_id) in enumerate(zip(tokens, prefix, ids, strict=True)):
            n = len(t) - p
            with Hooked(c, sequence_id, strength, layer) as plain:
                made, gap = plain.greedy(t[:p], n)
                logits = plain.logits(t)[p - 1 : -1]
            assert gap > 1e-4, "no row may be near a tie, else the comparison says nothing"
            assert scores.generated[row, :n].tolist() == made
            np.testing.assert_array_equal(scores.match[row, :n], logits.argmax(-1).numpy() == t[p:])
            expected = logits.log_softmax(-1)[torch.arange(n), torch.from_numpy(t[p:])]
            np.testing.assert_allclose(scores.logprob[row, :n], expected, rtol=1e-5, atol=1e-4)
    weak, strong = (scores for scores, _ in got)
    assert (strong.generated != clean.generated).any(), "noise must matter"
    assert (weak.match & weak.inside).any()
    assert (weak.logprob != clean.logprob).any()


@pytest.mark.parametrize(("family", "kernel", "see", "layer"), CASES)
@torch.inference_mode()
def test_similarity_equals_whole_forwards_with_a_hook(family, kernel, see, layer):
    c = checkpoint(family, see, kernel)
    tokens, prefix, ids = sample(c)
    tokens[0], prefix[0] = tokens[0][prefix[0] - 1 :], 1  # one without a prefix part
    got = measure(c, tokens, prefix, ids, strengths=STRENGTHS, seed=SEED, layer=layer, scope="token", batch_size=3)
    for strength, (_, similarity) in zip(STRENGTHS, got, strict=True):
        assert similarity.cosine.shape == similarity.relative_l2.shape == (2, len(tokens), LAYERS + 1)
        lengths = np.array([len(t) for t in tokens])
        np.testing.assert_array_equal(similarity.positions, [prefix - 1, lengths - prefix])
        for row, (t, p, sequence_id) in enumerate(zip(tokens, prefix, ids, strict=True)):
            with Hooked(c, sequence_id, 0, layer) as plain:
                clean = plain.states(t[:-1])
            with Hooked(c, sequence_id, strength, layer) as plain:
                noisy = plain.states(t[:-1])
            for part, inside in enumerate((slice(0, p - 1), slice(p - 1, None))):
                if similarity.positions[part, row]:
                    check_means(similarity, part, row, [s[inside] for s in clean], [s[inside] for s in noisy])
    before = slice(0, layer)
    assert (got[1][1].relative_l2[:, 1:, before] == 0).all()
    assert (got[1][1].relative_l2[:, 1:, layer:] > 0.1).all()


def check_means(similarity, part: int, row: int, clean: list[torch.Tensor], noisy: list[torch.Tensor]) -> None:
    for entry, (a, b) in enumerate(zip(clean, noisy, strict=True)):
        cosines, distances = [], []
        for x, y in zip(a.double(), b.double(), strict=True):
            # Some architectures embed their padding token, which is among ours, as zeros: those stay as they are
            same = torch.equal(x, y)
            cosines.append(1.0 if same else float(x @ y / (x.norm() * y.norm())))
            distances.append(0.0 if same else float((x - y).norm() / x.norm()))
        assert similarity.cosine[part, row, entry] == pytest.approx(np.mean(cosines), abs=1e-5)
        assert similarity.relative_l2[part, row, entry] == pytest.approx(np.mean(distances), abs=1e-5, rel=1e-4)


@pytest.mark.parametrize("family", ["gpt_neo", "olmo3"])
@torch.inference_mode()
def test_scope_row_takes_the_rms_over_all_the_row_holds(family):
    c = checkpoint(family)
    tokens, prefix, ids = sample(c)
    settings = {"strengths": [0.3], "seed": SEED, "layer": 1, "decode": False}
    ((scores, _),) = measure(c, tokens, prefix, ids, scope="row", batch_size=3, **settings)
    assert scores.generated is None
    for row, (t, p, sequence_id) in enumerate(zip(tokens, prefix, ids, strict=True)):
        with Hooked(c, sequence_id, 0.3, 1, "row") as plain:  # it reads what the row holds: all but the last token
            logits = plain.logits(t[:-1])[p - 1 :].log_softmax(-1)
        expected = logits[torch.arange(len(t) - p), torch.from_numpy(t[p:])]
        np.testing.assert_allclose(scores.logprob[row, : len(t) - p], expected, rtol=1e-5, atol=1e-4)
    ((token, _),) = measure(c, tokens, prefix, ids, scope="token", **settings)
    assert np.abs(token.logprob - scores.logprob).max() > 0.01


def test_does_not_depend_on_batches_or_order():
    c = checkpoint("pythia")
    tokens, prefix, ids = sample(c, 9)
    settings = {"strengths": STRENGTHS, "seed": SEED, "layer": 1, "scope": "token"}
    whole = measure(c, tokens, prefix, ids, **settings)
    order = np.random.default_rng(0).permutation(9)
    for size in (1, 4):
        other = measure(c, [tokens[i] for i in order], prefix[order], ids[order], batch_size=size, **settings)
        for (scores, similarity), (s, r) in zip(other, whole, strict=True):
            for name in ("match", "generated"):
                np.testing.assert_array_equal(getattr(scores, name), getattr(s, name)[order])
            np.testing.assert_allclose(scores.logprob, s.logprob[order], atol=1e-4)
            np.testing.assert_allclose(similarity.cosine, r.cosine[:, order], atol=1e-5)
            np.testing.assert_allclose(similarity.relative_l2, r.relative_l2[:, order], atol=1e-5)


def test_strengths_are_paired():
    c = checkpoint("olmo")
    tokens, prefix, ids = sample(c)
    settings = {"seed": SEED, "layer": 1, "scope": "token"}
    (_, one), (scores, two) = measure(c, tokens, prefix, ids, strengths=[0.1, 0.2], **settings)
    np.testing.assert_allclose(two.relative_l2[..., 1], 2 * one.relative_l2[..., 1], rtol=1e-5)  # the same z
    ((alone, _),) = measure(c, tokens, prefix, ids, strengths=[0.2], **settings)
    np.testing.assert_array_equal(alone.generated, scores.generated)


@pytest.mark.parametrize("family", ["pythia", "olmo3"])
def test_bos_takes_position_0(family):
    bare, bos = checkpoint(family), checkpoint(family, bos=True)
    tokens, prefix, ids = sample(bare)
    settings = {"strengths": [0.05], "seed": SEED, "layer": 0, "scope": "token"}
    with_it = [np.concatenate([[7], t]) for t in tokens]
    ((expected, near),) = measure(bare, with_it, prefix + 1, ids, **settings)
    ((got, similarity),) = measure(bos, tokens, prefix, ids, bos_id=7, **settings)
    np.testing.assert_array_equal(got.logprob, expected.logprob)
    np.testing.assert_array_equal(got.generated, expected.generated)
    np.testing.assert_array_equal(similarity.cosine, near.cosine)
    assert similarity.positions[0].tolist() == prefix.tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_in_bfloat16_nothing_but_noise_makes_a_difference(family):
    model = build(family, see=8).to(torch.bfloat16)
    c = replace(checkpoint(family, see=8), model=model)
    tokens, prefix, ids = sample(checkpoint(family))
    settings = {"seed": SEED, "layer": 0, "scope": "token", "batch_size": 3}
    (_, none), (_, some) = measure(c, tokens, prefix, ids, strengths=[1e-30, 0.3], **settings)
    assert (none.relative_l2 == 0).all()
    assert (none.cosine == 1).all()
    assert (some.relative_l2 > 0.05).all()


def test_a_state_of_zeros_and_the_padding_beside_it():
    c = checkpoint("pythia")
    c.model.get_input_embeddings().weight[0] = 0  # 0 is the padding, too
    tokens, prefix, ids = sample(c)
    tokens = [np.concatenate([[0], t]) for t in tokens]
    settings = {"strengths": [0.3], "seed": SEED, "layer": 0, "scope": "token"}
    ((_, similarity),) = measure(c, tokens, prefix + 1, ids, **settings)
    assert np.isfinite(similarity.cosine).all()
    assert np.isfinite(similarity.relative_l2).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("family", FAMILIES)
def test_cuda_equals_cpu(family):
    c = checkpoint(family)
    sequences = sample(c)
    settings = {"strengths": STRENGTHS, "seed": SEED, "layer": 1, "scope": "token"}
    cpu = measure(c, *sequences, **settings)
    c.model.cuda()
    for (scores, similarity), (s, r) in zip(measure(c, *sequences, **settings), cpu, strict=True):
        np.testing.assert_array_equal(scores.generated, s.generated)
        np.testing.assert_allclose(similarity.relative_l2, r.relative_l2, rtol=1e-3, atol=1e-3)
