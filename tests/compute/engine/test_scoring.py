"""The scoring engine against plain `generate` and plain forwards, one row at a time, for all architectures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from memlake.compute.engine import forward
from memlake.compute.engine.forward import _read_out
from memlake.compute.engine.leading import Leading
from memlake.compute.engine.scoring import first_mismatch, score
from memlake.compute.families import parts
from memlake.compute.models.checkpoint import Checkpoint, free_memory
from memlake.compute.models.conditions import TOP_K
from memlake.tests.compute.tiny import (
    CLASSES,
    FAMILIES,
    POSITIONS,
    VOCAB,
    WIDTH,
    build,
    checkpoint,
    config,
    generated,
    windows,
)
from memlake.warehouse.errors import BadInput

ROWS = 12
COLUMNS = ("top1", "logprob", "log_p", "entropy", "margin")
WHOLE = [(family, kernel, 256) for family in FAMILIES for kernel in parts(family).kernels]
WINDOWED = [("gpt_neo", "eager", 16), ("olmo3", "sdpa", 16), ("olmo3", "eager", 16)]


def plain(model, tokens: np.ndarray, prefix: int) -> dict[str, np.ndarray]:
    """Forced read-outs of one row: one forward without cache or padding, the rest in float64 by sorting."""
    return sorted_out(model(torch.from_numpy(tokens)[None]).logits[0, prefix - 1 : -1], tokens[prefix:])


def sorted_out(logits: torch.Tensor, targets: np.ndarray) -> dict[str, np.ndarray]:
    """The read-outs of logits [positions, vocabulary] in float64, of one position after the other, by sorting."""
    out = {name: [] for name in COLUMNS}
    for x, target in zip(logits.double().numpy(), targets, strict=True):
        order = np.lexsort((np.arange(len(x)), -x))
        log_p = x - x.max() - np.log(np.exp(x - x.max()).sum())
        p = np.exp(log_p)
        best = order[:TOP_K]
        out["top1"].append(order[0])
        out["logprob"].append(log_p[target])
        out["log_p"].append(log_p[target] - np.log(p[best].sum()) if target in best else -np.inf)
        out["entropy"].append(-(p * log_p).sum())
        out["margin"].append(x[order[0]] - x[order[1]])
    return {name: np.array(values) for name, values in out.items()}


def agree(got: dict[str, np.ndarray], want: dict[str, np.ndarray], rtol: float = 2e-6, atol: float = 2e-6) -> None:
    np.testing.assert_array_equal(got["top1"], want["top1"])
    for name in COLUMNS[1:]:
        np.testing.assert_allclose(got[name], want[name], rtol=rtol, atol=atol, err_msg=name)


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


# As many as there are in two blocks, in whole blocks, with one more or one less; smaller than top k; of real models
VOCABULARIES = [2, 3, 39, 40, 41, 97, 2047, 2048, 2049, 50257, 50304]


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("levels", [None, 3, 60])
def test_read_outs_equal_sorting_in_float64(vocabulary, levels):
    rng = np.random.default_rng(vocabulary)
    n = 60 if vocabulary < 5000 else 12
    logits = 4 * rng.standard_normal((n, vocabulary)).astype(np.float32)
    if levels:  # many tokens share each logit: the best is a tie, and so is the end of the top k
        logits = np.round(logits / 24 * levels) / levels * 24
        logits = logits.clip(-24, 24).astype(np.float32)
    order = np.lexsort((np.broadcast_to(np.arange(vocabulary), logits.shape), -logits))
    ranks = np.resize([0, 1, 38, 39, 40, 41, vocabulary // 2, vocabulary - 1], n)  # around the end of the top k
    target = order[np.arange(n), np.minimum(ranks, vocabulary - 1)]
    want = sorted_out(torch.from_numpy(logits), target)
    assert (want["log_p"] == -np.inf).any() == (vocabulary > TOP_K)
    assert (want["margin"] == 0).any() or not levels
    got = _read_out(torch.from_numpy(logits), torch.from_numpy(target))
    agree(dict(zip(COLUMNS, (column.numpy() for column in got), strict=True)), want)


def test_read_outs_of_all_but_certain_tokens():
    # What is left to the other tokens is far below the precision of a probability near 1.
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.standard_normal((40, 5000)).astype(np.float32))
    target = torch.from_numpy(rng.integers(0, 5000, 40))
    logits[torch.arange(40), target] += torch.linspace(10, 30, 40)
    want = sorted_out(logits, target.numpy())
    assert want["entropy"].min() < 1e-7 < 1 < want["entropy"].max()
    got = dict(zip(COLUMNS, (column.numpy() for column in _read_out(logits, target)), strict=True))
    for name in ("entropy", "logprob"):
        np.testing.assert_allclose(got[name], want[name], rtol=1e-5, atol=0)


@pytest.mark.parametrize("token", [0, 1, 4999])
@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
def test_a_logit_that_is_not_finite_shows_in_the_entropy(token, value):
    # `forced` looks there for it
    logits = torch.randn(3, 5000, generator=torch.Generator().manual_seed(0))
    logits[1, token] = value
    entropy = _read_out(logits, torch.tensor([7, 7, 7]))[3]
    assert entropy.isfinite().tolist() == [True, False, True]


@pytest.mark.parametrize("vocabulary", [1, 2, 40, 97, 1024, 5003])
@pytest.mark.parametrize("k", [1, 40])
def test_leading_equals_sorting(vocabulary, k):
    logits = torch.from_numpy(np.random.default_rng(0).integers(-9, 9, (50, vocabulary)).astype(np.float32))
    leading = Leading(logits, k)
    best, token = leading.first()
    np.testing.assert_array_equal(best, logits.numpy().max(-1))
    np.testing.assert_array_equal(token, logits.numpy().argmax(-1))  # numpy documents: the first
    rows, k = torch.tensor([3, 41, 3]), min(k, vocabulary)
    np.testing.assert_array_equal(leading.best(rows, k), -np.sort(-logits.numpy()[rows], axis=-1)[:, :k])
    level = torch.full((50,), 2.0)
    larger = (logits > 2).sum(-1)
    assert (leading.at_least(level) <= larger).all()
    assert ((leading.at_least(level) > 0) == (larger > 0)).all()
    if vocabulary > 1:
        first, _, second = leading.two()
        np.testing.assert_array_equal(first - second, -np.diff(-np.sort(-logits.numpy())[:, :2])[:, 0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("logits", "positions"), [(1, 1), (1, 7), (5 * 1003, 3), (7 * 1003 + 1, 21), (1 << 20, 256)])
def test_read_outs_do_not_depend_on_how_many_positions_are_read_at_once(monkeypatch, dtype, logits, positions):
    monkeypatch.setitem(forward.LOGITS, "cpu", logits)
    monkeypatch.setattr(forward, "POSITIONS", positions)
    model = wide(1003).to(dtype)
    c = Checkpoint("wide", model, POSITIONS, None, 1003, checkpoint("pythia").condition)
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(45, WIDTH, generator=generator).to(dtype)
    # Rounded to a few bits, a logit may come out as the next of its format where it is summed in another order, so that
    # ours are of as many positions at once
    at_once = hidden.split(max(1, logits // 1003, positions))
    of_model = torch.cat([model.get_output_embeddings()(piece) for piece in at_once]).float()
    target = torch.where(torch.arange(45) % 3 == 0, of_model.argmax(-1), torch.arange(45))
    got = forward.read(c, hidden, target, _read_out)
    agree(dict(zip(COLUMNS, got, strict=True)), sorted_out(of_model, target.numpy()))


def wide(vocabulary: int):
    """A Pythia of so many tokens."""
    torch.manual_seed(0)
    settings = config("pythia")
    settings.vocab_size = vocabulary
    settings._attn_implementation = "sdpa"
    return CLASSES["pythia"](settings).eval().requires_grad_(False)


@pytest.mark.parametrize(("batch_size", "positions"), [(1, 256), (5, 256), (12, 17)])
def test_a_large_vocabulary_equals_generate_and_plain_forward(monkeypatch, batch_size, positions):
    monkeypatch.setitem(forward.LOGITS, "cpu", 5003 * 9)
    monkeypatch.setattr(forward, "POSITIONS", positions)
    model = wide(5003)
    c = Checkpoint("wide", model, POSITIONS, None, 5003, checkpoint("pythia").condition)
    tokens, prefix, expected = windows(model, ROWS, (8, 32), (20, 32))
    got = score(c, tokens, prefix, batch_size=batch_size)
    first = first_mismatch(got.match, got.n)
    assert (first == got.n).any() and ((first > 0) & (first < got.n)).any()
    for row, (t, p) in enumerate(zip(tokens, prefix, strict=True)):
        n, want = len(t) - p, plain(model, t, p)
        np.testing.assert_array_equal(got.generated[row, :n], expected[row])
        found = {name: getattr(got, name)[row, :n] for name in COLUMNS[1:]}
        np.testing.assert_array_equal(got.match[row, :n], want["top1"] == t[p:])
        agree(found | {"top1": want["top1"]}, want, rtol=1e-4, atol=1e-4)
    assert np.isneginf(got.log_p[got.inside]).any()


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
