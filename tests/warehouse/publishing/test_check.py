"""What a check looks at: all, or what is new since the last one that passed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import memlake
from memlake.tests.small import DOMAINS, flip, ingest_cell, make_lake, match_cell, match_rows, put_cell
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing import audit, passed
from memlake.warehouse.publishing.check import Check
from memlake.warehouse.publishing.compact import compact
from memlake.warehouse.publishing.forget import forget
from memlake.warehouse.publishing.passed import Passed, rules


@pytest.fixture
def lake(tmp_path) -> Lake:
    """The sequences of two domains, the scores of one; all of it has passed a check."""
    lake = make_lake(tmp_path / "lake")
    put(lake, DOMAINS[0])
    assert look(lake)[1] == []
    return lake


def put(lake: Lake, domain: str) -> str:
    cell = match_cell(domain)
    assert put_cell(lake, cell, {"matches": match_rows(domain)}) is None
    return cell.id


def look(lake: Lake) -> tuple[int, list[str]]:
    """How many files a check looks at, and what it finds; kept where it finds nothing."""
    checking = Check(lake, Passed.read(lake))
    steps: list[int] = []
    found = [f"{d.table_name}: {d.what}" for d in checking.defects(steps.append)]
    if not found:
        assert sum(steps) == checking.steps
        checking.now.keep(lake)
    return checking.looked_at, found


def test_nothing_new_is_nothing_to_look_at(lake):
    assert look(lake) == (0, []) and look(lake) == (0, [])


def test_a_lake_of_nothing(tmp_path):
    empty = Lake.create(tmp_path / "empty")
    assert look(empty) == (0, []) and Passed.read(empty) is not None and look(empty) == (0, [])


def test_what_is_new_is_looked_at_and_nothing_else(lake):
    put(lake, DOMAINS[1])
    # its file, and those in which checks and cells tell of it: of small ones these may have become one with older ones
    new = Check(lake, Passed.read(lake))._new("matches")
    assert [f.partition["domain"] for f in new] == [DOMAINS[1]]
    assert look(lake) == (3, []) and look(lake) == (0, [])


def test_damage_to_what_is_new_is_found(lake):
    put(lake, DOMAINS[1])
    (new,) = Check(lake, Passed.read(lake))._new("matches")
    flip(new.path)
    assert any(line.startswith("matches: ") for line in look(lake)[1])
    assert look(lake)[0] == 3  # nothing was kept of a check that found something


def test_damage_to_what_has_passed_is_found_by_a_look_at_all(lake):
    path = lake.files("matches")[0]
    flip(path)
    assert look(lake) == (0, [])
    assert [d.table_name for d in Check(lake).defects()] == ["matches"]


def test_a_file_that_is_gone_or_of_another_size_is_seen_at_once(lake):
    path = Path(lake.files("matches")[0])
    path.write_bytes(path.read_bytes() + b"x")
    assert [line for line in look(lake)[1] if "bytes, the log says" in line]
    path.unlink()
    assert look(lake)[1] == ["matches: file is missing"]


def test_rows_that_stand_on_what_was_taken_back_are_judged_again(lake):
    """As if `forget` had not looked at what stands on them."""
    cell = ingest_cell(DOMAINS[0]).id
    for name in ("cells", "sequences"):
        lake.retract(name, [cell], (lambda _: f"cell = '{cell}'") if name == "sequences" else None)
    found = look(lake)[1]
    assert any(line.startswith("matches: rows stand on nothing: 40 in sequences") for line in found), found
    whole = [f"{d.table_name}: {d.what}" for d in Check(lake).defects()]
    assert found == whole


def test_what_was_forgotten_is_no_defect(lake):
    forget(lake, cell=match_cell(DOMAINS[0]).id)
    assert look(lake)[1] == []


def test_a_row_of_a_table_of_names_that_was_amended(lake):
    lake.amend("models", {"model": "m", "nominal_params": 5})
    looked_at, found = look(lake)
    assert looked_at > 1 and found == []  # matches stand on it


def during(lake: Lake, monkeypatch, change) -> None:
    """A check that finds nothing, while this changes what the rows stand on that it has judged."""
    put(lake, DOMAINS[1])
    numbers = audit.numbers

    def judged(rows: audit.Rows) -> list[audit.Number]:
        found = numbers(rows)
        if rows.table_name == "matches":
            change()
        return found

    with monkeypatch.context() as patched:
        patched.setattr(audit, "numbers", judged)
        assert look(lake)[1] == []


def test_a_row_that_is_amended_during_a_check_is_seen_by_the_next(lake, monkeypatch):
    during(lake, monkeypatch, lambda: lake.amend("models", {"model": "m", "nominal_params": 5}))
    assert look(lake) == (1 + len(lake.snapshot("matches")), [])


def test_rows_that_are_taken_back_during_a_check_are_seen_by_the_next(lake, monkeypatch):
    cell = ingest_cell(DOMAINS[0]).id

    def take_back() -> None:
        for name in ("cells", "sequences"):
            lake.retract(name, [cell], (lambda _: f"cell = '{cell}'") if name == "sequences" else None)

    during(lake, monkeypatch, take_back)
    assert any("rows stand on nothing: 40 in sequences" in line for line in look(lake)[1])


def test_files_that_were_rewritten_are_new(lake):
    put(lake, DOMAINS[1])
    look(lake)
    assert any(part.new for part in compact(lake, ["cells", "checks"]))
    looked_at, found = look(lake)
    assert looked_at and found == []


def test_another_memlake_looks_at_all(lake, monkeypatch):
    monkeypatch.setattr(memlake, "__version__", "9.9")
    everything = sum(len(lake.snapshot(name)) for name in ("cells", "checks", "matches"))
    assert look(lake)[0] > everything


def test_other_judges_of_the_same_memlake_look_at_all(lake, monkeypatch, tmp_path):
    everything = sum(len(lake.snapshot(name)) for name in ("cells", "checks", "matches"))
    before, own = rules(), tmp_path / "audit.py"
    own.write_text(Path(audit.__file__).read_text() + "\n# judged otherwise\n")
    monkeypatch.setattr(passed, "judges", lambda: [own])
    assert rules() != before and look(lake)[0] > everything and look(lake) == (0, [])


def test_what_was_kept_may_be_damaged(lake):
    kept = lake.path / "kept" / "check" / "passed.parquet"
    kept.write_bytes(b"PAR1 of a kind")
    assert look(lake)[0] > 0 and look(lake) == (0, [])


def test_the_command_says_what_it_looked_at(lake):
    def check(*words: str) -> tuple[int, str, str]:
        program = "from memlake.cli import main; main()"
        command = [sys.executable, "-c", program, "warehouse", "check", "--lake", str(lake.path), *words]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
        return done.returncode, done.stdout, done.stderr

    code, out, said = check("--all")
    first, last = out.splitlines()
    assert code == 0 and last == "all is well" and " files" in first and "passed" not in first
    assert "check: " in said
    code, out, _ = check()
    assert code == 0 and out.startswith("looked at 0 of ") and "passed at 20" in out and "(--all)" in out
    Path(lake.files("matches")[0]).unlink()
    code, out, _ = check()
    assert code == 1 and "file is missing" in out and out.endswith("1 thing wrong\n")
