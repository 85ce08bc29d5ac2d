"""--strict: any reject stops the run before anything is published."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from memlake.ingest.cli import app
from memlake.ingest.run import ingest
from memlake.ingest.sources.jsonl import Source
from memlake.tests.lakes import rows
from memlake.warehouse.errors import BadInput, MemlakeError
from memlake.warehouse.publishing.forget import forget

GOOD = json.dumps({"text": "good"})


def write(folder, **files: list[str]) -> str:
    folder.mkdir(exist_ok=True)
    for name, lines in files.items():
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return str(folder)


def run(lake, folder: str, **more):
    return ingest(lake, "jsonl", {"path": (folder,)}, corpus="mine", strict=True, **more)


def published(lake) -> list[tuple]:
    tables = ("documents", "domains", "rejects")
    return [rows(lake, f"select count(*) from stored.{name}")[0][0] for name in tables]


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """The files that were read, in order."""
    names, original = [], Source.read

    def noted(self, given):
        names.append(given.name)
        return original(self, given)

    monkeypatch.setattr(Source, "read", noted)
    return names


@pytest.mark.parametrize("keep", [None, 2])
def test_one_line_says_what_is_rejected_and_nothing_is_published(lake, tmp_path, keep):
    folder = write(tmp_path / "in", a=[GOOD, GOOD], b=[GOOD, "", "{", GOOD, "{"], c=["[]"])
    with pytest.raises(BadInput) as raised:
        run(lake, folder, keep=keep)
    assert str(raised.value) == (
        "4 records would be rejected (empty line 1, malformed JSON 2, not a JSON object 1), the first is record 1 of"
        " b.jsonl: empty line; no document is published: mend them, or leave out --strict"
    )
    assert published(lake) == [0, 0, 0]


@pytest.mark.parametrize(("keep", "documents"), [(None, 4), (2, 2)])
def test_files_are_checked_once(lake, tmp_path, read, keep, documents):
    folder = write(tmp_path / "in", a=[GOOD, GOOD], b=[GOOD, "{"])
    with pytest.raises(BadInput, match="1 record would"):
        run(lake, folder, keep=keep)
    assert read == ["a.jsonl", "b.jsonl"]
    with pytest.raises(BadInput, match="1 record would"):
        run(lake, folder, keep=keep)
    assert read == ["a.jsonl", "b.jsonl"]
    write(tmp_path / "in", b=[GOOD, GOOD])  # mended
    summary, _ = run(lake, folder, keep=keep)
    assert not summary.failed and read[2:] == ["b.jsonl", "a.jsonl", "b.jsonl"]
    assert published(lake)[0] == documents
    again, _ = run(lake, folder, keep=keep)
    assert again.done == [] and len(read) == 5
    assert not list((lake.path / "spool").iterdir())


def test_what_was_published_with_rejects_is_no_clean_corpus(lake, tmp_path):
    folder = write(tmp_path / "in", a=[GOOD, "{"])
    ingest(lake, "jsonl", {"path": (folder,)}, corpus="mine")
    write(tmp_path / "in", b=[GOOD])
    with pytest.raises(BadInput) as raised:
        run(lake, folder)
    assert str(raised.value) == (
        "corpus mine holds files that were published with rejects, 1 record (malformed JSON 1), the first is record 1"
        " of a.jsonl: malformed JSON; nothing more is published: take it back with `memlake warehouse forget --corpus"
        " mine`, or leave out --strict"
    )
    assert published(lake) == [1, 1, 1]


def test_a_check_that_failed_leaves_nothing_when_the_corpus_is_forgotten(lake, tmp_path):
    folder = write(tmp_path / "in", a=[GOOD])
    ingest(lake, "jsonl", {"path": (folder,)}, corpus="mine")
    with pytest.raises(BadInput, match="1 record would be rejected"):
        run(lake, write(tmp_path / "in", b=["{"]))
    assert [p for p in (lake.path / "spool").rglob("*") if p.is_file()]
    forget(lake, corpus="mine")
    assert not list((lake.path / "spool").iterdir())


def test_the_command_fails_with_one_line(lake, tmp_path):
    folder = write(tmp_path / "in", a=["{"])
    given = ("run", "jsonl", "--path", folder, "--corpus", "mine", "--strict", "--lake", str(lake.path))
    failed = CliRunner().invoke(app, given)
    assert isinstance(failed.exception, MemlakeError)
    assert "the first is record 0 of a.jsonl: malformed JSON" in str(failed.exception)
