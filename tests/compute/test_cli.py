"""What the commands hand over."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from memlake.compute.cli import app
from memlake.compute.planning.request import Request
from memlake.warehouse.lake import Lake
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
    "options": {"decoding": "forced", "strength": (0.1, 0.3), "screen": True},
}
TYPED = [
    *("--model", "a", "--model", "b", "--corpus", "c", "--domain", "d", "--limit", "3"),
    *("--dtype", "bfloat16", "--attention", "eager", "--bos", "--device", "cpu", "--batch-size", "4"),
    *("--family", "mine", "--role", "control"),
    *("--decoding", "forced", "--strength", "0.1", "--strength", "0.3", "--screen"),
]


@pytest.mark.parametrize(
    ("typed", "request_"),
    [(TYPED, Request(**OPTIONS)), (["--model", "a", "--corpus", "c"], Request(models=("a",), corpora=("c",)))],
)
def test_plan_and_run_ask_for_the_same(tmp_path, monkeypatch, typed, request_):
    Lake.create(tmp_path / "lake")
    asked = []
    monkeypatch.setattr("memlake.compute.run.planned", lambda lake, *rest: asked.append(rest))
    monkeypatch.setattr("memlake.compute.run.execute", lambda lake, *rest: asked.append(rest) or Summary())
    monkeypatch.setattr("memlake.compute.cli.show", lambda *_: None)
    lake = ["--lake", str(tmp_path / "lake")]
    for command, *more in (["plan"], ["run", "--workers", "2"]):
        done = CliRunner().invoke(app, [command, "scoring", *typed, *more, *lake])
        assert done.exit_code == 0, done.output
    assert asked == [("scoring", request_), ("scoring", request_, 2, None, False)]
