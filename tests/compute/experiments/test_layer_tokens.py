"""The lens against a plain one: output_hidden_states, the final norm by hand, numpy in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from memlake.compute.interventions import lens as lens_module
from memlake.compute.interventions.lens import Lens, decode
from memlake.compute.planning.chosen import chosen
from memlake.compute.run import execute, plan
from memlake.tests.compute.small_lake import ROWS, scored
from memlake.tests.compute.tiny import FAMILIES, LAYERS, VOCAB, checkpoint, windows
from memlake.warehouse.errors import BadInput

COLUMNS = ("top1", "probability", "rank", "entropy", "kl")


def norm(model, hidden: np.ndarray) -> np.ndarray:
    """The norm before the unembedding, by hand: only Llama's and OLMo 2's and 3's do not centre."""
    kind = model.config.model_type
    module = next(m for name, m in model.base_model.named_modules() if name in ("norm", "ln_f", "final_layer_norm"))
    if kind in ("llama", "olmo2", "olmo3"):
        return hidden / np.sqrt((hidden**2).mean(-1, keepdims=True) + module.variance_epsilon) * module.weight.numpy()
    centred = hidden - hidden.mean(-1, keepdims=True)
    out = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return out if kind == "olmo" else out * module.weight.numpy() + module.bias.numpy()


def log_softmax(logits: np.ndarray) -> np.ndarray:
    top = logits.max(-1, keepdims=True)
    return logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))


def plain(model, tokens: np.ndarray, prefix: int) -> dict[str, np.ndarray]:
    """The columns for one window, [positions, entries], everything after the hidden states in float64."""
    blocks = model.base_model.get_submodule("layers" if hasattr(model.base_model, "layers") else "h")
    last = []  # hidden_states[-1] is normalised already
    hook = blocks[-1].register_forward_hook(lambda _, args, out: last.append(out[0] if isinstance(out, tuple) else out))
    out = model(torch.from_numpy(tokens)[None, :-1], output_hidden_states=True, use_cache=False)
    hook.remove()
    states = [*out.hidden_states[:-1], *last]
    unembed = model.get_output_embeddings().weight.double().numpy()
    logits = np.stack([norm(model, h[0, prefix - 1 :].double().numpy()) @ unembed.T for h in states], axis=1)
    np.testing.assert_allclose(logits[:, -1], out.logits[0, prefix - 1 :].numpy(), atol=1e-4)
    logp = log_softmax(logits)
    target = tokens[prefix:]
    at_target = logits[np.arange(len(target)), :, target][..., None]
    before = np.arange(VOCAB) < target[:, None, None]  # Llama's token 5 is embedded as zeros: all its logits are equal
    p = np.exp(logp)
    return {
        "top1": logits.argmax(-1),
        "probability": p[np.arange(len(target)), :, target],
        "rank": 1 + ((logits > at_target) | ((logits == at_target) & before)).sum(-1),
        "entropy": -(p * logp).sum(-1),
        "kl": (p[:, -1:] * (logp[:, -1:] - logp)).sum(-1),
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_reads_as_by_hand(family, monkeypatch):
    c = checkpoint(family, see=7)
    with torch.no_grad():  # a norm that changes something
        for name, p in c.model.base_model.named_parameters():
            if "norm" in name or "ln_" in name:
                p += 0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(len(name)))
    tokens, prefix, _ = windows(c.model, 7, (4, 9), (3, 8))
    expected = [plain(c.model, t, p) for t, p in zip(tokens, prefix, strict=True)]
    monkeypatch.setitem(lens_module.LOGITS, "cpu", 5 * VOCAB)  # five positions at once: pieces end amid a window
    for batch_size in (None, 1, 3):
        lens = decode(c, tokens, prefix, batch_size=batch_size)
        assert lens.n.tolist() == [len(t) - p for t, p in zip(tokens, prefix, strict=True)]
        assert lens.target.tolist() == [x for t, p in zip(tokens, prefix, strict=True) for x in t[p:]]
        for name in COLUMNS:
            by_hand = np.concatenate([e[name] for e in expected])
            got = getattr(lens, name)
            assert got.shape == by_hand.shape == (lens.n.sum(), LAYERS + 1)
            if name in ("top1", "rank"):
                np.testing.assert_array_equal(got, by_hand)
            else:
                np.testing.assert_allclose(got, by_hand, rtol=1e-4, atol=1e-5)
        assert (lens.kl[:, -1] == 0).all()
        assert lens.kl[:, 0].min() > 0.01
    assert len(np.unique(lens.rank)) > 10


def test_of_equal_logits_the_lowest_id_comes_first():
    c = checkpoint("open_llama")
    with torch.no_grad():
        c.model.get_output_embeddings().weight[:] = 0
        c.model.get_output_embeddings().weight[50:] = c.model.get_output_embeddings().weight[50:] + torch.ones(32)
    lens = decode(c, [np.array([1, 2, 49, 50, 60, 96])], np.array([2]))
    # 47 logits are equal, and the other 50: which are above depends on the sign of the states' sum
    low = lens.top1 == 0
    assert set(np.unique(lens.top1)) <= {0, 50}
    assert low.any()
    assert not low.all()
    above = np.where(low, [[50], [1], [11], [47]], [[97], [1], [11], [47]])
    above[1:][low[1:]] += 50
    assert lens.rank.tolist() == above.tolist()


def test_first_layer():
    top1 = np.array([[4, 4, 4, 4], [1, 4, 4, 4], [4, 4, 1, 4], [4, 1, 4, 4], [1, 2, 3, 4]])
    none = np.zeros((5, 4))
    assert Lens(np.array([5]), np.zeros(5), top1, none, none, none, none).first_layer.tolist() == [0, 1, 3, 2, 3]


def test_logits_that_are_no_numbers():
    c = checkpoint("pythia")
    with torch.no_grad():
        c.model.base_model.layers[0].mlp.dense_h_to_4h.weight[0, 0] = torch.nan
    with pytest.raises(BadInput, match="NaN or infinite"):
        decode(c, [np.arange(1, 9)], np.array([3]))


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    return scored(tmp_path_factory.mktemp("lens"), "olmo2")


def test_rows_of_the_lake(road):
    lake, request = road
    (cell,), todo = plan(lake, "layer_tokens", request)
    assert todo == {cell.id}
    for options in ({}, {"among": "memorized"}):  # what is there holds more
        summary = execute(lake, "layer_tokens", replace(request, batch_size=3, options=options))
        assert not summary.failed
    assert summary.skipped == 1
    sequences = chosen(lake, cell.settings, cell.settings.choice, "words", "tokens, prefix_tokens, n_tokens")
    assert 0 < sequences["memorized"].to_numpy().sum() < sequences.num_rows < ROWS
    with lake.connect() as con:
        table = con.execute("from stored.layer_tokens order by sequence_id, position").to_arrow_table()
        matches = dict(con.execute("select sequence_id, logprobs from stored.matches").fetchall())
    assert table.num_rows == cell.expected["layer_tokens"] == sum(sequences["n_tokens"].to_pylist())
    rows = table.to_pylist()
    c, _ = cell.load(lake)
    seen = {}
    for s in sequences.to_pylist():
        seen |= {(s["sequence_id"], i): (s, i) for i in range(s["n_tokens"])}
    assert {(r["sequence_id"], r["position"]) for r in rows} == set(seen)
    for r in rows:
        s, i = seen[r["sequence_id"], r["position"]]
        assert r["target"] == s["tokens"][s["prefix_tokens"] + i]
        assert (r["model"], r["corpus"], r["domain"], r["condition"]) == ("tiny", "mine", "code", "float32-sdpa")
        # what scoring found of the model's own output
        np.testing.assert_allclose(np.log(r["target_probability"][-1]), matches[s["sequence_id"]][i], atol=1e-4)
    one = sequences.to_pylist()[-1]
    by_hand = plain(c.model, np.array(one["tokens"]), one["prefix_tokens"])
    got = [r for r in rows if r["sequence_id"] == one["sequence_id"]]
    assert [r["target_rank"] for r in got] == by_hand["rank"].tolist()
    np.testing.assert_allclose([r["kl_to_final"] for r in got], by_hand["kl"], rtol=1e-4, atol=1e-5)


def test_what_a_user_can_mend(road):
    lake, request = road
    with pytest.raises(BadInput, match="memorized, contrast or all"):
        plan(lake, "layer_tokens", replace(request, options={"among": "some"}))
