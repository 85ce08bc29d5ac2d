"""Editions of named reports: of a lake that moves, one that does not, two at once, a kill, and what of it is kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from memlake.queries.ask import OpenLake
from memlake.reports import answers, change, cli, edition, named
from memlake.reports.page import locked
from memlake.tests.queries.conftest import done, put
from memlake.warehouse.errors import BadInput
from memlake.warehouse.lake import Lake

from .made_up import make, model
from .test_page import Reader

NOW = datetime(2026, 2, 3, 4, 5, 6).astimezone()  # a Tuesday
WEEK = timedelta(days=7)
REPORTS = """
[weekly]
title = "Week <by> week"
findings = ["corpus_rate", "memorization_rate"]
formats = ["html", "csv", "markdown"]
schedule = "0 6 * * mon"
keep = 3
url = "https://example.org/weekly/"
"""
NAME = "mini-pythia-1m"


@pytest.fixture
def lake(tmp_path) -> Lake:
    lake = make(tmp_path / "lake", ["pythia"], sizes=("300k", "1m"), domains={"code": "structural"}, n=16)
    (lake.path / "reports.toml").write_text(REPORTS)
    return lake


def weekly(lake: Lake) -> named.Report:
    return named.read(lake, named.file_of(lake))["weekly"]


def memorize(lake: Lake) -> None:
    """The larger model now knows all of the corpus: its rows are taken back and come again."""
    known = OpenLake(lake.path).sql(f"from stored.matches where model = '{NAME}' and corpus = 'made_up'").to_pyarrow()
    delta = lake.delta("matches")
    delta.delete(f"model = '{NAME}' and corpus = 'made_up'")
    rows = [row | {"memorized": True, "n_match": row["n_tokens"], "score": 1.0} for row in known.to_pylist()]
    put(lake, "again", [("matches", rows)])


def test_it_is_drawn_when_it_is_due_and_something_moved(lake):
    report, folder = weekly(lake), lake.path / "reports" / "weekly"
    first = edition.make(lake, report, NOW, due_only=True)
    assert first.page == folder / edition.name_of(NOW) / "index.html" and "the first edition" in first.said
    before = sorted(folder.rglob("*")), (folder / "index.html").read_text()

    again = edition.make(lake, report, NOW + timedelta(hours=1), due_only=True)
    assert (again.page, again.said) == (None, "not due before 2026-02-09 06:00")
    assert before == (sorted(folder.rglob("*")), (folder / "index.html").read_text())

    still = edition.make(lake, report, NOW + WEEK, due_only=True)
    assert still.page is None and still.said.startswith("due, but nothing moved since")
    assert "at 2026-02-09 06:00:00, nothing had moved" in (folder / "index.html").read_text()
    assert "not due" in edition.make(lake, report, NOW + WEEK, due_only=True).said

    put(lake, "new", [("models", [model("mini-new-1m", "new", 10**6)])])
    memorize(lake)
    moved = edition.make(lake, report, NOW + 2 * WEEK, due_only=True)
    assert moved.page and (folder / "latest").resolve() == moved.page.parent
    newest, oldest = edition.editions(folder)
    assert (newest.slot, oldest.slot, oldest.changes) == ("2026-02-16T06:00:00", "2026-02-02T06:00:00", None)
    text = " ".join(newest.changes)
    assert "model new: mini-new-1m" in text and f"rate of {NAME}" in text and "→ 1 (" in text
    for page in (moved.page, folder / "index.html", moved.page.parent / "report.md"):
        shown = Reader(page.read_text(encoding="utf-8")).text if page.suffix == ".html" else page.read_text()
        assert "model new: mini-new-1m" in shown.replace("\\", "")
    assert "Week <by> week" in Reader(moved.page.read_text()).text
    assert "(https://example.org/weekly/latest/)" in (moved.page.parent / "report.md").read_text()


def test_an_edition_holds_the_rows_it_was_drawn_from(lake):
    drawn = edition.make(lake, weekly(lake), NOW).page.parent
    rows = pq.ParquetFile(drawn / "rows" / "corpus_rate.parquet").read()
    assert rows.equals(OpenLake(lake.path).query("corpus_rate").to_pyarrow())
    with duckdb.connect() as con:
        assert len(con.execute(f"from '{drawn}/rows/corpus_rate.csv'").fetchall()) == rows.num_rows > 0
    assert edition.load(drawn).sets["models"] == {"mini-pythia-300k", NAME}


def test_by_name_it_is_drawn_whatever_is_due_and_old_ones_go(lake):
    report, folder = weekly(lake), lake.path / "reports" / "weekly"
    for i in range(5):
        assert edition.make(lake, report, NOW + i * timedelta(seconds=i % 3)).page
    kept = [e.name for e in edition.editions(folder)]
    assert len(kept) == 3 and os.readlink(folder / "latest") == kept[0]
    assert {p.name for p in folder.iterdir()} == {*kept, "latest", "index.html"}
    assert [n for n in kept if f'id="{n}"' in (folder / "index.html").read_text()] == kept


def test_a_change_of_the_report_itself_is_an_edition(lake):
    first = edition.make(lake, weekly(lake), NOW, due_only=True)
    (lake.path / "reports.toml").write_text(REPORTS.replace("Week", "Month"))
    second = edition.make(lake, weekly(lake), NOW + WEEK, due_only=True)
    assert second.page and edition.editions(weekly(lake).to)[0].changes == []
    (lake.path / "reports.toml").write_text(REPORTS + 'models = ["mini-pythia-300k"]')
    edition.make(lake, weekly(lake), NOW + 2 * WEEK, due_only=True)
    assert edition.editions(weekly(lake).to)[0].changes == [edition.OTHERWISE]  # and not that a model is gone
    newest = str(weekly(lake).to / "latest")
    with pytest.raises(BadInput, match="are not about the same"):
        run(lake, "diff", str(first.page.parent), newest)
    assert run(lake, "diff", newest)[1] == "nothing moved by more than its interval\n"  # asks of that one model


def test_what_moved_over_an_edition_without_an_answer_is_told(lake, monkeypatch):
    report, real = weekly(lake), answers.answer
    edition.make(lake, report, NOW)
    memorize(lake)

    def fails(lake, files, text, *more):
        if "One row is one model on one corpus under one weight" in text:
            raise duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate")
        return real(lake, files, text, *more)

    with monkeypatch.context() as patched:
        patched.setattr(answers, "answer", fails)
        edition.make(lake, report, NOW + WEEK)
    edition.make(lake, report, NOW + 2 * WEEK)
    newest, second, _ = edition.editions(report.to)
    assert "no longer answered: corpus_rate" in second.changes
    assert any(line.startswith("corpus_rate: ") for line in newest.changes)


def test_a_check_that_was_mended_fails_no_longer(lake):
    row = {"cell": "x", "table_name": "matches", "partition": "", "expectation": "key_unique", "observed": 1.0}
    times = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2)]
    edition.make(lake, weekly(lake), NOW)
    put(lake, "judged", [("checks", [row | {"passed": False, "checked_at": times[0], "quarantined": "q"}])])
    edition.make(lake, weekly(lake), NOW + WEEK)
    put(lake, "judged again", [("checks", [row | {"passed": True, "checked_at": times[1]}])])
    edition.make(lake, weekly(lake), NOW + 2 * WEEK)
    newest, second, _ = edition.editions(weekly(lake).to)
    assert second.changes == ["check that fails began: key_unique of matches"]
    assert newest.changes == ["check that fails ended: key_unique of matches"]


def test_who_comes_second_leaves_it_to_the_first(lake):
    report = weekly(lake)
    report.to.mkdir(parents=True)
    with locked(report.to):
        assert edition.make(lake, report, NOW, due_only=True).said == "another process draws it"
    assert list(report.to.iterdir()) == []


@pytest.mark.parametrize("where", ["_write", "settle"])
def test_a_kill_leaves_nothing_half_made(lake, monkeypatch, where):
    report, folder = weekly(lake), lake.path / "reports" / "weekly"
    edition.make(lake, report, NOW)
    real, calls = getattr(edition, where), []

    def killed(*given):
        calls.append(real(*given))
        if where == "_write" or len(calls) == 2:
            raise KeyboardInterrupt
        return calls[-1]

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(edition, where, killed)
        edition.make(lake, report, NOW + WEEK)
    (folder / ".part-2026-01-01T000000Z").mkdir()  # as a kill by force leaves it
    (folder / ".part-index.html").write_text("half")
    (folder / ".part-mine").write_text("a user's")
    (folder / "latest").unlink()
    edition.make(lake, report, NOW + WEEK)
    kept = [e.name for e in edition.editions(folder)]
    assert len(kept) == (2 if where == "_write" else 3) and os.readlink(folder / "latest") == kept[0]
    assert [p.name for p in folder.iterdir() if p.name.startswith(".")] == [".part-mine"]


def test_a_folder_of_something_else_is_left_alone(lake):
    folder = weekly(lake).to
    folder.mkdir(parents=True)
    (folder / "index.html").write_text("a user's")
    with pytest.raises(BadInput, match=r"holds what no report has put there \(index.html\)"):
        edition.make(lake, weekly(lake), NOW)
    assert [p.name for p in folder.iterdir()] == ["index.html"]
    (folder / "index.html").unlink()
    edition.make(lake, weekly(lake), NOW)
    (folder / "mine.txt").write_text("a user's")
    (folder / "latest").unlink()
    (folder / "latest").mkdir()
    with pytest.raises(BadInput, match=r"holds what no report has put there \(mine.txt\)"):
        edition.make(lake, weekly(lake), NOW)
    (folder / "latest").rmdir()
    assert edition.make(lake, weekly(lake), NOW).page and (folder / "mine.txt").exists()


def test_a_clock_that_goes_backwards_loses_no_edition(lake):
    first = edition.make(lake, weekly(lake), NOW).page
    second = edition.make(lake, weekly(lake), NOW - timedelta(minutes=50)).page
    assert first.parent.name < second.parent.name and second.exists()
    with pytest.raises(BadInput, match="is of a day to come: set the clock"):
        edition.make(lake, weekly(lake), NOW - WEEK)


@pytest.mark.parametrize(
    "wrong", [{"sets": None}, {"sets": {"models": 3}}, {"changes": 3}, {"slot": 7}, {"files": None}, {"failed": None}]
)
def test_an_edition_that_holds_something_else_is_as_none(lake, wrong):
    first = edition.make(lake, weekly(lake), NOW).page.parent
    known = json.loads((first / "edition.json").read_text())
    edition.make(lake, weekly(lake), NOW + WEEK)
    (first / "edition.json").write_text(json.dumps(known | wrong))
    assert edition.make(lake, weekly(lake), NOW + 2 * WEEK).page
    assert len(edition.editions(weekly(lake).to)) == 2


def test_a_process_that_is_killed_gives_its_lock_back(lake):
    script = f"""
import sys, time
from pathlib import Path
from memlake.reports import edition, page
with page.locked(Path({str(lake.path)!r})):
    print("in", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"in\n"
        with locked(lake.path, wait=False) as ours:
            assert not ours
        holder.send_signal(signal.SIGKILL)
    with locked(lake.path, wait=False) as ours:
        assert ours


def test_a_damaged_edition_is_as_none(lake):
    report = weekly(lake)
    first = edition.make(lake, report, NOW).page.parent
    (first / "rows" / "corpus_rate.parquet").write_bytes(b"no")
    assert edition.OTHERWISE in edition.make(lake, report, NOW + WEEK).said
    (first / "edition.json").write_text("{}")
    assert len(edition.editions(report.to)) == 1


def test_of_some_it_is_as_though_there_were_nothing_else(lake):
    only = 'models = ["mini-pythia-300k"]\ncorpora = "made_up"\n'
    (lake.path / "reports.toml").write_text(REPORTS + only)
    drawn = edition.make(lake, weekly(lake), NOW).page.parent
    state = edition.load(drawn)
    assert set(state.rows["corpus_rate"]["model"].to_pylist()) == state.sets["models"] == {"mini-pythia-300k"}
    assert set(state.rows["memorization_rate"]["corpus"].to_pylist()) == {"made_up"}
    text = Reader((drawn / "index.html").read_text()).text
    assert "of it only models mini-pythia-300k; corpora made_up" in text and NAME not in text


# The commands


def run(lake: Lake, *words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli.app, [*words, "--lake", str(lake.path)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_a_line_for_each_report_and_exit_code_0(lake):
    code, _, said = run(lake, "run", "--due")
    assert code == 0 and said.count("\n") == 1 and "weekly: drawn, the first edition: " in said
    assert Path(said.rpartition(": ")[2].strip()).exists()
    code, out, said = run(lake, "run", "--due")
    assert (code, out) == (0, "") and "weekly: not due before " in said
    code, out, _ = run(lake, "schedule", "--format", "csv")
    assert "weekly" in out and str(lake.path / "reports" / "weekly") in out


def test_a_finding_that_fails_is_told_and_the_others_are_drawn(lake, monkeypatch):
    real = answers.answer

    def fails(lake, files, text, *more):
        if "One row is one model on one corpus under one weight" in text:
            raise duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate")
        return real(lake, files, text, *more)

    monkeypatch.setattr(answers, "answer", fails)
    code, out, err = run(lake, "run", "--due")
    assert code == 1 and "drawn" in err and "corpus_rate could not be answered: Out of Memory Error" in err
    (drawn,) = edition.editions(lake.path / "reports" / "weekly")
    sections = Reader((lake.path / "reports" / "weekly" / drawn.name / "index.html").read_text()).sections
    assert "It could not be answered: Out of Memory" in sections["corpus_rate"]
    assert "It could not" not in sections["memorization_rate"]
    code, out, err = run(lake, "run", "corpus_rate", "memorization_rate")
    assert code == 1 and out.strip().endswith("index.html") and "corpus_rate could not be answered" in err


def test_what_is_yours_to_mend_in_one_report_does_not_stop_the_others(lake):
    text = '[bad]\nmodels = "no such"\nschedule = "@daily"\n' + REPORTS
    (lake.path / "reports.toml").write_text(text)
    code, _, err = run(lake, "run", "--due")
    assert code == 2 and "bad: no model 'no such'" in err
    assert len(edition.editions(lake.path / "reports" / "weekly")) == 1


@pytest.mark.parametrize(
    ("words", "ran"),
    [((), "success"), (("--report", "no"), "failure"), (("--file", "no.toml"), "failure")],
)
def test_a_command_hears_how_it_went(lake, tmp_path, words, ran):
    hooks = [f"--on-{kind}=touch '{tmp_path / kind}'" for kind in ("success", "failure")]
    try:
        run(lake, "run", "--due", *words, *hooks)
    except Exception as e:
        assert ran == "failure" and "no" in str(e)
    assert [kind for kind in ("success", "failure") if (tmp_path / kind).exists()] == [ran]


def test_a_page_of_the_past(lake):
    before = lake.version("cells")
    then = OpenLake(lake.path).query("corpus_rate").to_pandas()
    time.sleep(0.01)
    put(lake, "more cells", [("models", [model("mini-new-1m", "new", 10**6)]), ("cells", [])])
    memorize(lake)
    put(lake, "last", [("cells", [done("x")])])
    code, out, _ = run(lake, "run", "corpus_rate", "--at", str(before))
    text = Reader(Path(out.strip()).read_text()).text
    assert code == 0 and f"as it was after version {before} of cells" in text
    shown = text.replace("\N{MINUS SIGN}", "-")
    assert all(f"{rate:.4g}" in shown for rate in then["rate"])
    code, out, _ = run(lake, "diff", str(before))
    assert "model new: mini-new-1m" in out and f"rate of {NAME}" in out
    code, out, _ = run(lake, "diff", str(before), "--format", "csv")
    assert out.splitlines()[0] == "change,of,which,column,before,before_low,before_high,after,after_low,after_high"
    with pytest.raises(BadInput, match="has no version 999"):
        run(lake, "run", "--at", "999")
    with pytest.raises(BadInput, match="is not that old"):
        run(lake, "run", "--at", "2001-01-01")
    with pytest.raises(BadInput, match="is yet to come"):
        run(lake, "run", "--at", "2999-01-01T00:00")
    with pytest.raises(BadInput, match="neither a version nor a date"):
        run(lake, "run", "--at", "yesterday")


def test_diff_of_editions(lake):
    run(lake, "run", "-r", "weekly")
    code, out, _ = run(lake, "diff", "latest", "-r", "weekly")
    assert (code, out) == (0, "nothing moved by more than its interval\n")
    memorize(lake)
    _, out, _ = run(lake, "diff", "latest", "now", "-r", "weekly")
    assert out.startswith("corpus_rate: ") and "→ 1 (" in out
    folder = str((lake.path / "reports" / "weekly" / "latest").resolve())
    assert run(lake, "diff", folder, "now", "-r", "weekly")[1] == out


# What has moved


def test_a_value_has_moved_where_the_intervals_do_not_meet(lake):
    with answers.read(lake, answers.Scope(["corpus_rate"])) as reading:
        state = change.state(reading)
    rows = state.rows["corpus_rate"].to_pylist()
    for by in (0.0, 0.05, 0.2, 0.6):
        shifted = [row | {c: row[c] + by for c in ("rate", "low", "high")} for row in rows]
        after = type(state.rows["corpus_rate"]).from_pylist(shifted, state.rows["corpus_rate"].schema)
        got = change.between(state, change.State({}, {"corpus_rate": after}, state.sets))
        expected = [
            row["rate"]
            for row, other in zip(rows, shifted, strict=True)
            if max(row["low"], other["low"]) > min(row["high"], other["high"]) + 1e-9
        ]
        assert sorted(m.before[0] for m in got.moved.get("corpus_rate", [])) == sorted(expected)
        assert got.differ == (by > 0) and got.rows == {}
    fewer = state.rows["corpus_rate"].slice(2)
    got = change.between(state, change.State({}, {"corpus_rate": fewer}, state.sets))
    assert got.rows == {"corpus_rate": (0, 2)} and got.differ
