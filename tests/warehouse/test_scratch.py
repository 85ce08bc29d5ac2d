"""Where DuckDB spills, and what becomes of what a killed process has left there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from memlake.warehouse import scratch

SPILLING = """
import sys, time, duckdb
from memlake.warehouse.scratch import limit
con = duckdb.connect(config={"memory_limit": "60MB", "threads": 1})
limit(con)
con.execute("create table a as select md5(range::varchar) as x from range(3000000)")
print(con.execute("select current_setting('temp_directory')").fetchone()[0], flush=True)
time.sleep(100)
"""


@pytest.fixture
def spilling(tmp_path):
    """A process that has spilled, and its folder."""
    started = subprocess.Popen(
        [sys.executable, "-c", SPILLING], env=os.environ | {"TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE, text=True
    )
    folder = os.path.dirname(started.stdout.readline().strip())
    assert os.listdir(folder)
    yield started, folder
    started.kill()
    started.wait()
    started.stdout.close()


def test_only_what_a_killed_process_has_left_is_removed(spilling, tmp_path, monkeypatch):
    started, folder = spilling
    monkeypatch.setattr(scratch, "gettempdir", lambda: str(tmp_path))
    (tmp_path / f"{scratch.PREFIX}file").write_text("of somebody else")
    monkeypatch.setattr(scratch, "YOUNG", 0.0)
    scratch.sweep()
    assert os.listdir(folder)  # it is at work in it
    started.kill()
    started.wait()
    monkeypatch.setattr(scratch, "YOUNG", 60.0)
    scratch.sweep()
    assert os.path.exists(folder)  # a new one may not be locked yet
    monkeypatch.setattr(scratch, "YOUNG", 0.0)
    scratch.sweep()
    assert not os.path.exists(folder) and len(os.listdir(tmp_path)) == 1


def test_a_process_that_ends_leaves_nothing(spilling, tmp_path):
    started, folder = spilling
    started.send_signal(signal.SIGINT)
    started.wait()
    assert not os.path.exists(folder)
