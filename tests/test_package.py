"""The wheel: one top-level name, every file, and commands that run where the repository is not."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from memlake.tests.small import make_lake

ROOT = Path(__file__).parents[1]
ROOMS = ("compute", "ingest", "queries", "reports", "studies", "warehouse")
SUFFIXES = {".py", ".sql", ".toml", ".csv", ".css", ".html", ".js", ".md"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, so that nothing that an earlier build left in the tree gets in."""
    tree = tmp_path_factory.mktemp("tree") / "any-name"
    ignore = shutil.ignore_patterns(".*", "__pycache__", "build", "*.egg-info", "tests", "docs", "lake")
    shutil.copytree(ROOT, tree, ignore=ignore)
    target = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*build, "-w", target, tree], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = target.glob("*.whl")
    return built


def test_one_top_level_name_with_every_file_of_the_rooms(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"memlake"}
    rooms = [f for room in ROOMS for f in (ROOT / room).rglob("*") if f.suffix in SUFFIXES]
    wanted = {f"memlake/{f.relative_to(ROOT).as_posix()}" for f in rooms if "__pycache__" not in f.parts}
    wanted |= {f"memlake/{name}" for name in ("__init__.py", "__main__.py", "cli.py", "demo.py", "py.typed")}
    assert len(wanted) > 200
    assert {name for name in names if name.startswith("memlake/")} == wanted


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The command of an environment into which the wheel was installed; what it depends on is this one's."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, with_pip=False)
    (here,) = place.glob("lib/python*/site-packages")
    python = place / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (here / "others.pth").write_text("\n".join(site.getsitepackages()))
    return place / "bin" / "memlake"


def test_it_runs_where_the_repository_is_not(installed, tmp_path):
    make_lake(tmp_path / "lake")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}

    def memlake(*words: str) -> str:
        done = subprocess.run([installed, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert memlake("--version").startswith("memlake ")
    assert "n\n" in memlake("sql", "select count(*) as n from sequences", "--format", "csv")
    assert "(0 rows)" in memlake("query", "run", "memorization_rate")
    report = Path(memlake("report", "run").strip().splitlines()[-1].removeprefix("report: "))
    assert "memorization_rate" in (tmp_path / report).read_text()
    where = "import memlake, sys; sys.exit(not memlake.__file__.startswith(sys.prefix))"
    assert subprocess.run([installed.parent / "python", "-c", where], env=environment).returncode == 0
