"""Cells on Dask: once, in any number of workers, through failures, dead workers and a killed program."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import pyarrow as pa
import pytest

from memlake.tests.small import DOMAINS, ENDLESS, Made, MatchCell, N, ctrl_c, make_lake, match_cell, match_rows
from memlake.warehouse.errors import BadInput
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.audit import Rows, Verdict
from memlake.warehouse.work.cells import CellRows, plan, published
from memlake.warehouse.work.cluster import client_for, cluster
from memlake.warehouse.work.runner import recover, run_cells

CELLS = [match_cell(d) for d in DOMAINS]
COLUMNS = "sequence_id, model, corpus, domain, condition, n_tokens, n_match, first_mismatch, hex(match), cell"


def contents(lake: Lake) -> list[tuple]:
    """Ids and integer columns of everything published."""
    with lake.connect() as con:
        matches = con.execute(f"select {COLUMNS} from stored.matches order by all").fetchall()
        documents = con.execute("select document_id, text_hash, cell from stored.documents order by all").fetchall()
        cells = con.execute(
            "select cell, rows, outcome from stored.cells where outcome = 'done' order by all"
        ).fetchall()
    return matches + documents + cells


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Lake:
    return make_lake(tmp_path_factory.mktemp("run") / "lake")


@pytest.fixture
def lake(prepared, tmp_path) -> Lake:
    """Documents and sequences, nothing measured."""
    return Lake.open(shutil.copytree(prepared.path, tmp_path / "lake"))


@pytest.fixture(scope="module")
def undisturbed(prepared, tmp_path_factory) -> list[tuple]:
    """What is published when nothing goes wrong, with one worker."""
    lake = Lake.open(shutil.copytree(prepared.path, tmp_path_factory.mktemp("undisturbed") / "lake"))
    assert run_cells(lake, CELLS, workers=1).failed == []
    assert len(contents(lake)) == 2 * N * 2 + 4
    return contents(lake)


def test_same_lake_with_one_and_two_workers(lake, undisturbed):
    summary = run_cells(lake, CELLS, workers=2)
    assert sorted(summary.done) == sorted(c.id for c in CELLS) and not summary.failed
    assert contents(lake) == undisturbed
    assert plan(lake, CELLS) == []
    assert run_cells(lake, CELLS).skipped == 2
    assert dict(published(lake, "small_scoring", Made)) == {c.id: c.settings for c in CELLS}
    assert not list(lake.staging.glob("run-*"))


@dataclass(frozen=True)
class TimedCell(MatchCell):
    """Says how long it takes, and writes down where it ran."""

    log: str = ""
    takes: float = 1.0
    alone: bool = False

    @property
    def seconds(self) -> float:
        return self.takes

    @property
    def group(self) -> str:
        return self.id if self.alone else "m"

    def rows(self, lake: Lake) -> CellRows:
        with open(self.log, "a") as file:
            file.write(f"{os.getpid()}\n")
        yield from super().rows(lake)


@pytest.mark.parametrize(
    ("takes", "alone", "workers", "here"),
    [
        (1.0, True, None, True),  # short
        (3600.0, False, None, True),  # one group
        (3600.0, True, None, False),
        (1.0, True, 2, False),  # as it was asked for
        (3600.0, True, 0, True),
    ],
)
def test_cells_run_in_this_process_where_it_is_faster(lake, undisturbed, tmp_path, takes, alone, workers, here):
    cells = [TimedCell(match_cell(d).settings, str(tmp_path / "log"), takes, alone) for d in DOMAINS]
    summary = run_cells(lake, cells, workers=workers)
    assert sorted(summary.done) == sorted(c.id for c in CELLS) and not summary.failed
    where = {int(line) for line in (tmp_path / "log").read_text().split()}
    assert (where == {os.getpid()}) == here and (os.getpid() in where) == here
    assert contents(lake) == undisturbed
    assert not list(lake.staging.glob("run-*"))


def test_what_fails_in_this_process_does_not_stop_the_others(tmp_path):
    names = ("c++", "bug", "ok")
    lake = make_lake(tmp_path / "lake", names)
    trouble, version = {"c++": "user", "bug": "bug"}, lake.version("cells")
    summary = run_cells(lake, [TroubledCell(match_cell(d).settings, trouble.get(d)) for d in names], workers=0)
    failed = {cell.settings.said["domain"]: reason for cell, reason in summary.failed}
    assert failed["c++"] == "the checkpoint has 7 heads: name another"
    assert "ZeroDivisionError: a bug" in failed["bug"]
    assert len(summary.done) == 1
    with lake.connect(["cells"]) as con:
        told = con.execute("select cell, reason from stored.cells where outcome = 'failed'").fetchall()
    assert sorted(told) == sorted((cell.id, reason) for cell, reason in summary.failed)
    assert lake.version("cells") == version + 2  # those that failed in one entry, and that of what was done
    assert len(run_cells(lake, [match_cell(d) for d in names], workers=0).done) == 2


@dataclass(frozen=True)
class EndlessCell(MatchCell):
    """Asks what takes DuckDB for ever."""

    def rows(self, lake: Lake) -> CellRows:
        with lake.connect([]) as con:
            con.execute(ENDLESS)
        yield from super().rows(lake)


def test_ctrl_c_in_the_midst_of_a_query_ends_the_run(lake, undisturbed):
    first, second = CELLS
    with pytest.raises(KeyboardInterrupt), ctrl_c(after=1.0):
        run_cells(lake, [EndlessCell(first.settings), second], workers=0)
    with lake.connect(["cells"]) as con:
        assert con.execute("from stored.cells where outcome = 'failed'").fetchall() == []
    assert plan(lake, CELLS) == CELLS
    assert run_cells(lake, CELLS, workers=0).failed == []
    assert contents(lake) == undisturbed
    assert not list(lake.staging.glob("run-*"))


def test_ctrl_c_while_rows_are_judged_ends_the_run(lake, undisturbed, monkeypatch):
    def judge(*tables: Rows) -> dict[str | None, list[Verdict]]:
        with lake.connect([]) as con:
            con.execute(ENDLESS)
        return {}

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt), ctrl_c(after=1.0):
        patch.setattr("memlake.warehouse.publishing.audit.judge", judge)
        run_cells(lake, CELLS, workers=0)
    assert plan(lake, CELLS) == CELLS
    recover(lake)  # both were staged whole
    assert plan(lake, CELLS) == []
    assert run_cells(lake, CELLS, workers=0).failed == []
    assert contents(lake) == undisturbed


def test_an_error_after_publication_is_not_lost(lake, undisturbed, monkeypatch, capsys):
    """All cells are published, and none is to blame."""
    met: list[Exception] = [ZeroDivisionError("a bug"), PermissionError(errno.EACCES, "shut", str(lake.path))]

    def merge_small(*_: object) -> None:
        raise met.pop(0)

    with monkeypatch.context() as patch:
        patch.setattr("memlake.warehouse.publishing.publish.merge_small", merge_small)
        with pytest.raises(ZeroDivisionError):
            run_cells(lake, CELLS[:1], workers=0)
        assert plan(lake, CELLS) == CELLS[1:]
        summary = run_cells(lake, CELLS, workers=0)
    assert summary.done == [CELLS[1].id] and summary.skipped == 1 and not summary.failed
    assert f"\n{lake.path} cannot be used: shut\n" in capsys.readouterr().err
    assert contents(lake) == undisturbed


@dataclass(frozen=True)
class ReadingCell(MatchCell):
    """Meets a damaged file."""

    def rows(self, lake: Lake) -> CellRows:
        (lake.path / "rows.parquet").write_bytes(b"PAR1 of old, PAR1")
        with lake.connect([]) as con:
            con.execute(f"from '{lake.path / 'rows.parquet'}'")
        yield from super().rows(lake)


def test_a_cell_that_meets_a_damaged_file_fails_with_a_line(tmp_path):
    lake = make_lake(tmp_path / "lake", ("a",))
    ((_, reason),) = run_cells(lake, [ReadingCell(match_cell("a").settings)], workers=0).failed
    assert reason.startswith("a file cannot be read (") and "see `memlake warehouse check`" in reason


@dataclass(frozen=True)
class TroubledCell(MatchCell):
    """Goes wrong as it is told."""

    trouble: str | None = None

    def rows(self, lake: Lake) -> CellRows:
        if self.trouble == "user":
            raise BadInput("the checkpoint has 7 heads: name another")
        if self.trouble == "bug":
            raise ZeroDivisionError("a bug")
        if self.trouble == "kill":
            yield "matches", pa.Table.from_pylist(match_rows(self.settings.said["domain"])[:3])
            os.kill(os.getpid(), signal.SIGKILL)
        yield from super().rows(lake)


def test_a_failed_cell_does_not_stop_the_others_and_is_tried_again(tmp_path):
    names = ("c++", "ok", "bug", "kill", "Wikipedia (en)")
    lake = make_lake(tmp_path / "lake", names)
    trouble = {"c++": "user", "bug": "bug", "kill": "kill"}

    def cells(trouble):
        return [TroubledCell(match_cell(d).settings, trouble.get(d)) for d in names]

    summary = run_cells(lake, cells(trouble), workers=1)  # one group: the killed cell has neighbours
    failed = {cell.settings.said["domain"]: reason for cell, reason in summary.failed}
    assert failed["c++"] == "the checkpoint has 7 heads: name another"
    assert "Traceback" in failed["bug"] and "ZeroDivisionError: a bug" in failed["bug"]
    assert "its worker was killed" in failed["kill"]
    assert len(summary.done) == 2
    with lake.connect(["cells"]) as con:
        outcomes = con.execute(
            "select outcome, count(*) from stored.cells where experiment = 'small_scoring' group by all order by all"
        ).fetchall()
    assert outcomes == [("done", 2), ("failed", 3)]

    summary = run_cells(lake, cells({}), workers=2)
    assert len(summary.done) == 3 and summary.skipped == 2 and not summary.failed
    assert len(lake.files("matches")) == 5


def test_workers_to_which_a_cell_is_unknown(lake, tmp_path, monkeypatch):
    """Those of another version, say: they would otherwise wait for ever, and the run with them."""
    (tmp_path / "known_here_only.py").write_text(
        "from memlake.tests.small import MatchCell\nclass HereCell(MatchCell):\n    pass\n"
    )
    with cluster(1):
        with client_for(None, None, 1):
            pass  # it starts: its worker has the path of before
        monkeypatch.syspath_prepend(tmp_path)
        from known_here_only import HereCell

        cells = [HereCell(c.settings) for c in CELLS]
        reasons = [reason for _, reason in run_cells(lake, cells).failed]
    assert len(reasons) == 2 and set(reasons) == {
        "the workers cannot read the cells: No module named 'known_here_only': do they run the same memlake as this "
        "command?"
    }
    assert run_cells(lake, CELLS, workers=0).failed == []


PROGRAM = """
import sys
from memlake.tests.small import DOMAINS
from memlake.tests.warehouse.work.test_runner import slow_cell
from memlake.warehouse.lake import Lake
from memlake.warehouse.work.runner import run_cells
if __name__ == "__main__":
    lake = Lake.open(sys.argv[1])
    print("begin", flush=True)
    run_cells(lake, [slow_cell(d) for d in DOMAINS], workers=2)
"""


@dataclass(frozen=True)
class SlowCell(MatchCell):
    """Hands its rows over bit by bit, so that a kill may fall between them."""

    def rows(self, lake: Lake) -> CellRows:
        for name, piece in super().rows(lake):
            yield name, piece
            time.sleep(0.3)


def slow_cell(domain: str, **more: object) -> SlowCell:
    return SlowCell(match_cell(domain, **more).settings)


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random_moments_and_run_again(lake, undisturbed, seed):
    """SIGKILL of the whole program, twice: the third run ends with the lake that an undisturbed run makes."""
    moments = random.Random(seed)

    def start() -> subprocess.Popen:
        command = [sys.executable, "-c", PROGRAM, str(lake.path)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    for _ in range(2):
        with start() as program:
            program.stdout.readline()
            time.sleep(moments.uniform(1.0, 6.0))
            program.send_signal(signal.SIGKILL)
    with start() as last:
        last.stdout.readline()
        assert last.wait(120) == 0
    assert contents(lake) == undisturbed
    assert not list(lake.staging.glob("run-*"))


@pytest.mark.parametrize("step", ["manifest", "judged", "data", "checks"])
def test_the_tail_that_a_kill_left_missing_is_added(lake, monkeypatch, step):
    """The program ends at each step of a publication; the next one goes on where it stopped."""
    from memlake.warehouse.publishing import publish as module

    class Killed(BaseException):
        pass

    original = Lake.commit

    def commit(self, name, *rest):
        if (step, name) in {("judged", "matches"), ("data", "checks"), ("checks", "cells")}:
            raise Killed
        return original(self, name, *rest)

    def judge(rows):
        raise Killed

    monkeypatch.setattr(Lake, "commit", commit)
    if step == "manifest":
        monkeypatch.setattr(module.audit, "judge", judge)
    # The run's folder is left as a kill leaves it: the staged rows, and a lock that nobody holds.
    monkeypatch.setattr("memlake.warehouse.work.runner.shutil.rmtree", lambda *a, **k: None)
    with pytest.raises(Killed):
        run_cells(lake, CELLS[:1], workers=1)
    assert plan(lake, CELLS[:1]) == CELLS[:1]
    monkeypatch.undo()
    recover(lake)
    assert plan(lake, CELLS[:1]) == []
    with lake.connect() as con:
        assert con.execute("select count(*), count(distinct sequence_id) from stored.matches").fetchone() == (N, N)
        assert con.execute("select count(*) from stored.checks where cell = ?", [CELLS[0].id]).fetchone()[0] > 30
    assert not list(lake.staging.glob("run-*"))


def test_a_run_under_way_is_left_alone_by_another(lake, capsys):
    from memlake.warehouse.work.runner import _run_folder

    with _run_folder(lake) as folder:
        assert recover(lake) == 1
        assert folder.is_dir()
        assert run_cells(lake, []).done == []
        assert "another memlake command is writing to this lake: both go on" in capsys.readouterr().err
    assert recover(lake) == 0
    assert not folder.exists()


def test_no_scheduler_at_the_address(lake, monkeypatch):
    monkeypatch.setattr("memlake.warehouse.work.cluster.CONNECT_SECONDS", 0.5)
    with pytest.raises(BadInput, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1"):
        run_cells(lake, CELLS[:1], scheduler="tcp://127.0.0.1:1")


def test_two_runs_with_overlapping_cells_publish_no_row_twice(lake):
    """Both judge before either commits, were it not for the lock; the second is then judged against the first."""
    program = PROGRAM.replace(
        "[slow_cell(d) for d in DOMAINS], workers=2", "[slow_cell('c++', run=sys.argv[2])], workers=1"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", program, str(lake.path), n], stdout=subprocess.PIPE, text=True)
        for n in "12"
    ]
    for program in runs:
        program.communicate(timeout=120)
        assert program.returncode == 0
    with lake.connect() as con:
        assert con.execute("select count(*), count(distinct sequence_id) from stored.matches").fetchone() == (N, N)
        outcomes = con.execute("select outcome from stored.cells where experiment = 'small_scoring' order by all")
        assert outcomes.fetchall() == [("done",), ("quarantined",)]


def test_what_cannot_be_published_now_stays_staged(lake, monkeypatch):
    """A full disk is no fault of the rows: the run says so, and the next one publishes them."""
    from memlake.warehouse.publishing import publish as module

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "commit", full)
    summary = run_cells(lake, CELLS[:1], workers=1)
    assert "No space left on device" in summary.failed[0][1] and "its rows stay in staging/run-" in summary.failed[0][1]
    recover(lake)  # still full: says so, loses nothing
    monkeypatch.undo()
    recover(lake)
    assert plan(lake, CELLS[:1]) == [] and not list(lake.staging.glob("run-*"))


def test_what_an_older_memlake_left_is_removed(lake):
    (lake.staging / "merge" / "matches").mkdir(parents=True)
    recover(lake)
    assert not (lake.staging / "merge").exists()
