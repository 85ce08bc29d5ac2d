"""Answers that the lake keeps: they are those that would be computed, and they go with what they were computed from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memlake.queries import answer as answering
from memlake.queries import findings
from memlake.queries.answer import UNSTABLE, answer, origin
from memlake.queries.ask import OpenLake, connect, snapshot
from memlake.queries.catalog import views
from memlake.queries.finding import find, names
from memlake.queries.kept import Kept
from memlake.queries.only import ALL, Only
from memlake.tests.small import CONDITION, DOMAINS, MODEL, make_lake, match_cell
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.forget import forget
from memlake.warehouse.publishing.register import register
from memlake.warehouse.show.terminal import FormatName
from memlake.warehouse.work.runner import run_cells

from .test_cli import run

MARK = pa.table({"kept": ["here"]})


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Lake:
    lake = make_lake(tmp_path_factory.mktemp("lake") / "lake")
    assert not run_cells(lake, [match_cell(d) for d in DOMAINS]).failed
    return lake


@pytest.fixture
def lake_(measured, tmp_path) -> Lake:
    """A copy, to be changed."""
    shutil.copytree(measured.path, tmp_path / "lake")
    return Lake.open(tmp_path / "lake")


def mark(lake: Lake) -> None:
    """Put another answer in the place of each that is kept: what is printed tells whether one was taken."""
    kept = Kept(lake, "answers")
    for path in kept.folder.iterdir():
        kept.put(path.name, MARK)


def asked(lake: Lake, *words: str) -> str:
    return run(lake, "query", "run", *(words or ("memorization_rate",)), "--format", "csv")


def is_kept(lake: Lake, *words: str) -> bool:
    return asked(lake, *words) == "kept\nhere\n"


@pytest.mark.parametrize("form", FormatName)
def test_a_kept_answer_is_printed_as_a_new_one(lake, form):
    words = [sys.executable, "-m", "memlake", "query", "run", "corpus_rate", "--lake", lake.path, "--format", form]
    fresh = subprocess.run([*words, "--fresh"], capture_output=True, check=True).stdout
    assert fresh and subprocess.run(words, capture_output=True, check=True).stdout == fresh


def test_an_opened_lake_takes_what_is_kept_and_joins_it(lake_):
    first = OpenLake(lake_.path).query("memorization_rate")
    joined = OpenLake(lake_.path)
    rates = joined.query("memorization_rate")
    assert rates.to_pyarrow() == first.to_pyarrow() and rates.schema() == first.schema()
    models = joined.table("models").select("model", "n_layers")
    assert rates.join(models, "model").count().execute() == rates.count().execute() > 0
    assert all(not name.startswith("answer-") for name in views(joined.connection))
    mark(lake_)
    assert OpenLake(lake_.path).query("memorization_rate").to_pyarrow() == MARK
    narrower = OpenLake(lake_.path).query("memorization_rate", condition=CONDITION["condition"])
    assert narrower.to_pyarrow() == first.to_pyarrow()


@pytest.mark.parametrize("name", names())
def test_a_kept_answer_has_the_types_and_the_rows_of_a_new_one(lake, name):
    text, files = find(name).text, snapshot(lake)
    with connect(lake, files) as con:
        rows = con.execute(text).to_arrow_table()
    assert answer(lake, files, text, ALL, lambda: rows, fresh=True) is rows
    kept = answer(lake, files, text, ALL, lambda: pytest.fail("it is kept"))
    assert kept.schema.equals(rows.schema, check_metadata=True) and kept.equals(rows)
    sinks = [pa.BufferOutputStream(), pa.BufferOutputStream()]
    for sink, table in zip(sinks, (rows, kept), strict=True):
        pq.write_table(table, sink)
    assert sinks[0].getvalue() == sinks[1].getvalue()


def test_an_answer_is_taken_where_it_is_kept_and_not_where_it_shall_be_fresh(lake_):
    computed = asked(lake_)
    mark(lake_)
    assert is_kept(lake_)
    assert asked(lake_, "memorization_rate", "--fresh") == computed
    assert asked(lake_) == computed  # the new one has taken its place


def test_another_question_has_another_answer(lake_):
    asked(lake_, "extraction_probability")
    mark(lake_)
    assert is_kept(lake_, "extraction_probability")
    for word in ("attempts=[1]", "condition=float32 sdpa"):
        assert not is_kept(lake_, "extraction_probability", "-p", word)


def test_an_answer_goes_when_a_table_behind_it_changes_and_with_no_other(lake_):
    asked(lake_)
    mark(lake_)
    register(lake_, "tokenizers", [{"tokenizer": "u", "source": "made", "digest": "sha256:2", "vocab_size": 9}])
    assert is_kept(lake_)
    register(lake_, "models", [MODEL | {"model": "another", "weights_digest": "sha256:2"}])
    assert not is_kept(lake_)


def test_an_answer_goes_when_rows_are_taken_back_and_is_not_that_of_before_when_they_are_published_again(lake_):
    cell = match_cell(DOMAINS[0])
    before = asked(lake_)
    mark(lake_)
    forget(lake_, cell=cell.id)
    without = asked(lake_)
    assert DOMAINS[0] in before and DOMAINS[0] not in without and "here" not in without
    assert not run_cells(lake_, [cell]).failed
    assert asked(lake_) == before


def test_a_lake_keeps_its_answers_when_it_is_moved(lake_, tmp_path):
    asked(lake_)
    mark(lake_)
    os.rename(lake_.path, tmp_path / "elsewhere")
    assert is_kept(Lake.open(tmp_path / "elsewhere"))


def test_a_lake_made_anew_at_the_same_place_has_its_own_answers(tmp_path):
    lake = make_lake(tmp_path / "lake")
    asked(lake, "guessability")
    mark(lake)
    versions = {name: lake.version(name) for name in ("sequences", "models", "cells")}
    os.rename(tmp_path / "lake", tmp_path / "old")
    lake = make_lake(tmp_path / "lake")
    os.rename(tmp_path / "old" / "kept", tmp_path / "lake" / "kept")
    assert versions == {name: lake.version(name) for name in versions}
    assert not is_kept(lake, "guessability")


@pytest.mark.parametrize("module", [answering, duckdb])
def test_another_version_of_the_code_has_its_own_answers(lake_, monkeypatch, module):
    asked(lake_)
    mark(lake_)
    monkeypatch.setattr(module, "__version__", "0.0.1")
    assert not is_kept(lake_)


def test_a_finding_that_is_written_anew_and_a_view_that_is_have_their_own_answers(lake_, tmp_path, monkeypatch):
    monkeypatch.setattr(findings, "__path__", [*findings.__path__, str(tmp_path)])
    file = tmp_path / "made_up.sql"
    file.write_text("-- One row is one model.\nselect model, share(memorized) as rate from matches group by all\n")
    asked(lake_, "made_up")
    mark(lake_)
    assert is_kept(lake_, "made_up")
    file.write_text(file.read_text().replace("share(memorized)", "1 - share(memorized)"))
    assert not is_kept(lake_, "made_up")
    mark(lake_)
    made = [*answering.definitions()]
    for name, is_needed in (("student_t", False), ("share", True)):
        other = [type(d)(d.name, d.sql + " " if d.name == name else d.sql) for d in made]
        monkeypatch.setattr(answering, "definitions", lambda only, other=other: other)
        assert is_kept(lake_, "made_up") is not is_needed


def test_what_is_damaged_is_computed_again(lake_):
    computed = asked(lake_)
    (path,) = Kept(lake_, "answers").folder.iterdir()
    for content in (b"", b"rubbish", path.read_bytes()[:-9]):
        path.write_bytes(content)
        assert asked(lake_) == computed
    mark(lake_)
    assert is_kept(lake_)


def test_two_processes_may_ask_at_once(lake_):
    words = [sys.executable, "-m", "memlake", "query", "run", "corpus_rate", "--lake", str(lake_.path)]
    at_work = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    said = [process.communicate() for process in at_work]
    assert said[0] == said[1] and said[0][1] == b"" and b"weighted_by" in said[0][0]
    assert len([*Kept(lake_, "answers").folder.iterdir()]) == 1


def test_statements_of_users_are_not_kept(lake_):
    run(lake_, "sql", "select count(*) from matches")
    assert not (lake_.path / "kept").exists()


@pytest.mark.parametrize("only", [ALL, Only(condition="float32 sdpa", sample_window="4+12")])
def test_every_finding_is_a_function_of_the_tables(lake, only):
    origins = [origin(lake, snapshot(lake), find(name).text, only) for name in names()]
    assert None not in origins and len(set(origins)) == len(names())


def test_what_asks_about_all_there_is_or_answers_otherwise_another_time_is_not_kept(lake):
    for text in ("select now()", "from matches using sample 3", "show tables", "select age(finished_at) from cells"):
        assert origin(lake, snapshot(lake), text, ALL) is None
    assert origin(lake, snapshot(lake), "select model -- now\n from matches", ALL) is not None


def test_all_functions_are_known_that_answer_otherwise_another_time():
    with duckdb.connect() as con:
        unstable = con.execute(
            "select distinct function_name from duckdb_functions() where stability <> 'CONSISTENT'"
        ).fetchall()
    assert len(unstable) > 20 and [name for (name,) in unstable if not UNSTABLE.search(f"{name}()")] == []
