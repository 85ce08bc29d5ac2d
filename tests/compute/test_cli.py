"""What the commands hand over."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from memlake.compute.cli import EXPERIMENT, app
from memlake.compute.planning.request import Request
from memlake.warehouse import shelf
from memlake.warehouse.errors import BadInput
from memlake.warehouse.lake import Lake
from memlake.warehouse.options import flag
from memlake.warehouse.work.runner import Summary

OPTIONS = {
    "models": ("a", "b"),
    "corpora": ("c",),
    "domains": ("d",),
    "limit": 3,
    "dtype": "bfloat16",
    "attention": "eager",
    "bos": True,
    "device": "cpu",
    "batch_size": 4,
    "family": "mine",
    "role": "control",
    "cell_minutes": 2.5,
    "options": {"decoding": "forced", "strength": (0.1, 0.3), "seed": (1,), "layer": 2},
}
OWN = ["--decoding", "forced", "--strength", "0.1", "--strength", "0.3", "--seed", "1", "--layer", "2"]
TYPED = [
    *("--model", "a", "--model", "b", "--corpus", "c", "--domain", "d", "--limit", "3"),
    *("--dtype", "bfloat16", "--attention", "eager", "--bos", "--device", "cpu", "--batch-size", "4"),
    *("--family", "mine", "--role", "control", "--cell-minutes", "2.5"),
]


@pytest.mark.parametrize(
    ("typed", "request_"),
    [
        (["noise", *TYPED, *OWN], Request(**OPTIONS)),
        ([*OWN, *TYPED, "noise"], Request(**OPTIONS)),
        (["noise", "--model", "a", "--corpus", "c"], Request(models=("a",), corpora=("c",))),
    ],
)
def test_plan_and_run_ask_for_the_same(tmp_path, monkeypatch, typed, request_):
    Lake.create(tmp_path / "lake")
    asked = []
    monkeypatch.setattr("memlake.compute.run.planned", lambda lake, *rest: asked.append(rest))
    monkeypatch.setattr("memlake.compute.run.execute", lambda lake, *rest: asked.append(rest) or Summary())
    monkeypatch.setattr("memlake.compute.cli.show", lambda *_: None)
    lake = ["--lake", str(tmp_path / "lake")]
    for command, *more in (["plan"], ["run", "--workers", "2"]):
        done = CliRunner().invoke(app, [command, *typed, *more, *lake])
        assert done.exit_code == 0, done.output
    assert asked == [("noise", request_), ("noise", request_, 2, None, False)]


def test_a_plan_may_be_for_another_device(tmp_path, monkeypatch):
    Lake.create(tmp_path / "lake")
    asked = []
    for name in ("planned", "estimated"):
        monkeypatch.setattr(f"memlake.compute.run.{name}", lambda _, *rest, name=name: asked.append((name, *rest)))
    monkeypatch.setattr("memlake.compute.cli.show", lambda *_: None)
    typed = ["plan", "scoring", "--model", "a", "--corpus", "c", "--lake", str(tmp_path / "lake")]
    for more in (["--flops", "3e14"], ["--estimate"], ["--flops", "3e14", "--estimate"]):
        assert CliRunner().invoke(app, [*typed, *more]).exit_code == 0
    here = Request(models=("a",), corpora=("c",))
    there = dataclasses.replace(here, flops=3e14)
    assert asked == [("planned", "scoring", there), ("estimated", "scoring", here), ("estimated", "scoring", there)]


@pytest.mark.parametrize(
    ("typed", "options"),
    [
        (["head_ablation", "--screen"], {"screen": True}),
        (["short_circuit", "--blocks", "3-5", "--blocks", "7"], {"blocks": ("3-5", "7")}),
        (["scoring", "--decoding", "greedy"], {"decoding": "greedy"}),
        (["prompt_compression", "--window=prefix"], {"window": "prefix"}),
    ],
)
def test_options_of_one_experiment(tmp_path, monkeypatch, typed, options):
    Lake.create(tmp_path / "lake")
    asked = []
    monkeypatch.setattr("memlake.compute.run.planned", lambda lake, name, request: asked.append(request.options))
    monkeypatch.setattr("memlake.compute.cli.show", lambda *_: None)
    done = CliRunner().invoke(app, ["plan", *typed, "--model", "a", "--corpus", "c", "--lake", str(tmp_path / "lake")])
    assert done.exit_code == 0, done.output
    assert asked == [options]


@pytest.mark.parametrize("name", shelf.names(EXPERIMENT.shelf))
def test_help_shows_every_option_of_an_experiment(name):
    for command in ("plan", "run"):
        shown = CliRunner().invoke(app, [command, name, "--help"], env={"COLUMNS": "200"}).stdout
        shared, own = shown.split(f"Options of {name}")
        assert "--corpus" in shared
        for field in dataclasses.fields(EXPERIMENT.options(name)):
            assert f"{flag(field.name)} " in own and field.metadata["doc"][:30] in own


def test_an_option_of_another_experiment_is_told():
    failed = CliRunner().invoke(app, ["run", "noise", "--model", "m", "--corpus", "c", "--blocks", "3"])
    assert isinstance(failed.exception, BadInput)
    takes = "--strength, --seed, --layer, --scope, --decoding, --among"
    assert str(failed.exception) == f"experiment 'noise' takes no --blocks (it takes: {takes})"


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"]])
def test_no_experiment_is_loaded_for_help(words):
    code = (
        "import sys; from typer.testing import CliRunner; from memlake.compute.cli import app;"
        f" assert CliRunner().invoke(app, {words}).exit_code == 0;"
        " found = {m for m in sys.modules if m.startswith('memlake.compute.experiments.')} | {'pyarrow', 'torch'};"
        " found &= sys.modules.keys(); assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
