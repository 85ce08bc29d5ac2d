"""The scoring engine against plain `generate` and plain forwards, one row at a time, for all architectures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from memlake.compute.engine.forward import _read_out
from memlake.compute.engine.scoring import first_mismatch, score
from memlake.compute.families import parts
from memlake.compute.models.checkpoint import Checkpoint, free_memory
from memlake.compute.models.conditions import TOP_K
from memlake.tests.compute.tiny import FAMILIES, POSITIONS, VOCAB, build, checkpoint, generated, windows
from memlake.warehouse.errors import BadInput

ROWS = 12
WHOLE = [(family, kernel, 256) for family in FAMILIES for kernel in parts(family).kernels]
WINDOWED = [("gpt_neo", "eager", 16), ("olmo3", "sdpa", 16), ("olmo3", "eager", 16)]


def plain(model, tokens: np.ndarray, prefix: int) -> dict[str, np.ndarray]:
    """Forced read-outs of one row: one forward without cache or padding, the rest in float64 by sorting."""
    logits = model(torch.from_numpy(tokens)[None]).logits[0, prefix - 1 : -1].double().numpy()
    out = {name: [] for name in ("top1", "logprob", "log_p", "entropy", "margin")}
    for x, target in zip(logits, tokens[prefix:], strict=True):
        order = np.lexsort((np.arange(len(x)), -x))
        p = np.exp(x - x.max()) / np.exp(x - x.max()).sum()
        best = order[:TOP_K]
        out["top1"].append(order[0])
        out["logprob"].append(np.log(p[target]))
        out["log_p"].append(np.log(p[target] / p[best].sum()) if target in best else -np.inf)
        out["entropy"].append(-(p * np.log(p)).sum())
        out["margin"].append(x[order[0]] - x[order[1]])
    return {name: np.array(values) for name, values in out.items()}


@pytest.mark.parametrize(("family", "kernel", "see"), WHOLE + WINDOWED)
def test_equals_generate_and_plain_forward(family, kernel, see):
    c = checkpoint(family, see, kernel)
    tokens, prefix, expected = windows(c.model, ROWS, (8, 32), (20, 32))
    got = score(c, tokens, prefix, batch_size=7)  # 7 does not divide 12
    first = first_mismatch(got.match, got.n)
    assert ((first >= 1) & (first <= 30) & (first < got.n)).mean() >= 0.3
    assert (first == got.n).mean() >= 0.1
    for row, (t, p) in enumerate(zip(tokens, prefix, strict=True)):
        n = len(t) - p
        want = plain(c.model, t, p)
        assert want["margin"].min() > 1e-4, "no row may be near a tie, else the comparison says nothing"
        np.testing.assert_array_equal(got.generated[row, :n], expected[row])
        np.testing.assert_array_equal(got.match[row, :n], want["top1"] == t[p:])
        for name in ("logprob", "log_p", "entropy", "margin"):
            np.testing.assert_allclose(getattr(got, name)[row, :n], want[name], rtol=1e-4, atol=1e-4)
    assert np.isneginf(got.log_p[got.inside]).any()
    assert not np.isneginf(got.log_p[got.inside]).all()


def test_does_not_depend_on_batches_or_order():
    c = checkpoint("open_llama")
    tokens, prefix, _ = windows(c.model, ROWS, (8, 32), (20, 32))
    whole = score(c, tokens, prefix)
    order = np.random.default_rng(0).permutation(ROWS)
    for size in (1, 5):
        other = score(c, [tokens[i] for i in order], prefix[order], batch_size=size)
        for name in ("n", "match", "generated", "target"):
            np.testing.assert_array_equal(getattr(other, name), getattr(whole, name)[order])
        for name in ("logprob", "log_p", "entropy", "margin"):
            np.testing.assert_allclose(getattr(other, name), getattr(whole, name)[order], atol=1e-4)


def test_ties_take_the_lowest_id():
    model = build("pythia")
    head = model.get_output_embeddings().weight
    head[48:96] = head[:48]  # every token but the last has a twin 48 ids away
    c = Checkpoint("twins", model, POSITIONS, None, VOCAB, checkpoint("pythia").condition)
    tokens, prefix, expected = windows(model, ROWS, (8, 16), (12, 20))
    got = score(c, tokens, prefix)
    for row, want in enumerate(expected):
        np.testing.assert_array_equal(got.generated[row, : len(want)], want)
    made = got.generated[got.inside]
    assert (made < 48).any()
    assert not ((made >= 48) & (made < 96)).any()
    assert (got.margin[got.inside] == 0).any()


def test_top_k_of_equal_logits_holds_the_lowest_ids():
    # 50 equal logits: the 40 best are ids 0 to 39, each with probability 1/40; entropy is log 50.
    logits = torch.zeros(3, 50)
    top1, logprob, log_p, entropy, margin = _read_out(logits, torch.tensor([0, 39, 40]))
    assert top1.tolist() == [0, 0, 0]
    assert logprob.tolist() == pytest.approx([-np.log(50)] * 3)
    assert log_p.tolist() == pytest.approx([-np.log(40), -np.log(40), -np.inf])
    assert entropy.tolist() == pytest.approx([np.log(50)] * 3)
    assert margin.tolist() == [0, 0, 0]


def test_top_k_where_the_tie_straddles_its_end():
    # 39 tokens lead; of the 3 that share the next place only the lowest id, 39, belongs.
    logits = torch.tensor([[2.0] * 39 + [1.0] * 3 + [0.0] * 8]).repeat(3, 1)
    inside = torch.isfinite(_read_out(logits, torch.tensor([39, 40, 45]))[2])
    assert inside.tolist() == [True, False, False]


def test_vocabulary_smaller_than_top_k():
    log_p = _read_out(torch.zeros(1, 8), torch.tensor([7]))[2]
    assert log_p.tolist() == pytest.approx([-np.log(8)])


@pytest.mark.parametrize("family", ["gpt_neo", "olmo2"])
def test_bos_stands_before_the_prompt(family):
    c = checkpoint(family, bos=True)
    tokens, prefix, expected = windows(c.model, 8, (8, 16), (12, 20), bos=3)
    got = score(c, tokens, prefix, bos_id=3)
    for row, (t, p) in enumerate(zip(tokens, prefix, strict=True)):
        want = plain(c.model, np.concatenate([[3], t]), p + 1)
        np.testing.assert_array_equal(got.generated[row, : len(t) - p], expected[row])
        np.testing.assert_allclose(got.logprob[row, : len(t) - p], want["logprob"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("family", "see"), [("open_llama", 256), ("starcoder", 256), ("gpt_neo", 16)])
def test_no_eos_equals_generate_with_a_minimum_length(family, see):
    c = checkpoint(family, see)
    rng = np.random.default_rng(2)
    prompts = [rng.integers(1, VOCAB, 12) for _ in range(ROWS)]
    plainly = [generated(c.model, p, 20) for p in prompts]
    end = int(np.bincount(np.concatenate(plainly)).argmax())  # what it decides for most often is its EOS
    tokens, expected = [], []
    for i, prompt in enumerate(prompts):
        out = c.model.generate(
            torch.from_numpy(prompt)[None],
            do_sample=False,
            min_length=32,
            max_length=32,
            eos_token_id=end,
            pad_token_id=0,
        )[0].numpy()
        assert len(out) == 32
        expected.append(out[12:])
        rest = out[12:].copy()
        if i % 3:
            rest[i] = end if i % 2 else (rest[i] + 1) % VOCAB
        tokens.append(np.concatenate([prompt, rest]))
    assert sum((p != e).any() for p, e in zip(plainly, expected, strict=True)) >= 3
    prefix = np.full(ROWS, 12)
    plain_scores, got = (
        score(c, tokens, prefix),
        score(replace(c, forbidden=(end, VOCAB + 9)), tokens, prefix, batch_size=5),
    )
    np.testing.assert_array_equal(got.generated, np.stack(expected))
    first = first_mismatch(got.match, got.n)
    np.testing.assert_array_equal(first == got.n, [i % 3 == 0 for i in range(ROWS)])
    np.testing.assert_array_equal(first, first_mismatch(got.generated == got.target, got.n))
    for name in ("logprob", "log_p", "entropy"):  # stay the model's own
        np.testing.assert_allclose(getattr(got, name), getattr(plain_scores, name), atol=1e-4)
    for row, t in enumerate(tokens):
        logits = c.model(torch.from_numpy(t)[None]).logits[0, 11:-1].clone()
        logits[:, end] = -torch.inf
        two = logits.topk(2).values
        np.testing.assert_allclose(got.margin[row], two[:, 0] - two[:, 1], atol=1e-4)


def test_bos_scores_windows_without_a_prompt():
    tokens = [np.arange(1, 9)]
    got = score(checkpoint("olmo", bos=True), tokens, np.array([0]), bos_id=3)
    want = plain(checkpoint("olmo").model, np.concatenate([[3], tokens[0]]), 1)
    np.testing.assert_allclose(got.logprob[0], want["logprob"], rtol=1e-4, atol=1e-4)


def test_forced_gives_the_same_without_decoding():
    c = checkpoint("starcoder")
    tokens, prefix, _ = windows(c.model, 8, (8, 16), (12, 20))
    with_decoding, without = score(c, tokens, prefix), score(c, tokens, prefix, decode=False)
    assert without.generated is None
    np.testing.assert_array_equal(without.match, with_decoding.match)
    np.testing.assert_allclose(without.logprob, with_decoding.logprob, atol=1e-5)


def test_bfloat16_agrees_with_itself_up_to_the_first_mismatch(record_property):
    model = build("olmo2")
    tokens, prefix, expected = windows(model, ROWS, (8, 32), (20, 32))
    c = Checkpoint("olmo2", model.bfloat16(), POSITIONS, None, VOCAB, checkpoint("olmo2").condition)
    got = score(c, tokens, prefix)
    same = [np.array_equal(got.generated[row, : len(want)], want) for row, want in enumerate(expected)]
    record_property("share of rows that differ from float32", 1 - float(np.mean(same)))
    greedy = first_mismatch(got.generated == got.target, got.n)
    np.testing.assert_array_equal(greedy, first_mismatch(got.match, got.n))
    assert (greedy > 0).any()


def test_first_mismatch_ignores_what_stands_after_the_continuation():
    match = np.array([[True, True, False], [True, False, False], [False, True, True]])
    assert first_mismatch(match, np.array([2, 3, 3])).tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    ("tokens", "prefix", "message"),
    [
        ([1, 2, 3], 0, "no prompt"),
        ([1] * (POSITIONS + 1), 3, f"longer than the {POSITIONS} positions"),
        ([1, 2, VOCAB], 1, "another tokenizer"),
    ],
)
def test_bad_windows_are_one_line(tokens, prefix, message):
    with pytest.raises(BadInput, match=message):
        score(checkpoint("olmo"), [np.array(tokens)], np.array([prefix]))


def test_a_window_as_long_as_the_positions_is_scored():
    for family in ("gpt_neo", "starcoder"):
        got = score(checkpoint(family), [np.arange(POSITIONS) % VOCAB], np.array([POSITIONS - 4]))
        assert got.generated.shape == (1, 4)


def test_bos_without_such_a_token():
    with pytest.raises(BadInput, match="use --no-bos"):
        score(checkpoint("olmo", bos=True), [np.arange(5)], np.array([2]))


def test_logits_that_are_not_numbers():
    c = checkpoint("pythia")
    c.model.get_output_embeddings().weight[7] = torch.nan
    with pytest.raises(BadInput, match=r"NaN or infinite logits in float32"):
        score(c, [np.arange(8)], np.array([4]))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("family", FAMILIES)
def test_cuda_equals_cpu(family):
    c = checkpoint(family)
    tokens, prefix, expected = windows(c.model, ROWS, (8, 32), (20, 32))
    cpu = score(c, tokens, prefix)
    c.model.cuda()
    gpu = score(c, tokens, prefix)
    for row, want in enumerate(expected):
        np.testing.assert_array_equal(gpu.generated[row, : len(want)], want)
    np.testing.assert_allclose(gpu.logprob, cpu.logprob, rtol=1e-3, atol=1e-3)


def test_memory_that_torch_keeps_for_reuse_is_free(monkeypatch):
    # 1000 bytes free on the GPU; of 600 that torch holds 200 are in use.
    for name, value in (("mem_get_info", (1000, 5000)), ("memory_reserved", 600), ("memory_allocated", 200)):
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert free_memory("cuda") == 1400
