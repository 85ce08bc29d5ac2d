"""Cells on Dask: once, in any number of workers, through failures, dead workers and a killed program."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pytest

from tests.small import DOMAINS, N, make_lake, match_cell, match_rows, match_work
from warehouse.cells import Cell, plan, published
from warehouse.errors import BadInput
from warehouse.lake import Lake
from warehouse.run import recover, run

CELLS = [match_cell(d) for d in DOMAINS]
COLUMNS = "sequence_id, model, corpus, domain, condition, n_tokens, n_match, first_mismatch, hex(match), cell"


def contents(lake: Lake) -> list[tuple]:
    """Ids and integer columns of everything published."""
    with lake.connect() as con:
        matches = con.execute(f"select {COLUMNS} from stored.matches order by all").fetchall()
        documents = con.execute("select document_id, text_hash, cell from stored.documents order by all").fetchall()
        cells = con.execute("select cell, rows, outcome from stored.cells where outcome = 'done' order by all").fetchall()
    return matches + documents + cells


def test_same_lake_with_one_and_two_workers(tmp_path):
    lakes = [make_lake(tmp_path / str(n)) for n in (1, 2)]
    for lake, workers in zip(lakes, (1, 2), strict=True):
        summary = run(lake, CELLS, match_work, workers=workers)
        assert sorted(summary.done) == sorted(c.id for c in CELLS) and not summary.failed
    assert contents(lakes[0]) == contents(lakes[1])
    assert len(contents(lakes[0])) == 2 * N * 2 + 4
    assert plan(lakes[0], CELLS) == []
    assert run(lakes[0], CELLS, match_work).skipped == 2
    assert dict(published(lakes[0], "small_scoring")) == {c.id: dict(c.settings) for c in CELLS}
    assert not list(lakes[0].staging.iterdir())


def troubled_work(cell: Cell, lake_path: str):
    """Goes wrong as the task says, the first time or always."""
    trouble = cell.task.get("trouble")
    if trouble == "user":
        raise BadInput("the checkpoint has 7 heads: name another")
    if trouble == "bug":
        raise ZeroDivisionError("a bug")
    if trouble == "kill":
        yield "matches", pa.Table.from_pylist(match_rows(cell.settings["domain"])[:3])
        os.kill(os.getpid(), signal.SIGKILL)
    yield from match_work(cell, lake_path)


def test_a_failed_cell_does_not_stop_the_others_and_is_tried_again(tmp_path):
    names = ("c++", "ok", "bug", "kill", "Wikipedia (en)")
    lake = make_lake(tmp_path / "lake", names)
    trouble = {"c++": "user", "bug": "bug", "kill": "kill"}

    def cells(trouble):
        return [
            Cell(c.experiment, c.version, c.settings, c.tables, c.rows, c.group, {"trouble": trouble.get(d)})
            for d, c in ((d, match_cell(d)) for d in names)
        ]

    summary = run(lake, cells(trouble), troubled_work, workers=1)  # one group: the killed cell has neighbours
    failed = {cell.settings["domain"]: reason for cell, reason in summary.failed}
    assert failed["c++"] == "the checkpoint has 7 heads: name another"
    assert "Traceback" in failed["bug"] and "ZeroDivisionError: a bug" in failed["bug"]
    assert "its worker was killed" in failed["kill"]
    assert len(summary.done) == 2
    with lake.connect(["cells"]) as con:
        outcomes = con.execute(
            "select outcome, count(*) from stored.cells where experiment = 'small_scoring' group by all order by all"
        ).fetchall()
    assert outcomes == [("done", 2), ("failed", 3)]

    summary = run(lake, cells({}), troubled_work, workers=2)
    assert len(summary.done) == 3 and summary.skipped == 2 and not summary.failed
    assert len(lake.files("matches")) == 5


PROGRAM = """
import sys
from tests.small import DOMAINS, ingest_cell, ingest_work, make_lake, match_cell, match_work
from warehouse.lake import Lake
from warehouse.run import run
if __name__ == "__main__":
    lake = Lake.open(sys.argv[1])
    print("begin", flush=True)
    run(lake, [ingest_cell(f"d{i}") for i in range(3)], ingest_work, workers=2)
    run(lake, [match_cell(f"d{i}") for i in range(3)], match_work, workers=2)
"""


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_a_random_moment_and_run_again(tmp_path, seed):
    """SIGKILL of the whole program: the second run ends with the lake that an undisturbed run makes."""
    killed, undisturbed = make_lake(tmp_path / "killed", ()), make_lake(tmp_path / "undisturbed", ())

    def start(lake: Lake) -> subprocess.Popen:
        command = [sys.executable, "-c", PROGRAM, str(lake.path)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    began = time.monotonic()
    with start(undisturbed) as whole:
        whole.stdout.readline()
    lasted = time.monotonic() - began
    with start(killed) as program:
        program.stdout.readline()
        time.sleep(random.Random(seed).uniform(0.2, 0.95) * lasted * 0.9)
        program.send_signal(signal.SIGKILL)
    time.sleep(0.5)  # its workers notice that they are alone and end
    with start(killed) as second:
        second.stdout.readline()
        assert second.wait(120) == 0
    assert contents(killed) == contents(undisturbed)
    assert len(contents(killed)) == 3 * N * 2 + 6


@pytest.mark.parametrize("step", ["manifest", "judged", "data", "checks"])
def test_the_tail_that_a_kill_left_missing_is_added(tmp_path, monkeypatch, step):
    """The program ends at each step of a publication; the next one goes on where it stopped."""
    from warehouse import publish as module

    lake = make_lake(tmp_path / "lake", DOMAINS[:1])

    class Killed(BaseException):
        pass

    original = module.commit

    def commit(lake, folder, name, *rest):
        if (step, name) in {("judged", "matches"), ("data", "checks"), ("checks", "cells")}:
            raise Killed
        original(lake, folder, name, *rest)

    def judge(rows):
        raise Killed

    monkeypatch.setattr(module, "commit", commit)
    if step == "manifest":
        monkeypatch.setattr(module.audit, "judge", judge)
    # The run's folder is left as a kill leaves it: the staged rows, and a lock that nobody holds.
    monkeypatch.setattr("warehouse.run.shutil.rmtree", lambda *a, **k: None)
    with pytest.raises(Killed):
        run(lake, CELLS[:1], match_work, workers=1)
    assert plan(lake, CELLS[:1]) == CELLS[:1]
    monkeypatch.undo()
    recover(lake)
    assert plan(lake, CELLS[:1]) == []
    with lake.connect() as con:
        assert con.execute("select count(*), count(distinct sequence_id) from stored.matches").fetchone() == (N, N)
        assert con.execute("select count(*) from stored.checks where cell = ?", [CELLS[0].id]).fetchone()[0] > 30
    assert not list(lake.staging.iterdir())


def test_a_run_under_way_is_left_alone_by_another(tmp_path):
    from warehouse.run import _run_folder

    lake = make_lake(tmp_path / "lake", ())
    with _run_folder(lake) as folder:
        recover(lake)
        assert folder.is_dir()
    recover(lake)
    assert not folder.exists()


def test_no_scheduler_at_the_address(tmp_path, monkeypatch):
    lake = make_lake(tmp_path / "lake", DOMAINS[:1])
    monkeypatch.setattr("warehouse.run.CONNECT_SECONDS", 0.5)
    with pytest.raises(BadInput, match="no Dask scheduler answers at tcp://127.0.0.1:1"):
        run(lake, CELLS[:1], match_work, scheduler="tcp://127.0.0.1:1")
