"""End-of-sequence forbidden: a condition of its own, and the same rule wherever a token is decided for."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import memlake
from memlake.compute.engine import forward
from memlake.compute.engine.scoring import score
from memlake.compute.experiments.prompt_compression import successes
from memlake.compute.interventions import ablation, lens, short_circuit
from memlake.compute.planning.request import Request
from memlake.compute.run import execute, plan
from memlake.tests.compute.models.test_identity import ask, edit
from memlake.tests.compute.small_lake import ROWS, make, save
from memlake.tests.compute.tiny import VOCAB, checkpoint, generated
from memlake.warehouse.errors import Conflict


@pytest.mark.parametrize("forbidden", [(), (3,), (3, 8, 99)])
def test_every_read_out_decides_among_the_same_tokens(forbidden):
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.integers(0, 4, (200, 12)).astype(np.float32))  # with many ties
    target = torch.from_numpy(rng.integers(0, 12, 200))
    allowed = logits.numpy().copy()
    allowed[:, [token for token in forbidden if token < 12]] = -np.inf
    best = allowed.argmax(-1)  # of equals the first
    logprob = logits.log_softmax(-1)[torch.arange(200), target]
    top1, found, *_, margin = forward._read_out(logits.clone(), target, forbidden)
    np.testing.assert_array_equal(top1, best)
    np.testing.assert_allclose(found, logprob, atol=1e-6)
    np.testing.assert_array_equal(margin, np.diff(np.sort(allowed)[:, -2:])[:, 0])
    np.testing.assert_array_equal(lens._read_out(logits, logits.log_softmax(-1), target, forbidden)[0], best)
    match, _, found = short_circuit._read_out(logits, target, forbidden)
    np.testing.assert_array_equal(match, best == target.numpy())
    np.testing.assert_array_equal(found, logprob)
    found, match = ablation._read_out(logits.clone(), target, forbidden)
    np.testing.assert_array_equal(match, best == target.numpy())
    np.testing.assert_allclose(found, logprob, atol=1e-5)


def test_shorter_prompts_are_judged_by_the_same_rule():
    c = checkpoint("pythia")
    rng = np.random.default_rng(3)
    prompts = [rng.integers(1, VOCAB, 6) for _ in range(16)]
    often = np.bincount(np.concatenate([generated(c.model, p, 8) for p in prompts]))
    end = np.argsort(-often)[:30].tolist()

    def made(prompt: np.ndarray) -> np.ndarray:
        options = {"min_new_tokens": 2, "max_new_tokens": 2, "eos_token_id": end, "pad_token_id": 0}
        return c.model.generate(torch.from_numpy(prompt)[None], do_sample=False, **options)[0, len(prompt) :].numpy()

    tokens = [np.concatenate([p, made(p)]) for p in prompts]
    found = successes(replace(c, forbidden=tuple(end)), tokens, np.full(16, 6), "suffix")
    want = [[np.array_equal(made(t[6 - k : 6]), t[6:]) for k in range(1, 7)] for t in tokens]
    np.testing.assert_array_equal(found, want)
    assert (found != successes(c, tokens, np.full(16, 6), "suffix")).any()


@pytest.fixture
def road(tmp_path, monkeypatch):
    model = save(tmp_path / "tiny")
    lake, tokens, prefix, made = make(tmp_path / "lake", model, tmp_path / "tiny")
    end = int(np.bincount(np.concatenate(made)).argmax())
    edit(tmp_path / "tiny" / "generation_config.json", eos_token_id=[end, 96])
    request = Request(models=(str(tmp_path / "tiny"),), corpora=("mine",), device="cpu")
    return lake, request, tokens, prefix, end


def test_its_rows_are_of_another_condition(road):
    lake, request, tokens, prefix, end = road
    execute(lake, "scoring", request)
    assert execute(lake, "scoring", replace(request, no_eos=True)).done
    rows = "select condition, count(*), count(*) filter (list_contains(generated, {})) from stored.matches group by all"
    (plain, forbidding) = sorted(ask(lake, rows.format(end)))
    assert plain[:2] == ("float32-sdpa", ROWS) and plain[2] > 0
    assert forbidding == ("float32-sdpa-noeos", ROWS, 0)
    assert ask(lake, "select condition, no_eos from stored.conditions order by all") == [
        ("float32-sdpa", None),
        ("float32-sdpa-noeos", True),
    ]
    assert set(memlake.open(lake.path).table("matches").to_pandas()["condition"]) == {"float32-sdpa"}
    want = score(replace(checkpoint("pythia"), forbidden=(end, 96)), tokens, prefix)
    found = ask(lake, "select generated from stored.matches join stored.sequences using (sequence_id)"
                      " where condition = 'float32-sdpa-noeos' order by rank")  # fmt: skip
    assert [g for (g,) in found] == [g[:n].tolist() for g, n in zip(want.generated, want.n, strict=True)]
    assert execute(lake, "scoring", replace(request, no_eos=True), base=True).skipped == 1
    assert execute(lake, "layer_tokens", replace(request, options={"among": "all"})).done  # as in the base condition
    assert ask(lake, "select distinct condition from stored.layer_tokens") == [("float32-sdpa-noeos",)]
    assert not ask(lake, f"from stored.layer_tokens where list_contains(top1, {end})")


def test_other_ids_for_end_of_sequence_matter_there_only(road):
    lake, request, *_, end = road
    execute(lake, "scoring", replace(request, no_eos=True, limit=5))
    execute(lake, "scoring", replace(request, no_eos=False, limit=5))
    path = lake.path.parent / "tiny" / "generation_config.json"
    path.write_text(json.dumps({"eos_token_id": end}))
    assert execute(lake, "scoring", replace(request, no_eos=False)).done
    with pytest.raises(Conflict, match=rf"EOS tokens was \[{end}, 96\], now \[{end}\]"):
        plan(lake, "scoring", replace(request, no_eos=True))


def test_without_such_a_token_it_is_one_line(road):
    lake, request, *_ = road
    folder = lake.path.parent / "tiny"
    (folder / "generation_config.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"eos_token_id": None}))
    ((_, reason),) = execute(lake, "scoring", replace(request, no_eos=True)).failed
    assert "tiny names no end-of-sequence token: use --eos" in reason
