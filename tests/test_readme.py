"""What the README says is true: its example and its four lines run, and every command stands in it and has help."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from memlake.cli import app as app_of_memlake
from memlake.compute import experiment
from memlake.compute.miniatures import models as miniature_models
from memlake.queries import finding

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
MEMLAKE = Path(sys.executable).parent / "memlake"


def memlake_in(folder: Path, *words: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"COLUMNS": "100"}
    environment.pop("MEMLAKE_LAKE", None)
    return subprocess.run([MEMLAKE, *words], cwd=folder, env=environment, capture_output=True, text=True)


def commands(app: typer.Typer = app_of_memlake, path: tuple[str, ...] = ()):
    """Every command as its words."""
    group = typer.main.get_command(app) if not path else app
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def test_every_command_has_help_and_stands_in_the_readme():
    found = dict(commands())
    assert len(found) >= 18
    listing = README.split("## Commands")[1]
    for words, command in found.items():
        assert command.help, words
        section = listing.split(f"memlake {words[0]}")[1].split("\nmemlake ")[0]
        assert len(words) == 1 or re.search(rf"\b{words[-1]}\b", section), words


def test_every_finding_and_experiment_stands_in_a_table():
    rows = [line.split("|") for line in README.splitlines() if line.startswith("|")]
    first, last = ({name for row in rows for name in re.findall(r"`(\w+)`", row[at])} for at in (1, -2))
    assert set(finding.names()) <= last
    assert set(experiment.names()) - {"scoring"} <= first  # which the four lines run


def save_checkpoint(folder: Path, texts: list[str]) -> None:
    """A checkpoint as transformers saves one: random weights, its tokenizer beside them."""
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    tokenizer = miniature_models.tokenizer("pythia", texts)
    config = miniature_models.config("pythia", "100k", tokenizer.get_vocab_size(), 0, 0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>").save_pretrained(folder)


def test_the_example_and_the_four_lines(tmp_path):
    example, four, *_ = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    environment = os.environ | {"PATH": f"{MEMLAKE.parent}:{os.environ['PATH']}"}
    environment.pop("MEMLAKE_LAKE", None)

    def paste(text: str) -> subprocess.CompletedProcess:
        done = subprocess.run(text, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done

    paste(example)
    texts = [json.loads(line)["text"] for line in (tmp_path / "texts.jsonl").read_text().splitlines()]
    save_checkpoint(tmp_path / "my-checkpoint", texts)
    lines = four.splitlines()
    assert len(lines) == 4
    for line in lines:
        done = paste(line)
    answer = re.search(r"^my-checkpoint +mine +example +NULL +0 +(\d+)$", done.stdout, re.MULTILINE)
    assert answer and int(answer[1]) >= 30, done.stdout  # random weights: nothing memorized
    assert "0 done, 1 done before" in paste(lines[2]).stderr


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["query", "run", "memorization_rat"], "no finding 'memorization_rat': did you mean 'memorization_rate'?"),
        (["compute", "run", "scorin", "--model", "pythia-1b", "--corpus", "c"], "did you mean 'scoring'?"),
        (["ingest", "run", "jsnl"], "no source 'jsnl': did you mean 'jsonl'?"),
        (["warehouse", "show", "mathces"], "no table 'mathces': did you mean 'matches'?"),
        (["warehouse", "status", "--lake", "nowhere"], "nowhere does not exist: name one with --lake"),
        (["report", "run", "scaling"], "no finding 'scaling'"),
    ],
)
def test_a_wrong_name_is_one_line(tmp_path, words, line):
    if "nowhere" not in words:
        from memlake.warehouse.lake import Lake

        Lake.create(tmp_path / "lake")
    done = memlake_in(tmp_path, *words)
    assert done.returncode == 2
    assert line in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    assert not (tmp_path / "nowhere").exists()


def test_help_loads_nothing_heavy():
    heavy = "{'torch', 'transformers', 'duckdb', 'pyarrow', 'deltalake', 'distributed', 'great_expectations', 'pandas'}"
    program = f"import memlake.cli, sys; found = {heavy} & set(sys.modules); sys.exit(', '.join(found) or 0)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
