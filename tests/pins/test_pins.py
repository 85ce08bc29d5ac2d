"""What may not change. Golden files: `golden/`; meant changes: `python -m tests.pins.make`, and look at the diff."""

from __future__ import annotations

import difflib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
ROOT = HERE.parents[1]
# Width and looks of help, one thread for sums, no network, and nothing of the user's
ENVIRONMENT = {
    **{"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1", "LC_ALL": "C.UTF-8", "TZ": "UTC"},
    **{"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "PYTHONHASHSEED": "0"},
}
NOT_OURS = ("MEMLAKE_", "FORCE_COLOR", "CLICOLOR", "PY_COLORS", "RICH_", "TTY_", "GITHUB_ACTIONS", "_TYPER", "HF_")


def collected(folder: Path) -> tuple[Path, str | None]:
    """The pins as memlake gives them now, made below this folder; and what stopped that, if anything did."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(NOT_OURS)}
    environment |= ENVIRONMENT | {"HF_HOME": str(folder / "hub")}
    # Not `-m`: help calls a program as it was started
    command = [sys.executable, "-c", f"from memlake.tests.pins.collect import main; main({str(folder)!r})"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, encoding="utf-8")
    return folder / "pins", ended.stdout + ended.stderr if ended.returncode else None


@pytest.fixture(scope="module")
def collection(tmp_path_factory) -> tuple[Path, str | None]:
    return collected(tmp_path_factory.mktemp("pins"))


@pytest.fixture
def now(collection) -> Path:
    return collection[0]


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_all_of_it_can_be_collected(collection):
    if collection[1]:
        pytest.fail(collection[1], pytrace=False)


def test_nothing_is_missing_and_nothing_is_new(now):
    assert files(now) == files(GOLDEN)


def test_no_path_of_this_machine_is_pinned(now):
    for name in files(now):
        text = (now / name).read_text(encoding="utf-8")
        assert not [place for place in (str(now.parent), str(ROOT), str(Path.home())) if place in text], name


@pytest.mark.parametrize("name", files(GOLDEN))
def test_pinned(now, name):
    if not (now / name).is_file():
        pytest.fail(f"{name} is not there now", pytrace=False)
    golden, found = ((folder / name).read_text(encoding="utf-8") for folder in (GOLDEN, now))
    if golden != found:
        pytest.fail(f"{name} has changed:\n" + "\n".join(differences(name, golden, found)), pytrace=False)


def differences(name: str, golden: str, found: str) -> list[str]:
    """Which cell, table, column or command differs, and how."""
    if name.endswith(".json"):
        was, is_ = by_name(json.loads(golden)), by_name(json.loads(found))
    elif name == "transcript.txt":
        was, is_ = commands(golden), commands(found)
    else:
        was, is_ = {name: golden.splitlines()}, {name: found.splitlines()}
    lines = []
    for key in [*was, *(key for key in is_ if key not in was)]:
        if was.get(key) != is_.get(key):
            lines += difflib.unified_diff(
                was.get(key, []), is_.get(key, []), f"golden {key}", f"now {key}", "", "", 1, ""
            )
    return lines


def by_name(pinned: dict) -> dict[str, list[str]]:
    return {name: json.dumps(value, indent=1, ensure_ascii=False).splitlines() for name, value in pinned.items()}


def commands(transcript: str) -> dict[str, list[str]]:
    """What was said after each command; a command that is there twice has a number."""
    found: dict[str, list[str]] = {}
    for block in transcript.removeprefix("$ ").split("\n$ "):
        command, *said = block.splitlines()
        twice = sum(name.partition(" [")[0] == command for name in found)
        found[f"{command} [{twice + 1}]" if twice else command] = said
    return found
