"""The commands, once on Dask, as a user types them."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from memlake.ingest.cli import SOURCE, app
from memlake.warehouse import shelf
from memlake.warehouse.errors import BadInput, MemlakeError
from memlake.warehouse.lake import Lake
from memlake.warehouse.options import flag
from memlake.warehouse.work.runner import Summary

from . import tokenizers

HELP = "import memlake.ingest.cli"
LIBRARY = "import memlake.ingest.run, memlake.ingest.sampling.sample, memlake.ingest.sources.jsonl"
LOADED = "; import sys; found = {names} & set(sys.modules); assert not found, found"


def memlake(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"})


@pytest.mark.parametrize(
    ("code", "heavy"), [(HELP, {"torch", "pyarrow", "duckdb", "numpy"}), (LIBRARY, {"torch", "transformers"})]
)
def test_nothing_heavy_is_loaded_before_it_is_needed(code, heavy):
    subprocess.run([sys.executable, "-c", code + LOADED.format(names=heavy)], check=True)


def test_sources_are_listed_and_shown():
    assert "jsonl" in memlake("list").stdout
    shown = memlake("show", "jsonl").stdout
    assert "--domain-field" in shown and "rejects" in shown
    assert json.loads(memlake("show", "jsonl", "--format", "json").stdout)[0]["option"] == "--path"


@pytest.mark.parametrize("name", shelf.names(SOURCE.shelf))
def test_help_shows_every_option_of_a_source(name):
    shared, own = memlake("run", name, "--help").stdout.split(f"Options of {name}")
    assert "--keep" in shared
    for field in dataclasses.fields(SOURCE.options(name)):
        assert f"{flag(field.name)} " in own and field.metadata["doc"][:30] in own


@pytest.mark.parametrize("words", [("--help",), ("run", "--help"), ("count", "--help")])
def test_no_source_is_loaded_for_help(words):
    code = (
        "import sys; from typer.testing import CliRunner; from memlake.ingest.cli import app;"
        f" assert CliRunner().invoke(app, {words}).exit_code == 0;"
        " found = {m for m in sys.modules if m.startswith('memlake.ingest.sources.')} | {'pyarrow'};"
        " found &= sys.modules.keys(); assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("words", "own"),
    [
        (("jsonl", "--path", "x", "--path", "y", "--text-field", "t"), {"path": ("x", "y"), "text_field": "t"}),
        (("--path", "x", "--class", "a=structural", "jsonl"), {"path": ("x",), "class_": ("a=structural",)}),
        (("--config", "parquet", "huggingface", "--dataset", "d"), {"config": "parquet", "dataset": "d"}),
        (("results", "--path", "x", "--params", "3"), {"path": ("x",), "params": 3}),
        (("memorized_evals", "--model=m", "--path=x", "--domain", "d"), {"model": "m", "path": ("x",), "domain": "d"}),
        (("python_environment", "--limit", "5"), {"limit": 5}),
    ],
)
def test_a_source_gets_its_options(tmp_path, monkeypatch, words, own):
    asked = []
    monkeypatch.setattr("memlake.ingest.run.ingest", lambda lake, name, own, **_: asked.append(own) or (Summary(), []))
    lake = Lake.create(tmp_path / "lake")
    done = memlake("run", *words, "--keep", 3, "--lake", lake.path)
    assert done.exit_code == 0, done.output
    assert asked == [own]


def test_count_gets_the_options_of_its_source(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "memlake.ingest.counting.count.count", lambda *_, **given: asked.append(given) or (Summary(), 0)
    )
    monkeypatch.setattr("memlake.ingest.cli.show", lambda *_: None)
    lake = Lake.create(tmp_path / "lake")
    words = ("count", "--domain-field", "f", "--corpus", "c", "--domain", "d", "--path", "x", "--source", "jsonl")
    done = memlake(*words, "--lake", lake.path)
    assert done.exit_code == 0, done.output
    assert [(a["source"], a["domains"], a["options"]) for a in asked] == [
        ("jsonl", ["d"], {"path": ("x",), "domain_field": "f"})
    ]
    failed = memlake("count", "--corpus", "c", "--path", "x", "--lake", lake.path)
    assert isinstance(failed.exception, BadInput) and "name that with --source" in str(failed.exception)


@pytest.mark.parametrize(
    "given",
    [
        ("jsonl", "--path", "nowhere", "--corpus", "mine"),
        ("jsonl", "--path", __file__),
        ("results", "--path", "nowhere"),
        ("huggingface", "--corpus", "mine"),
    ],
)
def test_a_mistyped_command_leaves_no_lake(tmp_path, given):
    failed = memlake("run", *given, "--lake", tmp_path / "lake")
    assert isinstance(failed.exception, MemlakeError)
    assert not (tmp_path / "lake").exists()


def test_from_a_file_to_sequences(tmp_path):
    lake, path = tmp_path / "lake", tmp_path / "texts.jsonl"
    words = "the quick brown fox jumps over the lazy dog " * 30
    path.write_text("\n".join(json.dumps({"text": f"{i} {words}"}) for i in range(4)) + "\n{")
    tokenizers.saved(tokenizers.byte_level(), tmp_path / "my-checkpoint")

    run = memlake("run", "jsonl", "--path", path, "--corpus", "mine", "--workers", 1, "--lake", lake)
    assert run.exit_code == 0, run.output
    assert "corpus mine: 4 documents (text 4)" in run.stderr
    assert "not taken: 1 record, each with its reason in `rejects` (malformed JSON 1)" in run.stderr

    sampled = memlake(
        *("sample", "--corpus", "mine", "--model", tmp_path / "my-checkpoint", "--workers", 1),
        *("--lake", lake, "--window", "8+8", "--format", "json"),
    )
    assert sampled.exit_code == 0, sampled.output
    (row,) = json.loads(sampled.stdout)
    assert row["tokenizer"] == "my-checkpoint" and row["sequences"] > 4
    assert sum(f.rows for f in Lake.open(lake).snapshot("sequences")) == row["sequences"]


def test_a_mistake_makes_no_lake(tmp_path):
    for arguments in (("run", "jsonll"), ("run", "jsonl", "--limit", "3")):
        failed = memlake(*arguments, "--lake", tmp_path / "lake")
        assert isinstance(failed.exception, MemlakeError)
    assert not (tmp_path / "lake").exists()
    failed = memlake("sample", "--corpus", "c", "--model", "m", "--lake", tmp_path / "lake")
    assert isinstance(failed.exception, MemlakeError) and "does not exist" in str(failed.exception)


def test_workers_are_positive(tmp_path):
    for arguments in (("run", "jsonl"), ("sample", "--corpus", "c", "--model", "m")):
        failed = memlake(*arguments, "--workers", -1, "--lake", tmp_path / "lake")
        assert failed.exit_code == 2
        assert "--workers" in failed.stderr
