"""What a study costs, where neither its checkpoints nor its corpora are here."""

from __future__ import annotations

import json
import socket
import sys
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from memlake.studies.plan import existing, items, summed, table
from memlake.studies.study import find, read
from memlake.tests.compute.miniatures.test_cells import put
from memlake.warehouse.lake import Lake

SEQUENCES = {"pythia": 17, "open_llama": 7, "starcoder": 86, "olmo-2-": 7 + 6, "olmo-3": 6, "olmo-": 7}  # domains
HEADS = {"pythia-1b": 16 * 8, "pythia-12b": 36 * 40, "olmo-2-0325-32b": 64 * 40}


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("a plan asks no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def planned(tmp_path, no_network):
    with existing(tmp_path / "none") as lake:
        yield items(lake, read(find("arxiv-2603.21658")), flops=3e14)
    assert not (tmp_path / "none").exists()


def test_the_study_of_the_paper_without_its_checkpoints_and_corpora(planned):
    scored = {item.model: item for item in planned if item.step.name == "scoring"}
    assert len(scored) == 20
    for model, item in scored.items():
        domains = next(n for prefix, n in SEQUENCES.items() if model.startswith(prefix))
        assert item.sequences == item.rows == 300_000 * domains, model
    twelve = scored["pythia-12b"]
    assert twelve.memory == 2 * 12_000_000_000
    # two forwards of 64 tokens, two operations for each parameter
    assert twelve.hours == pytest.approx(2 * 17 * 300_000 * 64 * 2 * 12e9 / 3e14 / 3600)
    assert twelve.cells == 17 * 8  # 14.5 hours of 17 domains: 51 minutes each, halved until each takes 10
    assert scored["pythia-410m"].cells == 17


def test_what_is_inside_stands_on_the_share_that_is_assumed(planned):
    by = {(item.step.name, item.model): item for item in planned}
    n = 17 * 300_000 // 50
    assert by["prompt_compression", "pythia-1b"].rows == n
    assert by["layer_tokens", "pythia-1b"].rows == 3 * n * 32
    assert by["noise", "pythia-1b"].rows == 5 * 3 * n * 3  # five strengths: a score, and prefix and continuation
    heads = {item.model: item for item in planned if item.step.name == "head_ablation"}
    assert len(heads) == 20 == sum(item.step.name == "head_ablation" for item in planned)
    assert heads["pythia-1b"].rows == 17 * (500 + 1) * HEADS["pythia-1b"]
    assert heads["pythia-12b"].rows == 17 * (120 + 1) * HEADS["pythia-12b"]
    assert heads["olmo-2-0325-32b"].rows == 13 * (120 + 1) * HEADS["olmo-2-0325-32b"]


def test_what_is_assumed_is_said(planned):
    lines = summed(planned)
    assert sum(line.startswith("note ") for line in lines) == 7 + 3  # domains; 16 bits, 2 %, and time of reading
    assert any("2 % memorized" in line for line in lines) and any("pile: 17 domains" in line for line in lines)
    short, full = table(planned), table(planned, short=False)
    assert short["notes"][0].as_py() == "1" and full["notes"][0].as_py() == "pile: 17 domains, as the study says"
    assert full.num_rows == len(planned)


def test_what_is_not_known_is_null(tmp_path, no_network):
    (tmp_path / "own.toml").write_text(
        'models = ["someone/else", "./not-here"]\n[corpora.c]\nsource = "jsonl"\n[experiments.head_ablation]\n'
        "[experiments.noise]\n[assume]\ndomains = 2\n"
    )
    with existing(tmp_path / "none") as lake:
        found = {(item.step.name, item.model): item for item in items(lake, read(tmp_path / "own.toml"))}
    stranger = found["scoring", "else"]
    assert (stranger.sequences, stranger.memory, stranger.hours) == (600_000, None, None)
    assert "its size is not known" in " ".join(stranger.notes)
    heads = found["head_ablation", "else"]
    assert (heads.rows, heads.bytes, heads.hours) == (None, None, None)
    away = found["scoring", "not-here"]
    assert away.rows is None and away.notes == ("there is no folder ./not-here",) and not away.complete


def test_a_model_of_unknown_size_beside_what_was_scored(tmp_path):
    """Nothing is near it in size."""
    lake = Lake.create(tmp_path / "lake")
    put(lake, "models", pa.table({"model": ["m"], "n_params": [1000]}))
    put(lake, "conditions", pa.table({"condition": ["float16-sdpa"], "dtype": ["float16"]}))
    settings = {"model": "m", "condition": "float16-sdpa", "decoding": "greedy"}
    put(lake, "cells", pa.Table.from_pylist([
        {"cell": "c", "experiment": "scoring", "settings": json.dumps(settings), "rows": 9, "seconds": 1.0,
         "device": "cpu", "outcome": "done", "finished_at": datetime(2026, 1, 1, tzinfo=UTC)}
    ]))  # fmt: skip
    (tmp_path / "own.toml").write_text('report = false\nmodels = "someone/else"\n[corpora.c]\n[assume]\ndomains = 2\n')
    found = items(lake, read(tmp_path / "own.toml"))
    assert [(item.hours, item.done) for item in found if item.model] == [(None, 0)]
    assert not [line for line in summed(found) if "of one process" in line]


def test_done_cells_are_those_of_the_study(tmp_path):
    """Of its corpora and its models' conditions."""
    lake = Lake.create(tmp_path / "lake")
    said = [("a", "float16-sdpa"), ("b", "float16-sdpa"), ("a", "float32-sdpa"), (None, "float16-sdpa")]
    put(lake, "cells", pa.Table.from_pylist([
        {"cell": str(i), "experiment": "scoring", "outcome": "done", "finished_at": datetime(2026, 1, 1, tzinfo=UTC),
         "settings": json.dumps({"model": "pythia-70m", "corpus": corpus, "condition": condition})}
        for i, (corpus, condition) in enumerate(said)
    ]))  # fmt: skip
    (tmp_path / "own.toml").write_text('models = "pythia-70m"\n[corpora.a]\n[assume]\ndomains = 2\n')
    (scored,) = [item for item in items(lake, read(tmp_path / "own.toml")) if item.model]
    assert scored.done == 2


def test_a_plan_loads_neither_torch_nor_transformers(tmp_path):
    import subprocess

    program = (
        "import sys; sys.argv = ['memlake', 'study', 'plan', 'arxiv-2603.21658', '--lake', sys.argv[1]]\n"
        "from memlake.cli import app\napp(standalone_mode=False)\n"
        "sys.exit(', '.join({'torch', 'transformers'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "none")], capture_output=True, text=True, env=None
    )
    assert done.returncode == 0, done.stderr
    assert "head_ablation" in done.stdout and "to do: " in done.stderr
