"""Sequences that a model cannot take: the others are measured, these are counted with their reasons."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from memlake.compute.planning.request import Request
from memlake.compute.run import execute, plan, planned
from memlake.tests.compute import small_lake
from memlake.tests.compute.models.test_identity import ask
from memlake.tests.compute.small_lake import ROWS, make, said, save
from memlake.tests.compute.tiny import POSITIONS, VOCAB, windows
from memlake.warehouse.errors import BadInput
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.check import check

BEYOND, LONG, EDGE, BARE = 2, 5, ROWS - 1, 7  # ranks: a token beyond the vocabulary (also EDGE), too long, no prompt
REASONS = {
    BEYOND: "a token beyond the vocabulary of the model",
    EDGE: "a token beyond the vocabulary of the model",
    LONG: "longer than the positions of the model",
    BARE: "no prompt, so that nothing predicts its first token (--bos would)",
}


@pytest.fixture
def mixed(tmp_path, monkeypatch) -> tuple[Lake, Request, dict[int, int]]:
    """A lake with windows of which a tiny checkpoint can take all but four; how many tokens each it can has."""
    model = save(tmp_path / "tiny")

    def mixing(model, *lengths):
        tokens, prefix, made = windows(model, *lengths)
        tokens[BEYOND][3], tokens[EDGE][-1] = VOCAB, VOCAB + 7
        tokens[LONG] = np.resize(tokens[LONG], POSITIONS + 1)
        prefix[BARE] = 0
        return tokens, prefix, made

    monkeypatch.setattr(small_lake, "windows", mixing)
    lake, tokens, prefix, _ = make(tmp_path / "lake", model, tmp_path / "tiny")
    request = Request(models=(str(tmp_path / "tiny"),), corpora=("mine",), device="cpu")
    return (
        lake,
        request,
        {r: len(t) - p for r, (t, p) in enumerate(zip(tokens, prefix, strict=True)) if r not in REASONS},
    )


def measured(lake: Lake, table: str) -> set[int]:
    sql = f"select distinct rank from stored.{table} join stored.sequences using (sequence_id)"
    return {rank for (rank,) in ask(lake, sql)}


def test_the_others_are_scored_and_these_counted(mixed, capsys):
    lake, request, fits = mixed
    assert planned(lake, "scoring", request)["sequences"].to_pylist() == [len(fits)]
    capsys.readouterr()
    assert len(execute(lake, "scoring", request).done) == 1
    assert measured(lake, "matches") == set(fits)
    assert said(capsys) == [
        "tiny cannot take 2 sequences of mine (code), see `rejects`: a token beyond the vocabulary of the model",
        "tiny cannot take 1 sequence of mine (code), see `rejects`: longer than the positions of the model",
        f"tiny cannot take 1 sequence of mine (code), see `rejects`: {REASONS[BARE]}",
    ]
    rejects = ask(lake, "select position, reason, source, head from stored.rejects")
    assert {position: reason for position, reason, *_ in rejects} == REASONS
    assert {source for *_, source, _ in rejects} == {"code/words/s/tiny/float32-sdpa"}
    assert all(head.startswith(b"[") and len(head) <= 200 for *_, head in rejects)
    assert execute(lake, "scoring", request).skipped == 1
    assert list(check(lake)) == []
    (cell,), todo = plan(lake, "scoring", request)
    assert not todo
    assert ask(lake, f"select rows from stored.cells where cell = '{cell.id}'") == [(ROWS,)]


def test_a_prompt_of_nothing_but_bos_is_one(mixed):
    lake, request, fits = mixed
    assert execute(lake, "scoring", replace(request, bos=True)).done
    assert measured(lake, "matches") == {*fits, BARE}
    assert execute(lake, "scoring", request).done  # under the other condition one more is left out
    assert len(ask(lake, "from stored.rejects")) == 3 + 4


@pytest.mark.parametrize(
    ("experiment", "options", "table"),
    [
        ("layer_tokens", {"among": "all"}, "layer_tokens"),
        ("short_circuit", {"among": "all", "blocks": ("1",)}, "block_deltas"),
        ("head_ablation", {"among": "all", "method": "mean"}, "head_deltas"),
        ("noise", {"among": "all", "strength": (0.1,), "seed": (0,)}, "layer_similarity"),
        ("prompt_compression", {}, "prompt_compression"),
    ],
)
def test_what_is_measured_inside_leaves_them_out(mixed, experiment, options, table):
    lake, request, fits = mixed
    execute(lake, "scoring", request)
    summary = execute(lake, experiment, replace(request, options=options))
    assert summary.done, summary.failed
    memorized = {r for (r,) in ask(lake, "select rank from stored.matches join stored.sequences using (sequence_id)"
                                         " where memorized and condition = 'float32-sdpa'")}  # fmt: skip
    assert measured(lake, table) == (memorized if experiment == "prompt_compression" else set(fits))
    assert list(check(lake)) == []


def test_where_it_can_take_none_that_is_one_line(mixed):
    lake, request, _ = mixed
    folder = lake.path.parent / "tiny"
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 8}))
    with pytest.raises(BadInput, match=r"tiny can take no sequence of mine: longer than the positions of the model$"):
        plan(lake, "scoring", request)
