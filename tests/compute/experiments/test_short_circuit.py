"""Short-circuiting against its plain definition: full forwards of the unmodified model under a mask that, in the
blocks of a range, shows each position only itself."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from memlake.compute.engine.blocks import Blocks
from memlake.compute.experiments.short_circuit import ranges
from memlake.compute.families import parts
from memlake.compute.interventions.short_circuit import short_circuit, states_after
from memlake.compute.run import execute, plan
from memlake.tests.compute.small_lake import ROWS, scored
from memlake.tests.compute.tiny import FAMILIES, LAYERS, POSITIONS, checkpoint, windows
from memlake.warehouse.errors import BadInput
from memlake.warehouse.publishing.register import register

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
        monkeypatch.setattr("memlake.compute.interventions.short_circuit.fitting", lambda *_, fits=fits: fits)
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


def test_ranges():
    assert ranges((), 3) == ((0, 0), (1, 1), (2, 2))
    assert ranges(("2", "0-2", "2-2", "0-1"), 3) == ((0, 1), (0, 2), (2, 2))
    for text in ("3", "1-3", "2-1", "-1", "a", "0-", "0,1"):
        with pytest.raises(BadInput, match="0 to 2, one as 3 or a range as 3-8"):
            ranges((text,), 3)


def deltas(lake, order="first_block, last_block, sequence_id") -> list[dict]:
    with lake.connect() as con:
        return con.execute(f"from stored.block_deltas order by {order}").to_arrow_table().to_pylist()


@pytest.fixture(scope="module")
def road(tmp_path_factory):
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
    assert [c.settings.blocks for c in cells if c.id in todo] == [((0, 1),)]
    assert len(cells) == 2
    summary = execute(lake, "short_circuit", more)
    assert (len(summary.done), summary.skipped) == (1, 1)
    assert len(deltas(lake)) == len(rows) + len(memorized)
    assert plan(lake, "short_circuit", replace(request, options={"blocks": ("0", "0-1")}))[1] == set()


def test_on_a_control_corpus_all_sequences_are_measured(tmp_path):
    lake, request = scored(tmp_path, "starcoder", miniature=False)
    (cell,) = plan(lake, "short_circuit", request)[0]
    assert cell.settings.among == "memorized"  # nothing is known of the corpus
    register(lake, "model_corpora", [{"model": "tiny", "corpus": "mine", "role": "control"}])
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
    monkeypatch.setattr("memlake.compute.run.known_model", lambda *_: None)
    with pytest.raises(BadInput, match="not scored yet: run `memlake compute run scoring --model"):
        plan(lake, "short_circuit", request)
