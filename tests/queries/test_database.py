"""The lake as one DuckDB file: any client gets from it what memlake answers, and it follows the lake."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from memlake.queries import upkeep
from memlake.queries.ask import connect, snapshot
from memlake.queries.catalog import table_macros, views
from memlake.queries.database import rebuild
from memlake.queries.finding import find, names
from memlake.queries.upkeep import catalogs
from memlake.tests.small import CONDITION, DOMAINS, ingested
from memlake.warehouse import schema
from memlake.warehouse.errors import DamagedLake
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.register import register

from .conftest import put
from .findings import cases, database
from .test_cli import run

CASES = [(name, i) for name in names() for i, _ in enumerate(cases(name))]


@pytest.fixture(scope="module")
def empty(tmp_path_factory) -> Lake:
    lake = Lake.create(tmp_path_factory.mktemp("empty") / "lake")
    rebuild(lake)
    return lake


@pytest.fixture
def made(empty, tmp_path) -> Lake:
    """A copy, to be changed: a lake that was moved."""
    shutil.copytree(empty.path, tmp_path / "a lake")
    return Lake.open(tmp_path / "a lake")


def opened(lake: Lake) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(lake.path / "catalog.duckdb", read_only=True)


def with_condition(lake: Lake, name: str) -> None:
    register(lake, "conditions", [CONDITION | {"condition": name}])


def conditions(lake: Lake) -> list[str]:
    with opened(lake) as con:
        return [name for (name,) in con.execute("select condition from conditions order by all").fetchall()]


def call(name: str, values: dict[str, object]) -> str:
    literals = find(name).sql(**values) and {k: json.dumps(v).replace('"', "'") for k, v in values.items()}
    return f"from {name}({', '.join(f'{k} := {v}' for k, v in literals.items())})"


def same_answers(con: duckdb.DuckDBPyConnection, asked: duckdb.DuckDBPyConnection, name: str, **values: object) -> bool:
    """Has the macro the columns, types and rows of the finding? Their order, too."""
    got, expected = con.execute(call(name, values)).to_arrow_table(), asked.execute(find(name).sql(**values))
    rows = expected.to_arrow_table()
    assert got.schema.equals(rows.schema)
    for row, other in zip(got.to_pylist(), rows.to_pylist(), strict=True):
        assert row == pytest.approx(other, nan_ok=True)
    return rows.num_rows > 0


@pytest.mark.parametrize(("name", "i"), CASES)
def test_each_case_of_a_finding_is_answered_by_its_macro(name, i):
    case = cases(name)[i]
    con = database(case["given"])
    con.execute(";\n".join(["create schema findings", *find(name).macros()]))
    assert same_answers(con, con, name, **case.get("parameters", {}))


@pytest.mark.parametrize("name", names())
def test_the_file_of_a_lake_that_holds_a_case_answers_it(made, name):
    case = cases(name)[0]
    given = database(case["given"])
    tables = [(table, given.execute(f'from stored."{table}"').to_arrow_table()) for table in schema.names()]
    put(made, "case", [(table, rows) for table, rows in tables if rows.num_rows])
    rebuild(made)
    with opened(made) as con:
        assert same_answers(con, given, name, **case.get("parameters", {}))


CLIENT = """
import duckdb, json, sys
con = duckdb.connect(sys.argv[1], read_only=True)
for name in sys.argv[2:]:
    answer = con.execute(f"from {name}()")
    columns = [column for column, *_ in answer.description]
    for row in answer.fetchall():
        print(json.dumps([name, dict(zip(columns, row))], default=str))
assert "memlake" not in sys.modules
"""


def test_a_client_without_memlake_gets_the_answers_in_another_folder_and_time_zone(lake, tmp_path):
    words = [sys.executable, "-I", "-c", CLIENT, rebuild(lake), *names()]
    said = subprocess.run(words, cwd=tmp_path, env={"TZ": "Asia/Tokyo"}, capture_output=True, text=True, check=True)
    got = [json.loads(line) for line in said.stdout.splitlines()]
    expected = [
        [name, json.loads(line)]
        for name in names()
        for line in run(lake, "query", "run", name, "--format", "jsonl").splitlines()
    ]
    assert len(got) > 20
    for (name, row), (of, other) in zip(got, expected, strict=True):
        assert name == of and row == pytest.approx(other)


def test_all_that_sql_can_name_is_there_and_the_parameters_have_their_defaults(lake):
    rebuild(lake)
    with opened(lake) as con, connect(lake, snapshot(lake)) as asked:
        assert set(views(con)) == {*views(asked), "snapshot"}
        for name in views(asked):
            count = f'select count(*) from "{name}"'
            assert con.execute(count).fetchall() == asked.execute(count).fetchall()
        assert set(table_macros(con)) == {*table_macros(asked), *names()}
        of_macros = (
            "select function_name, parameters from duckdb_functions() where schema_name = 'main' and not internal"
        )
        parameters = dict(con.execute(of_macros).fetchall())
        for name in names():
            assert parameters[name] == [*find(name).parameters]
        found = con.execute(
            "select function_name from duckdb_functions() where not internal and function_type = 'macro'"
        )
        assert {"wilson_low", "share", "student_t"} <= {name for (name,) in found.fetchall()}
        versions = con.execute("select table_name, version, files, rows from snapshot").fetchall()
        assert versions == [
            (name, lake.version(name), len(lake.files(name)), sum(f.rows for f in lake.snapshot(name)))
            for name in schema.names()
        ]


def test_the_names_that_macros_give_to_parameters_stand_in_no_finding():
    assert [name for name in names() if "given_" in find(name).text] == []


def test_a_lake_that_was_moved_is_found_again_after_a_rebuild(made, tmp_path):
    with_condition(made, "a")
    rebuild(made)
    assert conditions(made) == ["a"]
    os.rename(made.path, tmp_path / "elsewhere")
    moved = Lake.open(tmp_path / "elsewhere")
    with pytest.raises(duckdb.IOException):
        conditions(moved)
    assert run(moved, "warehouse", "catalog") == f"{moved.path / 'catalog.duckdb'}\n"
    assert conditions(moved) == ["a"]


@pytest.mark.parametrize("way", ["folder/../a lake", "link"])
def test_it_needs_no_folder_by_which_the_lake_was_reached(made, tmp_path, way):
    with_condition(made, "a")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(made.path)
    rebuild(Lake.open(tmp_path / way))
    (tmp_path / "folder").rmdir()
    (tmp_path / "link").unlink()
    assert conditions(made) == ["a"]


def test_a_folder_may_have_a_question_mark(made, tmp_path):
    with_condition(made, "a")
    os.rename(made.path, tmp_path / "why?")
    asked = Lake.open(tmp_path / "why?")
    for _ in range(2):  # the second time with what the first has kept
        rebuild(asked)
        assert conditions(asked) == ["a"]
    assert len([*(asked.path / "kept" / "catalog").iterdir()]) == 1


@pytest.mark.parametrize("name", ["kept", "kept/catalog"])
def test_where_nothing_can_be_kept_it_is_made(made, name):
    shutil.rmtree(made.path / "kept")
    (made.path / name).parent.mkdir(exist_ok=True)
    (made.path / name).write_bytes(b"no folder")
    with_condition(made, "a")
    rebuild(made)
    assert conditions(made) == ["a"]


@pytest.mark.parametrize(("name", "broken"), [("exposures", "exposures"), ("sequences", "sequences, samples")])
def test_a_lost_file_leaves_the_other_tables(made, capsys, name, broken):
    put(made, "c", [*ingested(DOMAINS[0]), ("exposures", [{"model": "m", "document_id": 1, "exposures": 1}])])
    Path(made.files(name)[0]).unlink()
    with catalogs():
        with_condition(made, "a")
    (line,) = capsys.readouterr().err.splitlines()
    assert f"is made without {broken}" in line and "memlake warehouse check" in line
    with pytest.raises(DamagedLake, match=f"is made without {broken}"):
        rebuild(made)
    assert conditions(made) == ["a"]
    with opened(made) as con, pytest.raises(duckdb.InvalidInputException, match="warehouse check"):
        con.execute(f"select count(*) from {name}")


def test_who_has_it_open_keeps_what_it_had(made):
    with_condition(made, "a")
    rebuild(made)
    with opened(made) as before:
        with_condition(made, "b")
        rebuild(made)
        assert before.execute("select count(*) from conditions").fetchall() == [(1,)]
        assert before.execute("select count(*) from snapshot where files > 0").fetchall() == [(1,)]
    assert conditions(made) == ["a", "b"]  # DuckDB gives a process the file it has open, as long as it has it open


def test_it_is_not_written_to(made):
    (made.path / "catalog.duckdb.wal").write_bytes(b"of a client that was killed")
    assert rebuild(made).stat().st_mode & 0o222 == 0
    assert sorted(p.name for p in made.path.glob("catalog*")) == ["catalog.duckdb"]


def test_of_rebuilds_at_once_the_newest_snapshot_stays(made):
    words = [sys.executable, "-m", "memlake", "warehouse", "catalog", "--lake", str(made.path)]
    at_work = []
    for name in ("a", "b", "c"):
        with_condition(made, name)
        at_work.append(subprocess.Popen(words, stdout=subprocess.DEVNULL))
    assert [process.wait() for process in at_work] == [0, 0, 0]
    assert conditions(made) == ["a", "b", "c"]


@pytest.mark.parametrize("rubbish", [b"", b"rubbish" * 1000])
def test_what_a_kill_or_an_older_memlake_has_left_does_no_harm(made, rubbish):
    with_condition(made, "a")
    rebuild(made)
    (kept,) = (made.path / "kept" / "catalog").iterdir()
    for path in (
        kept,
        made.staging / "catalog.duckdb",
        made.staging / "catalog.duckdb.wal",
        made.path / "catalog.duckdb",
    ):
        path.unlink(missing_ok=True)
        path.write_bytes(rubbish)
    kept.with_name("empty-of-another-version").write_bytes(rubbish)
    rebuild(made)
    assert conditions(made) == ["a"]
    assert [*(made.path / "kept" / "catalog").iterdir()] == [kept]
    assert not [*made.staging.glob("catalog.duckdb*")]


def test_it_follows_the_lake_when_a_block_ends_however_it_ends(made):
    with catalogs():
        with_condition(made, "a")
        with_condition(made, "b")
    assert conditions(made) == ["a", "b"]
    with pytest.raises(KeyboardInterrupt), catalogs():
        with_condition(made, "c")
        raise KeyboardInterrupt
    assert conditions(made) == ["a", "b", "c"]
    with_condition(made, "d")
    assert conditions(made) == ["a", "b", "c"]


def test_it_follows_the_lake_while_a_block_goes_on(made, monkeypatch):
    monkeypatch.setattr(upkeep, "PAUSE", 0.0)
    monkeypatch.setattr(upkeep, "SHARE", 0)
    with catalogs():
        with_condition(made, "a")
        assert conditions(made) == ["a"]


def test_a_block_that_changes_nothing_rebuilds_nothing(made):
    (made.path / "catalog.duckdb").unlink()
    with catalogs():
        snapshot(made)
    assert not (made.path / "catalog.duckdb").exists()


def test_a_rebuild_that_fails_is_a_line_and_the_block_goes_well(made, capsys):
    (made.path / "catalog.duckdb").unlink()
    (made.path / "catalog.duckdb").mkdir()
    with catalogs():
        with_condition(made, "a")
    (line,) = capsys.readouterr().err.splitlines()
    assert str(made.path / "catalog.duckdb") in line and "memlake warehouse catalog" in line


def test_commands_that_change_the_lake_leave_it_up_to_date(tmp_path):
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps({"text": f"text {i}"}) + "\n" for i in range(5)))
    memlake = [sys.executable, "-m", "memlake"]
    lake = ["--lake", tmp_path / "lake"]

    def documents() -> list[tuple[int]]:
        with duckdb.connect(tmp_path / "lake" / "catalog.duckdb", read_only=True) as con:
            return con.execute("select count(*) from documents").fetchall()

    ingest = [*memlake, "ingest", "run", "jsonl", "--path", texts, "--corpus", "mine", *lake]
    subprocess.run(ingest, check=True, capture_output=True)
    assert documents() == [(5,)]
    subprocess.run([*memlake, "warehouse", "forget", "--corpus", "mine", *lake], check=True, capture_output=True)
    assert documents() == [(0,)]


def test_what_is_no_lake_is_refused(tmp_path: Path):
    said = subprocess.run(
        [sys.executable, "-m", "memlake", "warehouse", "catalog", "--lake", tmp_path], capture_output=True, text=True
    )
    assert said.returncode == 2 and "is not a lake" in said.stderr and said.stderr.count("\n") == 1
