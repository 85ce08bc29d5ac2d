"""Short-circuiting against its plain definition: full forwards of the unmodified model under a mask that, in the
blocks of a range, shows each position only itself."""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from compute.benchmarks import _rows, short_circuited
from compute.blocks import Blocks
from compute.bounds import Bounds, _mlp, _norm, _spectral
from compute.experiments.short_circuit import ranges
from compute.families import parts
from compute.forward import batch
from compute.run import execute, held, plan, planned
from compute.short_circuit import short_circuit, states_after
from tests.ingest.here import run_here
from warehouse.errors import BadInput, Conflict, UnknownName

from .small_lake import ROWS, scored
from .tiny import FAMILIES, LAYERS, POSITIONS, checkpoint, windows

CUTS = [(1, 1), (0, 1), (0, 0)]  # in no order
CASES = [(family, kernel, see) for family in FAMILIES for kernel in parts(family).kernels for see in (7, POSITIONS)]


@contextmanager
def masked(blocks: Blocks, cut: tuple[int, int] | None, slots: int):
    """While this lasts, attention in the blocks of `cut` sees its own position only, by a mask."""
    alone = torch.full((slots, slots), torch.finfo(torch.float32).min).fill_diagonal_(0)[None, None]
    with ExitStack() as hooks:
        for layer in range(cut[0], cut[1] + 1) if cut else ():
            module = blocks.attention(layer)
            hook = module.register_forward_pre_hook(
                lambda _, a, k: (a, k | {"attention_mask": alone}), with_kwargs=True
            )
            hooks.callback(hook.remove)
        yield


@torch.inference_mode()
def plain(c, ids: torch.Tensor, cut: tuple[int, int] | None) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Logits, and what leaves each block."""
    blocks = Blocks(c)
    left: list[torch.Tensor] = []
    with masked(blocks, cut, ids.shape[1]), ExitStack() as hooks:
        for block in blocks.blocks:
            hook = block.register_forward_hook(lambda _, a, out: left.append(out[0] if isinstance(out, tuple) else out))
            hooks.callback(hook.remove)
        logits = c.model(ids, use_cache=False).logits
    return logits, left


@pytest.mark.parametrize(("family", "kernel", "see"), CASES)
@torch.inference_mode()
def test_logits_are_those_of_full_forwards_under_a_mask(family, kernel, see):
    c = checkpoint(family, see=see, attention=kernel)
    blocks = Blocks(c)
    ids = torch.from_numpy(np.random.default_rng(3).integers(1, 97, (3, 31)))
    trace = blocks.trace(ids)
    *_, (_, states) = states_after(blocks, trace, CUTS)
    clean, _ = plain(c, ids, None)
    for i, cut in enumerate(CUTS):
        expected, left = plain(c, ids, cut)
        assert (expected - clean).abs().max() > 1e-2
        got = c.model.get_output_embeddings()(blocks.norm(states[i]))
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-5 * max(1.0, float(expected.abs().max())))
        torch.testing.assert_close(states[i], left[-1], rtol=0, atol=1e-5 * max(1.0, float(left[-1].abs().max())))


@pytest.mark.parametrize("family", FAMILIES)
def test_read_outs_are_those_of_full_forwards_under_a_mask(family, monkeypatch):
    c = checkpoint(family, see=7)
    tokens, prefix, _ = windows(c.model, 7, (4, 9), (3, 12))
    expected = [[by_hand(c, t, p, cut) for t, p in zip(tokens, prefix, strict=True)] for cut in CUTS]
    n = np.array([len(t) for t in tokens]) - prefix
    for batch_size, fits in ((None, 10**6), (3, 10**6), (1, 1), (None, 15)):  # all ranges at once; one by one; two
        monkeypatch.setattr("compute.short_circuit.fitting", lambda *_, fits=fits: fits)
        got = short_circuit(c, tokens, prefix, CUTS, batch_size=batch_size)
        for i, rows in enumerate(expected):
            for j, row in enumerate(rows):
                assert got.n_match[i, j] == row["n_match"]
                np.testing.assert_allclose(got.entropy[i, j], row["entropy"], rtol=1e-4, atol=1e-4)
                np.testing.assert_allclose(got.delta_logprob[i, j], row["delta_logprob"], rtol=1e-4, atol=1e-4)
                np.testing.assert_allclose(got.difference[i, j], row["difference"], rtol=1e-4, atol=1e-5)
        assert (got.difference[0, :, 0] == 0).all()
        assert (got.difference[1:] > 0).all()
    # neither all nor nothing, so that an accuracy cut off to 0 or 1 would show; entropy summed over positions
    assert ((got.n_match > 0) & (got.n_match < n)).any()
    assert (got.entropy > 1.5 * np.log(97)).any()


def test_out_of_memory_halves_the_windows_and_goes_on(monkeypatch):
    c = checkpoint("olmo")
    tokens, prefix, _ = windows(c.model, 7, (4, 9), (3, 12))
    expected = short_circuit(c, tokens, prefix, CUTS)
    run, most = Blocks.run, 4

    def small(self, trace, layer, hidden, heads=None):
        if len(hidden) > most:
            raise torch.cuda.OutOfMemoryError
        return run(self, trace, layer, hidden, heads)

    monkeypatch.setattr(Blocks, "run", small)
    got = short_circuit(c, tokens, prefix, CUTS)
    assert (got.n_match == expected.n_match).all()
    for name in ("entropy", "delta_logprob", "difference", "bound"):
        np.testing.assert_allclose(getattr(got, name), getattr(expected, name), rtol=1e-4, atol=1e-4)
    most = 0
    with pytest.raises(BadInput, match="does not fit this GPU"):
        short_circuit(c, tokens, prefix, CUTS)


@torch.inference_mode()
def by_hand(c, tokens: np.ndarray, prefix: int, cut: tuple[int, int]) -> dict:
    """One window alone, in float64 after the model."""
    ids, target = torch.from_numpy(tokens)[None, :-1], torch.from_numpy(tokens[prefix:])
    (clean, before), (logits, after) = plain(c, ids, None), plain(c, ids, cut)
    logp, clean_logp = (x[0, prefix - 1 :].double().log_softmax(-1) for x in (logits, clean))
    at = torch.arange(len(target))
    moved = [
        (a - b)[0, prefix - 1 :].double().square().sum(-1).mean().sqrt() for a, b in zip(after, before, strict=True)
    ]
    return {
        "n_match": int((logp.argmax(-1) == target).sum()),
        "entropy": float(-(logp.exp() * logp).sum()),
        "delta_logprob": float((logp[at, target] - clean_logp[at, target]).sum()),
        "difference": np.array(moved),
    }


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


def test_ranges():
    assert ranges((), 3) == [[0, 0], [1, 1], [2, 2]]
    assert ranges(("2", "0-2", "2-2", "0-1"), 3) == [[0, 1], [0, 2], [2, 2]]
    for text in ("3", "1-3", "2-1", "-1", "a", "0-", "0,1"):
        with pytest.raises(BadInput, match="0 to 2, one as 3 or a range as 3-8"):
            ranges((text,), 3)


@pytest.fixture(scope="module")
def here():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("compute.run.run", run_here)
        patch.setattr("tests.compute.small_lake.run", run_here)
        yield


def deltas(lake, order="first_block, last_block, sequence_id") -> list[dict]:
    with lake.connect() as con:
        return con.execute(f"from stored.block_deltas order by {order}").to_arrow_table().to_pylist()


@pytest.fixture(scope="module")
def road(here, tmp_path_factory):
    return scored(tmp_path_factory.mktemp("circuit"), "gpt_neo")


def test_every_block_has_rows_for_every_memorized_sequence(road):
    lake, request = road
    assert execute(lake, "short_circuit", replace(request, batch_size=3)).done
    rows = deltas(lake)
    with lake.connect() as con:
        memorized = con.execute(
            "select sequence_id, n_tokens from stored.matches where memorized order by sequence_id"
        ).fetchall()
    assert 0 < len(memorized) < ROWS
    assert [(r["first_block"], r["last_block"], r["sequence_id"], r["n_tokens"]) for r in rows] == [
        (layer, layer, *m) for layer in range(LAYERS) for m in memorized
    ]
    assert len({r["n_match"] for r in rows}) > 2
    assert all(r["memorized"] == (r["n_match"] == r["n_tokens"]) for r in rows)
    assert all(d <= b for r in rows for d, b in zip(r["output_difference"], r["output_bound"], strict=True))
    # a range more: only it is run, on the same sequences
    more = replace(request, options={"blocks": ("0-1", "1")})
    cells, todo = plan(lake, "short_circuit", more)
    assert [c.settings["blocks"] for c in cells if c.id in todo] == [[[0, 1]]]
    assert len(cells) == 2
    summary = execute(lake, "short_circuit", more)
    assert (len(summary.done), summary.skipped) == (1, 1)
    assert len(deltas(lake)) == len(rows) + len(memorized)
    assert plan(lake, "short_circuit", replace(request, options={"blocks": ("0", "0-1")}))[1] == set()
    with pytest.raises(Conflict, match="--among memorized already"):
        plan(lake, "short_circuit", replace(request, options={"among": "contrast"}))


def test_on_a_control_corpus_all_sequences_are_measured(here, tmp_path):
    lake, request = scored(tmp_path, "starcoder", miniature=False)
    (cell,) = plan(lake, "short_circuit", request)[0]
    assert cell.settings["among"] == "memorized"  # nothing is known of the corpus
    lake.register("model_corpora", [{"model": "tiny", "corpus": "mine", "role": "control"}])
    assert execute(lake, "short_circuit", request).done
    assert len(deltas(lake)) == ROWS * LAYERS
    with lake.connect() as con:
        off = con.execute(
            "select max(abs(m.sum_logprob + d.delta_logprob)), min(d.delta_logprob)"
            " from stored.block_deltas d join stored.matches m using (sequence_id)"
        ).fetchone()
    assert off[0] > 0 > off[1]


def test_what_a_user_can_mend(road, monkeypatch):
    lake, request = road
    for options, message in (
        ({"among": "some"}, "memorized, contrast or all"),
        ({"blocks": ("7",)}, "no blocks '7': they are 0 to 1"),
    ):
        with pytest.raises(BadInput, match=message):
            plan(lake, "short_circuit", replace(request, options=options))
    monkeypatch.setattr("compute.checkpoint.known_model", lambda *_: None)
    with pytest.raises(BadInput, match="not scored yet: run `memlake compute run scoring --model"):
        plan(lake, "short_circuit", request)


def test_generation_is_that_without_a_cache():
    """A cache is as long as the keys of its first block, of which a short-circuited block has none."""
    c = checkpoint("pythia")
    ids = torch.arange(1, 9)[None]
    expected = ids
    for _ in range(6):
        logits, _ = plain(c, expected, (0, 0))
        expected = torch.cat([expected, logits[:, -1:].argmax(-1)], dim=1)
    settings = {"do_sample": False, "max_new_tokens": 6, "eos_token_id": None, "pad_token_id": 0, "use_cache": True}
    whole = c.model.generate(ids, **settings)
    with short_circuited(c, Blocks(c), (0, 0)):
        assert c.model.generate(ids, **settings).tolist() == expected.tolist() != whole.tolist()
    assert c.model.generate(ids, **settings).tolist() == whole.tolist()


def test_rows_of_what_lm_eval_gives():
    results = {
        "results": {
            "cloze": {"alias": "cloze", "acc,none": 0.25, "acc_stderr,none": 0.1, "exact_match,strict": 1},
            "both": {"alias": "both", "acc,none": 0.5, "acc_stderr,none": "N/A"},
        },
        "n-samples": {"cloze": {"original": 9, "effective": 8}, "quiz": {"original": 4, "effective": 4}},
        "group_subtasks": {"cloze": [], "both": ["cloze", "quiz"]},
    }
    assert list(_rows(results)) == [
        {"task": "cloze", "metric": "acc,none", "value": 0.25, "stderr": 0.1, "n": 8},
        {"task": "cloze", "metric": "exact_match,strict", "value": 1.0, "stderr": None, "n": 8},
        {"task": "both", "metric": "acc,none", "value": 0.5, "stderr": None, "n": 12},
    ]


def test_a_task_without_lm_eval(road, monkeypatch):
    lake, request = road
    monkeypatch.setattr("compute.benchmarks.find_spec", lambda _: None)
    with pytest.raises(BadInput, match=r"run `pip install 'memlake\[benchmarks\]'`") as raised:
        plan(lake, "short_circuit", replace(request, options={"task": ("hellaswag",)}))
    assert "\n" not in str(raised.value)


TASK = """
task: next_word
dataset_path: json
dataset_kwargs:
  data_files: {data}
test_split: train
output_type: multiple_choice
doc_to_text: "{{{{context}}}}"
doc_to_choice: choices
doc_to_target: label
metric_list:
  - metric: acc
"""


def test_a_task_of_lm_eval_on_the_whole_model_and_on_every_block(road, tmp_path, monkeypatch):
    pytest.importorskip("lm_eval")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    lake, request = road
    rng = np.random.default_rng(0)
    examples = [
        {"context": " ".join(f"w{i}" for i in c), "choices": [f"w{i}" for i in two], "label": int(label)}
        for c, two, label in zip(
            rng.integers(1, 97, (25, 6)), rng.integers(1, 97, (25, 2)), rng.integers(0, 2, 25), strict=True
        )
    ]
    (tmp_path / "data.json").write_text("\n".join(map(json.dumps, examples)))
    task = tmp_path / "next_word.yaml"
    task.write_text(TASK.format(data=tmp_path / "data.json"))
    first = replace(request, options={"task": (str(task),), "blocks": ("0",)})
    summary = execute(lake, "short_circuit", first)
    assert not summary.failed, summary.failed
    both = replace(request, options={"task": (str(task),), "blocks": ("0", "1", "0-1")})
    cells, todo = plan(lake, "short_circuit", both)
    assert [c.settings["blocks"] for c in cells if c.id in todo and "task" in c.settings] == [[[0, 1], [1, 1]]]
    summary = execute(lake, "short_circuit", replace(both, batch_size=7))
    assert not summary.failed, summary.failed
    (cell,) = [c for c in cells if c.id in todo and "task" in c.settings]
    c, _ = held(lake, cell)
    with lake.connect() as con:
        got = con.execute(
            "select first_block, last_block, task, metric, value, n from stored.benchmark_scores"
        ).fetchall()
    expected = set()
    for cut in (None, (0, 0), (1, 1), (0, 1)):
        right = 0
        for example in examples:
            ids, options = ([int(w[1:]) for w in words] for words in (example["context"].split(), example["choices"]))
            logits, _ = plain(c, torch.tensor([ids]), cut)
            right += int(logits[0, -1, options].argmax()) == example["label"]
        expected.add((*(cut or (None, None)), "next_word", "acc,none", right / 25, 25))
    assert set(got) == expected
    assert len(got) == 4
    assert len({row[4] for row in got}) > 2
    assert plan(lake, "short_circuit", both)[1] == set()
    assert {r["state"] for r in planned(lake, "short_circuit", both).to_pylist()} == {"done"}
    with pytest.raises(UnknownName, match="did you mean 'hellaswag'"):
        plan(lake, "short_circuit", replace(request, options={"task": ("helaswag",)}))
    with pytest.raises(BadInput, match="no task file"):
        plan(lake, "short_circuit", replace(request, options={"task": (str(tmp_path / "none.yaml"),)}))
