"""Any name that a corpus, a domain or a model may bear, and any folder that a lake may lie in: what is read is what was
published, or one line says why not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from memlake.queries import guard
from memlake.queries.ask import OpenLake, connect, snapshot
from memlake.tests.small import CONDITION, MODEL, made_cell, put_cell
from memlake.warehouse import schema
from memlake.warehouse.errors import BadInput, MemlakeError, NotALake
from memlake.warehouse.identity import hash63
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.check import check
from memlake.warehouse.publishing.forget import forget
from memlake.warehouse.publishing.register import register
from memlake.warehouse.relation import NO_VALUE, File, partition_path, relation

LOOKALIKES = ["null", "NULL", "__HIVE_DEFAULT_PARTITION__", "None", "nan", "1", "01", "1.0", "true", "2020-01-01"]
LOOKALIKES += ["a%20b", "%2F", "a/b", "domain=x", "c++", " lead", "trail ", "dot.", "..", "'", '"', "\\", "*", "[x]"]
NAMES = st.one_of(
    st.sampled_from(LOOKALIKES),
    st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=20),
).filter(str.strip)
FOLDERS = st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=20)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Lake:
    """A lake that holds a condition and a tokenizer."""
    lake = Lake.create(tmp_path_factory.mktemp("names") / "lake")
    register(lake, "tokenizers", [{"tokenizer": "t", "source": "made", "digest": "sha256:1", "vocab_size": 100}])
    register(lake, "conditions", [CONDITION])
    return lake


def publish(lake: Lake, corpus: str, domains: list[str], part: int = 0) -> str | None:
    """A cell with one document in each domain; the reason of the quarantine, if any."""
    documents = [
        {
            "document_id": hash63(corpus, domain),
            "corpus": corpus,
            "domain": domain,
            "text": domain,
            "text_hash": hash63("text", domain),
            "n_bytes": len(domain.encode()),
            "source": "made.up",
            "position": i,
        }
        for i, domain in enumerate(domains)
    ]
    seen = [
        {"corpus": corpus, "domain": d, "class": "free_text", "n_documents": 1, "n_bytes": 1, "kept_documents": 1}
        for d in domains
    ]
    cell = made_cell("made_up", {"corpus": corpus, "part": part}, "documents", "domains")
    return put_cell(lake, cell, {"documents": documents, "domains": seen})


def show(lake: Lake, model: str, corpus: str, domain: str) -> None:
    """Register a model, and publish that it was shown one document."""
    register(lake, "models", [MODEL | {"model": model}])
    cell = made_cell("made_up", {"model": model}, "exposures")
    rows = [{"model": model, "document_id": hash63(corpus, domain), "exposures": 1}]
    assert put_cell(lake, cell, {"exposures": rows}) is None


def answer(lake: Lake, text: str) -> list[tuple]:
    """What a stranger's SQL gets."""
    files = snapshot(lake)
    with connect(lake, files) as con:
        guard.lock(con, [f.path for of_table in files.values() for f in of_table])
        return [tuple(row.values()) for row in guard.ask(con, text).to_pylist()]


def one_line(error: pytest.ExceptionInfo) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def hold(lake: Lake, corpus: str, model: str, domains: list[str]) -> None:
    """Publish rows of these names and read them in every way."""
    assert publish(lake, corpus, domains) is None
    assert "documents.key_not_published" in publish(lake, corpus, domains, part=1)  # so they are found again
    show(lake, model, corpus, domains[0])
    assert answer(lake, "select corpus, domain, typeof(domain), text from documents order by domain") == [
        (corpus, d, "VARCHAR", d) for d in sorted(domains, key=str.encode)
    ]
    assert answer(lake, "select model, exposures from exposures") == [(model, 1)]
    with lake.connect(["documents"]) as con:
        for domain in domains:  # a filter, for which DuckDB skips files
            where = "domain = ? and corpus = ?"
            found = con.execute(f"select text from stored.documents where {where}", [domain, corpus])
            assert found.fetchall() == [(domain,)]
    frame = OpenLake(lake.path).dask("documents").compute(scheduler="synchronous")
    read = sorted(zip(frame.corpus, frame.domain, frame.text, strict=True))
    assert read == sorted((corpus, d, d) for d in domains)


@settings(max_examples=2, deadline=None)
@given(corpus=NAMES, model=NAMES, domains=st.lists(NAMES, min_size=1, max_size=6, unique=True))
@example("null", "__HIVE_DEFAULT_PARTITION__", ["\u6a21" * 26])
def test_a_name_is_a_name(prepared, corpus, model, domains):
    with TemporaryDirectory() as folder:
        shutil.copytree(prepared.path, Path(folder) / "lake")
        lake = Lake.open(Path(folder) / "lake")
        hold(lake, corpus, model, domains)
        assert len(forget(lake, model=model)) == len(forget(lake, corpus=corpus)) == 1
        assert lake.files("documents") == lake.files("exposures") == lake.files("models") == []


def test_names_that_look_like_something_else(prepared, tmp_path):
    shutil.copytree(prepared.path, tmp_path / "lake")
    lake = Lake.open(tmp_path / "lake")
    hold(lake, "__HIVE_DEFAULT_PARTITION__", "NULL", LOOKALIKES)
    assert list(check(lake)) == []


@settings(max_examples=2, deadline=None)
@given(folder=FOLDERS.filter(lambda name: name != ".."))
@example("a%20b")
@example("%C3%A9")
@example("model=pythia-12b")
@example("q?*#'\" .")
@example("x[1]")
@example("back\\slash")
@example("tab\t")
@example("\udcff")
def test_a_lake_lies_in_any_folder_or_nothing_is_made(folder):
    with TemporaryDirectory() as outside:
        path = Path(outside) / folder / "lake"
        try:
            lake = Lake.create(path)
        except (NotALake, BadInput) as e:
            assert "\n" not in str(e) and os.listdir(outside) == []
            return
        assert publish(lake, "mine", ["web"]) is None
        assert answer(lake, "select corpus, domain, text from documents") == [("mine", "web", "web")]
        assert len(forget(lake, corpus="mine")) == 1 and lake.files("documents") == []


def test_a_folder_that_looks_like_a_home_is_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = "~nobody-is-called-this"
    assert Lake.open(Lake.create(folder).path).path == tmp_path / folder


@pytest.mark.parametrize(("folder", "beside"), [("q?", "qa"), ("s*", "sab"), ("x[1]", "x1"), ("a**b", "ab")])
def test_a_folder_is_no_pattern(prepared, tmp_path, folder, beside):
    """DuckDB would read the lake beside, too."""
    shutil.copytree(prepared.path, tmp_path / beside)
    assert publish(Lake.open(tmp_path / beside), "mine", ["web"]) is None
    shutil.copytree(tmp_path / beside, tmp_path / folder)
    assert answer(Lake.open(tmp_path / folder), "select corpus, domain from documents") == [("mine", "web")]
    (tmp_path / beside).rename(tmp_path / "away")
    assert answer(Lake.open(tmp_path / folder), "select corpus, domain from documents") == [("mine", "web")]


def test_a_lake_that_was_moved_where_nothing_can_be_deleted_says_so(prepared, tmp_path):
    shutil.copytree(prepared.path, tmp_path / "x[1]")
    lake = Lake.open(tmp_path / "x[1]")
    assert publish(lake, "mine", ["web"]) is None and list(check(lake)) == []
    with pytest.raises(BadInput, match="move the lake") as raised:
        forget(lake, corpus="mine")
    assert one_line(raised) and len(lake.files("documents")) == 1


def test_a_lake_is_not_read_elsewhere(prepared, tmp_path):
    """delta-rs would take the log of `a b` for that of `a%20b`."""
    for name in ("a b", "a%20b"):
        shutil.copytree(prepared.path, tmp_path / name)
    with pytest.raises(NotALake, match="cannot be the path of a lake") as raised:
        Lake.open(tmp_path / "a%20b")
    assert one_line(raised)


def test_what_cannot_be_made_leaves_nothing_behind(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(NotALake, match="cannot be written") as raised:
        Lake.create(tmp_path / "file" / "lake")
    assert one_line(raised)
    real, made = schema.table, []

    def fail_later(name: str):
        made.append(name)
        if len(made) > 3:
            raise OSError("the disk is full")
        return real(name)

    monkeypatch.setattr("memlake.warehouse.lake.schema.table", fail_later)
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "new" / "lake", tmp_path / "empty"):
        made.clear()
        with pytest.raises(MemlakeError, match="the disk is full"):
            Lake.create(path)
    assert sorted(os.listdir(tmp_path)) == ["empty", "file"] and os.listdir(tmp_path / "empty") == []


def test_a_value_too_long_for_a_folder_is_one_line(prepared, tmp_path):
    shutil.copytree(prepared.path, tmp_path / "lake")
    with pytest.raises(BadInput, match="is too long for the name of a folder") as raised:
        publish(Lake.open(tmp_path / "lake"), "mine", ["\u6a21" * 40])
    assert one_line(raised)


def test_values_are_the_log_s_wherever_a_file_lies(prepared, tmp_path):
    """A file that another tool put elsewhere, one that lies in a folder of another value, one of NULL; and files that
    lie in their folders are still skipped by a filter."""
    shutil.copytree(prepared.path, tmp_path / "lake")
    lake = Lake.open(tmp_path / "lake")
    assert publish(lake, "mine", ["a", "b", "c", "d"]) is None
    files = {f.partition["domain"]: f for f in lake.snapshot("documents")}
    plain = tmp_path / "domain=z" / "plain.parquet"
    plain.parent.mkdir()
    shutil.copy(files["a"].path, plain)
    missing, named = {"corpus": "mine", "domain": None}, {"corpus": "mine", "domain": NO_VALUE}
    spec = schema.table("documents")
    none = tmp_path / partition_path(spec, missing) / "none.parquet"
    none.parent.mkdir(parents=True)
    shutil.copy(files["c"].path, none)
    assert partition_path(spec, missing) != partition_path(spec, named)
    moved = [
        File(str(plain), {"corpus": "mine", "domain": "a"}, 1, 1),
        File(files["b"].path, {"corpus": "null", "domain": "it's"}, 1, 1),
        File(str(none), missing, 1, 1),
        files["d"],
    ]
    with duckdb.connect() as con:
        con.execute(f"create view documents as {relation('documents', moved)}")
        found = con.execute("select text, corpus, domain from documents order by text").fetchall()
        Path(files["d"].path).write_bytes(b"")
        Path(files["b"].path).write_bytes(b"")
        con.execute(f"create or replace view documents as {relation('documents', [files['c'], files['d']])}")
        skipped = con.execute("select text from documents where domain = 'c'").fetchall()
    assert found == [("a", "mine", "a"), ("b", "null", "it's"), ("c", "mine", None), ("d", "mine", "d")]
    assert skipped == [("c",)]
