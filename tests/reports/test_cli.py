"""`memlake report`."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from memlake.queries.finding import names
from memlake.reports.cli import app
from memlake.warehouse.errors import NotALake, UnknownName


def run(*words: str) -> str:
    result = CliRunner().invoke(app, [*words])
    if result.exception:
        raise result.exception
    return result.stdout


def test_list_asks_every_question():
    rows = json.loads(run("list", "--format", "json"))
    assert sorted(row["finding"] for row in rows) == names()
    assert all(row["question"].endswith("?") and row["figure"] == "yes" for row in rows)


def test_run_prints_the_path_of_the_page(lake):
    path = run("run", "scaling_law", "--lake", str(lake.path)).strip()
    assert path == str(lake.path / "reports" / "index.html")
    assert '<section id="scaling_law">' in (lake.path / "reports" / "index.html").read_text(encoding="utf-8")


def test_bad_input_is_one_line(lake, tmp_path):
    with pytest.raises(UnknownName):
        run("run", "scaling_low", "--lake", str(lake.path))
    with pytest.raises(NotALake):
        run("run", "--lake", str(tmp_path))


def test_listing_draws_nothing():
    code = "import sys, memlake.reports.page as p; p.overview(); sys.exit('altair' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
