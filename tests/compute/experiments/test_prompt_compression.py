"""Shortened prompts against plain `generate`, one prompt at a time, and the rows that are published."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from memlake.compute.experiments.prompt_compression import successes
from memlake.compute.families import parts
from memlake.compute.run import execute, plan
from memlake.tests.compute.small_lake import scored
from memlake.tests.compute.tiny import FAMILIES, VOCAB, checkpoint, generated
from memlake.warehouse.errors import BadInput

# Each family with each kernel, prompts within and beyond the window of local and sliding blocks
CASES = [(family, kernel, 256) for family in FAMILIES for kernel in parts(family).kernels]
CASES += [("gpt_neo", "eager", 4), ("olmo3", "sdpa", 4), ("olmo3", "eager", 4)]
BOS = 7
ROWS = 8


def start(prompt: np.ndarray, k: int, window: str, bos: int | None) -> np.ndarray:
    """What a user prompts with: k tokens of the prompt."""
    kept = prompt[-k:] if window == "suffix" else prompt[:k]
    return kept if bos is None else np.concatenate([[bos], kept])


def sample(model, window: str, rows: int = ROWS, bos: int | None = None) -> tuple[list[np.ndarray], np.ndarray]:
    """Prompts of 1 to 9 tokens with what the model generates from a part of each: a random model does not generate the
    same from other parts, so that of most prompts one length suffices, and longer ones do not."""
    rng = np.random.default_rng(5)
    tokens, prefix = [], np.arange(rows) * 5 % 9 + 1
    for p in prefix:
        prompt, k = rng.integers(1, VOCAB, p), int(rng.integers(1, p + 1))
        made = generated(model, start(prompt, k, window, bos), int(rng.integers(2, 6)))
        tokens.append(np.concatenate([prompt, made]))
    return tokens, prefix


def plainly(model, tokens: list[np.ndarray], prefix: np.ndarray, window: str, bos: int | None = None) -> np.ndarray:
    out = np.arange(prefix.max()) == prefix[:, None] - 1  # the whole prompt suffices by definition
    for row, (t, p) in enumerate(zip(tokens, prefix, strict=True)):
        for k in range(1, p):
            out[row, k - 1] = (generated(model, start(t[:p], k, window, bos), len(t) - p) == t[p:]).all()
    return out


@pytest.mark.parametrize(
    ("family", "kernel", "see", "window"),
    [(*case, window) for case, window in zip(CASES, ["suffix", "prefix"] * len(CASES), strict=False)],
)
def test_equals_generate_from_each_shortened_prompt(family, kernel, see, window):
    c = checkpoint(family, see, kernel)
    tokens, prefix = sample(c.model, window)
    expected = plainly(c.model, tokens, prefix, window)
    np.testing.assert_array_equal(successes(c, tokens, prefix, window, batch_size=7), expected)
    inside = np.arange(expected.shape[1]) < prefix[:, None]
    assert (expected[:, :-1] & ~expected[:, 1:] & inside[:, 1:]).any(), "a longer prompt may fail where a shorter does"


@pytest.mark.parametrize("window", ["suffix", "prefix"])
def test_the_bos_token_stays_in_front(window):
    c = checkpoint("open_llama", bos=True)
    tokens, prefix = sample(c.model, window, bos=BOS)
    got = successes(c, tokens, prefix, window, bos_id=BOS)
    np.testing.assert_array_equal(got, plainly(c.model, tokens, prefix, window, bos=BOS))
    assert (got != successes(checkpoint("open_llama"), tokens, prefix, window)).any()


def test_does_not_depend_on_batches_or_order():
    c = checkpoint("olmo2")
    tokens, prefix = sample(c.model, "suffix", 2 * ROWS)
    whole = successes(c, tokens, prefix, "suffix")
    order = np.random.default_rng(0).permutation(2 * ROWS)
    for size in (1, 5):
        other = successes(c, [tokens[i] for i in order], prefix[order], "suffix", batch_size=size)
        np.testing.assert_array_equal(other, whole[order])


def test_prompts_of_one_token_cannot_be_shortened():
    got = successes(checkpoint("olmo"), [np.array([3, 4]), np.array([5, 6, 7])], np.array([1, 1]), "suffix")
    assert got.tolist() == [[True], [True]]


def single_tokens(model, rows: int, *_) -> tuple[list[np.ndarray], np.ndarray, list[np.ndarray]]:
    """As `tiny.windows`, with one token to generate: a random model may generate the same one after less. One row in
    four has another in its place."""
    rng = np.random.default_rng(2)
    prefix = rng.integers(1, 20, rows)
    prompts = [rng.integers(1, VOCAB, p) for p in prefix]
    made = [generated(model, prompt, 1) for prompt in prompts]
    rests = [(token + (i % 4 == 0)) % VOCAB for i, token in enumerate(made)]
    return [np.concatenate(pair) for pair in zip(prompts, rests, strict=True)], prefix, made


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("memlake.tests.compute.small_lake.windows", single_tokens)
        yield scored(tmp_path_factory.mktemp("road"))


@pytest.mark.parametrize("window", ["suffix", "prefix"])
def test_published_rows(lake, monkeypatch, window):
    monkeypatch.setattr("memlake.compute.experiments.prompt_compression.PIECE", 7)
    lake, request = lake
    request = replace(request, batch_size=3, options={"window": window})
    for limit in (8, None):  # what the first run measured is not measured again
        summary = execute(lake, "prompt_compression", replace(request, limit=limit))
        assert len(summary.done) == 1, summary.failed
    assert summary.skipped == 1
    with lake.connect() as con:
        rows = con.execute(
            'select tokens, s.prefix_tokens, c.prefix_tokens, shortest, ratio, "window", successes::bit::varchar'
            " from stored.prompt_compression c join stored.sequences s using (sequence_id)"
            ' where "window" = ? order by rank',
            [window],
        ).fetchall()
        (memorized,) = con.execute("select count(*) from stored.matches where memorized").fetchone()
    c = checkpoint("pythia")
    tokens, prefix = [np.array(row[0]) for row in rows], np.array([row[1] for row in rows])
    expected = plainly(c.model, tokens, prefix, window)
    assert len(rows) == memorized == 15
    assert 0 < (expected.argmax(-1) + 1 < prefix).sum() < 15
    for (_, p, stored, shortest, ratio, name, bits), want in zip(rows, expected, strict=True):
        assert (stored, name) == (p, window)
        assert bits == "".join("01"[int(s)] for s in want[:p]).ljust(-(-p // 8) * 8, "0")
        assert shortest == 1 + int(want.argmax())
        assert ratio == shortest / p


def test_what_a_user_can_mend(lake):
    lake, request = lake
    with pytest.raises(BadInput, match="it is suffix or prefix"):
        plan(lake, "prompt_compression", replace(request, options={"window": "middle"}))
    with pytest.raises(BadInput, match="is not scored for tiny under float32-eager"):
        plan(lake, "prompt_compression", replace(request, attention="eager"))
