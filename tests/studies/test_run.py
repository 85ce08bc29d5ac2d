"""Running a study on real files: once, past what is broken, and again when that is mended."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from memlake.ingest.sampling.sequences import SampleSettings
from memlake.studies import status
from memlake.studies.record import Record
from memlake.studies.run import run
from memlake.studies.study import Study, read
from memlake.tests.compute.miniatures.test_cells import put
from memlake.tests.test_readme import save_checkpoint
from memlake.warehouse.errors import BadInput, UnknownName
from memlake.warehouse.lake import Lake
from memlake.warehouse.work.cells import published

STUDY = """
report = false

[[models]]
model = ["./good", "./broken"]
role = "control"

[corpora.songs]
source = "jsonl"
path = "songs.jsonl"

[corpora.missing]
source = "jsonl"
path = "missing.jsonl"

[[samples]]
per_domain = 4
window = "8+8"

[[counts]]
corpus = "songs"

[[counts]]
corpus = "missing"

[experiments.layer_tokens]
among = "all"
corpus = "songs"
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Two texts, a checkpoint, and one whose weights are cut short."""
    folder = tmp_path_factory.mktemp("files")
    texts = [" ".join(f"line {i * j} of a text about {j} things" for j in range(40)) for i in range(12)]
    (folder / "songs.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    save_checkpoint(folder / "good", texts)
    shutil.copytree(folder / "good", folder / "broken")
    weights = folder / "broken" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    (folder / "own.toml").write_text(STUDY)
    return folder


@pytest.fixture
def here(files, tmp_path, monkeypatch) -> Path:
    folder = Path(shutil.copytree(files, tmp_path / "files"))
    monkeypatch.chdir(folder)
    return folder


def states(lake: Lake, study: Study) -> dict[tuple[str, str], str]:
    rows, _ = status.said(Lake.open(lake.path), study)
    return {(row.item.step.name, row.item.model or row.item.step.about): row.state for row in rows}


def reasons(lake: Lake, study: Study) -> dict[tuple[str, str], str]:
    rows, _ = status.said(Lake.open(lake.path), study)
    return {row.item.key[:2]: row.reason for row in rows if row.reason}


def cells(lake: Lake) -> list[tuple[str, str]]:
    with lake.connect(["cells"]) as con:
        return con.execute("select experiment, outcome from stored.cells order by all").fetchall()


def test_a_broken_model_and_a_missing_corpus_stop_nothing_else(here):
    study, lake = read(here / "own.toml"), Lake.create(here / "lake")
    assert set(states(lake, study).values()) == {"to do"}
    outcome = run(lake, study, workers=0)
    assert {(step, about) for step, about, _ in outcome.failed} == {("ingest", "missing"), ("scoring", "broken")}
    assert states(lake, study) == {
        ("ingest", "songs"): "done",
        ("ingest", "missing"): "failed",
        ("sample", "songs 8+8"): "done",
        ("sample", "missing 8+8"): "waits",
        ("scoring", "good"): "waits",  # of what is missing
        ("scoring", "broken"): "failed",
        ("count", "songs"): "done",
        ("count", "missing"): "waits",
        ("layer_tokens", "good"): "done",
        ("layer_tokens", "broken"): "waits",
    }
    why = reasons(lake, study)
    assert "missing.jsonl" in why["ingest", "missing"] and "fetch it again" in why["scoring", "broken"]
    assert why["layer_tokens", "broken"] == "waits for its scoring"


def test_what_is_mended_is_done_by_the_next_run_and_nothing_twice(here):
    study, lake = read(here / "own.toml"), Lake.create(here / "lake")
    run(lake, study, workers=0)
    before = cells(lake)
    shutil.copy(here / "good" / "model.safetensors", here / "broken" / "model.safetensors")
    shutil.copy(here / "songs.jsonl", here / "missing.jsonl")
    outcome = run(lake, study, workers=0)
    assert outcome.failed == [] == outcome.left_out
    assert set(states(lake, study).values()) == {"done"} and reasons(lake, study) == {}
    after = cells(lake)
    assert all(outcome == "done" for _, outcome in after) and len(after) > len(before)
    run(lake, study, workers=0)
    assert cells(lake) == after
    _, lines = status.said(Lake.open(lake.path), study)
    assert lines == ["10 of 10 done, 0 failed, 0 waiting for them", "all is done"]


def test_a_failed_cell_is_told_until_a_later_run_mends_it(here, monkeypatch):
    """Also one that was cut otherwise."""
    text = STUDY.replace(', "./broken"', "").replace(
        '[corpora.missing]\nsource = "jsonl"\npath = "missing.jsonl"\n', ""
    )
    (here / "own.toml").write_text(text.replace('[[counts]]\ncorpus = "missing"\n', ""))
    study, lake = read(here / "own.toml"), Lake.create(here / "lake")

    def fail(*_: object, **__: object) -> None:
        raise BadInput("out of luck")

    with monkeypatch.context() as patched:
        patched.setattr("memlake.compute.interventions.lens.decode", fail)
        outcome = run(lake, study, workers=0)
    assert [(step, about) for step, about, _ in outcome.failed] == [("layer_tokens", "good")]
    assert reasons(lake, study) == {("layer_tokens", "good"): "1 cell: out of luck"}
    from memlake.compute.planning.request import Request
    from memlake.compute.run import execute

    for limit in (2, 4):  # by hand, and not by the study
        request = Request(("./good",), ("songs",), limit=limit, options={"among": "all"})
        assert execute(lake, "layer_tokens", request, workers=0).done
    assert states(lake, study)["layer_tokens", "good"] == "done" and reasons(lake, study) == {}


@pytest.fixture
def reading(here) -> Study:
    """A study that reads a corpus of two files, and does nothing with it."""
    (here / "more.jsonl").write_text('{"text": "another text"}\n')
    (here / "own.toml").write_text(
        'report = false\n[corpora.songs]\nsource = "jsonl"\npath = ["songs.jsonl", "more.jsonl"]\n'
    )
    return read(here / "own.toml")


def test_a_corpus_of_which_one_file_is_read_is_not_done(here, reading, monkeypatch):
    """Neither while it is read nor after a kill."""
    from memlake.ingest.run import ingest

    lake, seen = Lake.create(here / "lake"), []

    def stopped(lake: Lake, source: str, own: dict[str, object], **more: object) -> None:
        ingest(lake, source, own | {"path": ("songs.jsonl",)}, **more)
        seen.append(states(lake, reading))
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("memlake.ingest.run.ingest", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(lake, reading, workers=0)
    assert seen == [{("ingest", "songs"): "running"}]
    assert states(lake, reading) == {("ingest", "songs"): "to do"}
    run(lake, reading, workers=0)
    assert states(lake, reading) == {("ingest", "songs"): "done"}


def test_what_was_read_by_hand_is_done(here, reading):
    from memlake.ingest.run import ingest

    lake = Lake.create(here / "lake")
    ingest(lake, "jsonl", {"path": ("songs.jsonl", "more.jsonl")}, corpus="songs", workers=0)
    assert states(lake, reading) == {("ingest", "songs"): "done"}


def test_a_report_of_which_a_finding_failed_has_failed(here, reading, monkeypatch):
    from memlake.reports.page import Written

    (here / "own.toml").write_text((here / "own.toml").read_text().replace("false", "true"))
    study, lake = read(here / "own.toml"), Lake.create(here / "lake")
    fell = Written(here / "index.html", {"layers": "Traceback\nValueError: no layer"})
    monkeypatch.setattr("memlake.reports.page.write", lambda lake: fell)
    assert run(lake, study, workers=0).failed == [("report", "layers", "Traceback\nValueError: no layer")]
    assert states(lake, study)["report", ""] == "failed"
    assert reasons(lake, study) == {("report", ""): "layers: ValueError: no layer"}
    monkeypatch.setattr("memlake.reports.page.write", lambda lake: Written(here / "index.html", {}))
    assert run(lake, study, workers=0).failed == [] and set(states(lake, study).values()) == {"done"}


def test_a_corpus_that_came_without_documents_is_sampled(here):
    lake = Lake.create(here / "lake")
    place = {"corpus": ["c"], "domain": ["d"], "tokenizer": ["t"], "sample": ["s"], "shard": ["0"]}
    put(lake, "sequences", pa.table(place))
    (here / "own.toml").write_text('report = false\nmodels = ["./good"]\n[corpora.c]\nsource = "jsonl"\n')
    assert {state for (step, _), state in states(lake, read(here / "own.toml")).items() if step != "scoring"} == {
        "done"
    }
    (here / "own.toml").write_text('report = false\nmodels = ["./good"]\n[corpora.c]\n')
    study = read(here / "own.toml")
    run(lake, study, workers=0)
    (key,) = [key for key in Record(lake, study.name).ended() if key[0] == "sample"]
    assert Record(lake, study.name).ended()[key].reason is None


def test_what_is_sampled_is_what_is_drawn_of_the_documents_that_are_there(here, monkeypatch):
    from memlake.ingest.run import ingest
    from memlake.ingest.sampling.sample import sample
    from memlake.warehouse.models.registry import find
    from memlake.warehouse.publishing.forget import forget

    (here / "own.toml").write_text(
        'report = false\nmodels = ["./good"]\n[corpora.songs]\n[[samples]]\nper_domain = 4\nwindow = "8+8"\n'
    )
    study, lake = read(here / "own.toml"), Lake.create(here / "lake")

    def cut() -> str:
        sample(lake, ["songs"], [find(lake, "./good")], per_domain=4, window="8+8", workers=0)
        return states(lake, study)["sample", "songs 8+8"]

    monkeypatch.setattr("memlake.ingest.sampling.plan.SHARD", 2)
    ingest(lake, "jsonl", {"path": ("songs.jsonl",)}, corpus="songs", workers=0)
    assert states(lake, study)["sample", "songs 8+8"] == "to do" and cut() == "done"
    first = next(id for id, s in published(lake, "sample", SampleSettings) if s.first_rank == 0)
    forget(lake, cell=first, with_dependents=True)
    assert states(lake, study)["sample", "songs 8+8"] == "to do" and cut() == "done"
    songs = (here / "songs.jsonl").read_text().replace("line", "verse").splitlines(keepends=True)
    (here / "more.jsonl").write_text("".join(['{"text": "too short"}\n' * 5, *songs[:3]]))
    ingest(lake, "jsonl", {"path": ("songs.jsonl", "more.jsonl")}, corpus="songs", workers=0)
    assert states(lake, study)["sample", "songs 8+8"] == "to do" and cut() == "done"


def test_two_counts_of_one_corpus_are_each_done_where_both_are(here):
    (here / "own.toml").write_text(
        'report = false\nmodels = ["./good"]\n[corpora.songs]\nsource = "jsonl"\npath = "songs.jsonl"\n'
        '[[samples]]\nper_domain = 2\nwindow = "8+8"\n'
        '[[counts]]\ncorpus = "songs"\n[[counts]]\ncorpus = "songs"\ntokenizer = "bytes"\n'
    )
    study, lake = read(here / "own.toml"), Lake.create(here / "lake")
    run(lake, study, workers=0)
    rows, _ = status.said(Lake.open(lake.path), study)
    assert [row.state for row in rows] == ["done"] * 5 and len({row.item.key for row in rows}) == 5
    (here / "own.toml").write_text((here / "own.toml").read_text().replace('"bytes"', '["own", "bytes"]'))
    rows, _ = status.said(Lake.open(lake.path), read(here / "own.toml"))
    assert [row.state for row in rows if row.item.step.name == "count"] == ["done", "to do"]


def test_names_that_nobody_knows_are_refused_before_anything_is_done(here):
    lake = Lake.create(here / "lake")
    (here / "own.toml").write_text('models = ["pythea-1b"]\n[corpora.c]\n')
    with pytest.raises(UnknownName, match="did you mean 'pythia-1b'"):
        run(lake, read(here / "own.toml"))
    (here / "own.toml").write_text('models = ["./good"]\n[corpora.c]\n[experiments.noise]\nmodel = "god"\n')
    with pytest.raises(BadInput, match=r"\[experiments.noise\] model: no model of the study 'god'"):
        run(lake, read(here / "own.toml"))
    assert cells(lake) == []


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", "import sys; from memlake.cli import main; main()", "study", *words]


def test_two_at_once_and_a_kill(here):
    """Both end well, and nothing is there twice; what the first left when it was killed is taken up."""
    shutil.copy(here / "good" / "model.safetensors", here / "broken" / "model.safetensors")
    shutil.copy(here / "songs.jsonl", here / "missing.jsonl")
    words = command("run", "own.toml", "--workers", "0")
    killed = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    assert killed.stderr
    for line in killed.stderr:
        if "== scoring" in line:
            break
    study = read(here / "own.toml")
    (now,) = Record(Lake.open("lake"), study.name).alive()
    assert now.pid == killed.pid and now.step == "scoring"
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    killed.stderr.close()
    assert Record(Lake.open("lake"), study.name).alive() == []
    both = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    with Lake.open("lake").connect() as con:
        twice = con.execute("select sequence_id, model from stored.matches group by all having count(*) > 1").fetchall()
        n = con.execute("select count(*), count(distinct model) from stored.matches").fetchone()
    assert twice == [] and n == (16, 2)
    assert set(states(Lake.open("lake"), study).values()) == {"done"}
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d == scoring$", said[0], re.MULTILINE)


def test_exit_codes(here):
    def ended(*words: str) -> tuple[int, str, str]:
        done = subprocess.run(command(*words), capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    code, _, said = ended("run", "own.toml", "--workers", "0")
    assert code == 1 and "2 things failed" in said and "Traceback" not in said, said
    code, out, said = ended("status", "own.toml")
    assert code == 0 and "nothing runs now" in said and "broken" in out
    assert ended("run", "none.toml")[0] == 2
    (here / "bad.toml").write_text("[modles]")
    code, _, said = ended("run", "bad.toml", "--lake", "other")
    assert code == 2 and said.startswith("memlake: bad.toml: no table '[modles]'") and not Path("other").exists()
    assert ended("status", "own.toml", "--lake", "nowhere")[0] == 2


def test_a_failed_cell_that_says_no_ranks_meets_none():
    task = status.Failure("c", "short_circuit", {"model": "m", "task": "arc"}, "", datetime.now(UTC))
    ranks = status.Failure("c", "noise", {"model": "m", "first_rank": 3, "last_rank": 5}, "", datetime.now(UTC))
    assert not task.meets({"first_rank": 0, "last_rank": 9}) and not ranks.meets({"task": "arc"})
    assert ranks.meets({"first_rank": 5, "last_rank": 9}) and not ranks.meets({"first_rank": 6, "last_rank": 9})
