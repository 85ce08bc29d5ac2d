"""Opening, registering, forgetting, checking: what the ground floor promises besides cells."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from memlake.tests.small import CONDITION, DOMAINS, MODEL, N, flip, ingest_cell, make_lake, match_cell
from memlake.warehouse import schema
from memlake.warehouse.errors import BadInput, Conflict, DamagedLake, NotALake, UnknownName
from memlake.warehouse.lake import Lake
from memlake.warehouse.log import Log
from memlake.warehouse.publishing.check import check
from memlake.warehouse.publishing.forget import forget
from memlake.warehouse.publishing.register import register
from memlake.warehouse.work.runner import run_cells


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Lake:
    lake = make_lake(tmp_path_factory.mktemp("lake") / "lake")
    assert not run_cells(lake, [match_cell(d) for d in DOMAINS]).failed
    return lake


@pytest.fixture
def lake(measured, tmp_path) -> Lake:
    """A copy, to be spoiled; that it opens shows that a lake can be moved."""
    shutil.copytree(measured.path, tmp_path / "moved")
    return Lake.open(tmp_path / "moved")


def test_open_wants_a_lake_and_create_an_empty_place(tmp_path):
    with pytest.raises(NotALake, match=r"nowhere does not exist: name one with --lake"):
        Lake.open(tmp_path / "nowhere")
    (tmp_path / "papers").mkdir()
    with pytest.raises(NotALake, match="is not a lake"):
        Lake.open(tmp_path / "papers")
    (tmp_path / "papers" / "mine.txt").write_text("precious")
    with pytest.raises(NotALake, match="neither a lake nor an empty folder"):
        Lake.create(tmp_path / "papers")
    assert (tmp_path / "papers" / "mine.txt").read_text() == "precious"
    assert Lake.create(tmp_path / "new").version("matches") == 0
    assert Lake.create(tmp_path / "new").path == Lake.open(tmp_path / "new").path


def test_a_lake_whose_making_was_killed_is_made_whole(tmp_path):
    Lake.create(tmp_path / "lake")
    shutil.rmtree(tmp_path / "lake" / "cells")
    shutil.rmtree(tmp_path / "lake" / "matches")
    assert Lake.create(tmp_path / "lake").version("matches") == 0


def test_a_damaged_log_is_named(lake):
    for entry in (lake.path / "models" / "_delta_log").iterdir():
        entry.write_text("{not json")
    opened = Lake.open(lake.path)
    with pytest.raises(DamagedLake, match=r"table models of .* cannot be read"):
        opened.delta("models")
    assert opened.snapshot("matches")  # the others are there


def test_a_log_that_may_not_be_read_is_not_to_be_restored(lake, monkeypatch):
    def refused(self: Log) -> None:
        raise PermissionError(13, "Permission denied", "00000000000000000000.json")

    monkeypatch.setattr(Log, "update", refused)
    with pytest.raises(DamagedLake, match=r"Permission denied.*\): ask for the right to read its _delta_log$"):
        lake.snapshot("models")


def test_partitions_with_awkward_names(lake):
    with lake.connect(["matches"]) as con:
        found = con.execute("select domain, count(*) from stored.matches group by all order by all").fetchall()
    assert found == [("Wikipedia (en)", N), ("c++", N)]
    assert len(lake.files("matches", domain="c++")) == 1
    # Any Parquet reader sees the same: hive-partitioned files, nothing unpublished among them.
    read = pq.ParquetDataset(lake.files("matches", domain="c++")).read()
    assert read.num_rows == N and "domain" not in pq.read_schema(lake.files("matches")[0]).names


def test_paths_inside_the_lake_are_relative(lake):
    assert lake.relative(lake.path / "miniatures" / "m") == "miniatures/m"
    assert lake.relative("/elsewhere/m") == "/elsewhere/m"
    assert lake.absolute("miniatures/m") == lake.path / "miniatures" / "m"
    assert lake.absolute("/elsewhere/m") == Path("/elsewhere/m")


def test_register_once_and_refuse_another(lake):
    version = lake.log("models").version
    register(lake, "models", [MODEL])
    assert lake.log("models").version == version
    with pytest.raises(Conflict, match=r"another 'm' already \(weights_digest was 'sha256:0', now 'sha256:9'\)"):
        register(lake, "models", [MODEL | {"weights_digest": "sha256:9"}])
    with pytest.raises(Conflict, match=r"does not fit into models \(condition_known\)"):
        register(lake, "models", [MODEL | {"model": "n", "base_condition": "float8"}])
    assert lake.log("models").version == version


def test_forget_a_cell_and_do_it_again(lake):
    cell = match_cell("c++")
    assert forget(lake, cell=cell.id) == [cell.id]
    with lake.connect() as con:
        assert con.execute("select domain, count(*) from stored.matches group by all").fetchall() == [(DOMAINS[1], N)]
        last = con.execute("select outcome from stored.cells where cell = ? order by finished_at", [cell.id]).fetchall()
    assert last == [("done",), ("forgotten",)]
    summary = run_cells(lake, [match_cell(d) for d in DOMAINS])
    assert summary.done == [cell.id] and summary.skipped == 1
    assert sum(f.rows for f in lake.snapshot("matches")) == 2 * N


def test_forget_a_model_frees_its_name(lake):
    assert len(forget(lake, model="m")) == 2
    assert lake.files("matches") == [] and lake.files("models") == []
    register(lake, "models", [MODEL | {"weights_digest": "sha256:9"}])
    with pytest.raises(UnknownName, match="no model 'k'"):
        forget(lake, model="k")
    with pytest.raises(UnknownName, match="no corpus 'mein': did you mean 'mine'"):
        forget(lake, corpus="mein")
    assert len(forget(lake, corpus="mine")) == 2
    assert lake.files("documents") == [] and list(check(lake)) == []


def test_check_finds_what_is_wrong(lake):
    assert list(check(lake)) == []
    whole, short = lake.files("matches")
    Path(short).write_bytes(Path(short).read_bytes()[:-20])
    (found,) = check(lake)
    assert found.table_name == "matches" and found.where == lake.relative(short) and "the log says" in found.what
    Path(short).unlink()
    (found,) = check(lake)
    assert found.what == "file is missing"
    shutil.copy(whole, short)
    assert any("bytes, the log says" in f.what or "key_unique" in f.what for f in check(lake))


def test_check_judges_rows_again(lake):
    """Rows spoiled behind the log's back, the size of the file unchanged: the conditions they name are gone."""
    forget(lake, cell=match_cell("c++").id)
    lake.retract("conditions", ['["float32 sdpa"]'], lambda _: "true")
    found = list(check(lake))
    cell = match_cell(DOMAINS[1]).id
    assert [(f.table_name, f.where, f.what) for f in found] == [
        ("matches", f"cell {cell}", f"rows stand on nothing: {N} in conditions (condition_known)"),
        ("models", "registered rows", "rows stand on nothing: 1 in conditions (condition_known)"),
    ]
    register(lake, "conditions", [CONDITION])
    assert list(check(lake)) == []


def test_a_snapshot_of_several_tables_is_of_one_moment(lake, monkeypatch):
    """What is published after the first log was read and before the second is in both."""
    others, real, between = Lake.open(lake.path), Lake.log, []

    def log(self: Lake, name: str) -> Log:
        if self is lake and name == "sequences" and not between:
            between.append(run_cells(others, [ingest_cell("new")]))
        return real(self, name)

    lake.snapshots(["documents"])
    monkeypatch.setattr(Lake, "log", log)
    files, versions = lake.snapshots(["documents", "sequences"])
    assert between[0].done
    assert {f.partition["domain"] for f in files["documents"]} == {*DOMAINS, "new"}
    assert {f.partition["domain"] for f in files["sequences"]} == {*DOMAINS, "new"}
    assert versions == {name: lake.version(name) for name in ("documents", "sequences")}


def test_a_snapshot_beside_one_who_never_pauses(lake, monkeypatch):
    others, real, looks = Lake.open(lake.path), Lake.log, []

    def log(self: Lake, name: str) -> Log:
        if self is lake:
            looks.append(others.commit("rejects", [f"c{len(looks)}"], lambda _: []))
        return real(self, name)

    monkeypatch.setattr(Lake, "log", log)
    files, versions = lake.snapshots(["rejects", "matches"])
    assert len(looks) < 100 and len(files["matches"]) == 2 and versions["rejects"] > 20


def test_every_table_says_what_one_row_is():
    for name in schema.names():
        spec = schema.table(name)
        assert spec.grain.startswith("One row is ")
        assert set(spec.key) | set(spec.partition) | set(spec.sort) <= set(spec.schema.names)
        assert len({e.name for e in spec.expectations}) == len(spec.expectations)
        assert all(c.doc for c in spec.columns)
    with pytest.raises(UnknownName, match="no table 'macthes': did you mean 'matches'"):
        schema.table("macthes")


def test_forget_stopped_half_way_goes_on(lake, monkeypatch, capsys):
    cell = match_cell("c++")
    original = Lake.retract

    def retract(self, name, *rest):
        if name == "checks":
            raise KeyboardInterrupt
        return original(self, name, *rest)

    monkeypatch.setattr(Lake, "retract", retract)
    with pytest.raises(KeyboardInterrupt):
        forget(lake, cell=cell.id)
    monkeypatch.undo()
    assert "run the same command again" in capsys.readouterr().err
    assert forget(lake, cell=cell.id) == [cell.id] and not capsys.readouterr().err
    summary = run_cells(lake, [cell])
    assert summary.done == [cell.id] and list(check(lake)) == []


def test_a_table_without_rows_of_the_cell_is_free_again(lake):
    """delta-rs writes nothing where a delete meets no row: the log must still say that the cell is gone."""

    def commit() -> list[str]:
        return lake.commit("rejects", ["c1-none"], lambda missing: [])

    assert commit() == ["c1-none"] and commit() == []
    assert lake.retract("rejects", ["c1-none"], lambda _: "cell = 'c1-none'") == ["c1-none"]
    assert not lake.log("rejects").holds("c1-none")
    assert commit() == ["c1-none"]


def test_a_lake_of_an_older_memlake_gets_the_tables_it_lacks(lake):
    shutil.rmtree(lake.path / "exposures")
    assert Lake.open(lake.path).version("exposures") == 0


@pytest.mark.parametrize("size", [0, 1000])  # bytes: of no file, and of a log entry, but of no Parquet file
def test_a_disk_on_which_delta_cannot_write_is_one_line(lake, size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        with pytest.raises(BadInput, match=r"table matches of .* cannot be written \(.*File too large") as raised:
            lake.retract("matches", [match_cell("c++").id], lambda _: "n_match > 5")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(raised.value) and list(check(lake)) == []


def test_check_finds_rows_that_are_gone(lake):
    lake.delta("matches").delete("domain = 'c++'")
    assert [f.what for f in check(lake)] == [f"published {N} rows, the tables hold 0"]


# Of `matches` others judge nothing; on `sequences` and `models` rows stand, and `cells` says what was published
@pytest.mark.parametrize("name", ["matches", "sequences", "models", "cells"])
def test_check_finds_flipped_bytes(lake, name):
    path = lake.files(name)[0]
    flip(path)
    (found,) = check(lake)
    assert (found.table_name, found.where) == (name, lake.relative(path)) and "rows cannot be read" in found.what
