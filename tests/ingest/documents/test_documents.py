"""Documents on their way into the lake."""

from __future__ import annotations

import json

import pytest

from memlake.ingest.documents.reading import ReadFile
from memlake.ingest.run import ingest
from memlake.ingest.source import SHELF, listing, make, source_class
from memlake.tests.lakes import rows
from memlake.warehouse import options, shelf
from memlake.warehouse.errors import BadInput, Conflict, UnknownName
from memlake.warehouse.identity import hash63


def write(path, *records) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in records))
    return str(path)


def test_files_become_documents_rejects_and_domains(lake, tmp_path):
    write(tmp_path / "in/a.jsonl", {"text": "one", "d": "c++"}, {"text": "zwölf", "d": "a=b"}, "{")
    write(tmp_path / "in/sub/b.jsonl", {"text": "one", "d": "c++"}, {"text": "", "d": "c++"})
    summary, lines = ingest(
        lake,
        "jsonl",
        {"path": (str(tmp_path / "in"),), "domain_field": "d", "class_": ("c++=structural",)},
        corpus="mine",
    )
    assert not summary.failed and len(summary.done) == 2
    assert lines == [
        "corpus mine: 3 documents (a=b 1, c++ 2)",
        "not taken: 2 records, each with its reason in `rejects` (malformed JSON 1, text is empty 1)",
    ]
    assert rows(lake, "select source, position, domain, text, n_bytes from stored.documents order by all") == [
        ("a.jsonl", 0, "c++", "one", 3),
        ("a.jsonl", 1, "a=b", "zwölf", 6),
        ("sub/b.jsonl", 0, "c++", "one", 3),
    ]
    ids = [hash63("mine", "a.jsonl", 0), hash63("mine", "a.jsonl", 1), hash63("mine", "sub/b.jsonl", 0)]
    assert rows(lake, "select document_id from stored.documents order by source, position") == [(i,) for i in ids]
    assert rows(lake, "select count(distinct text_hash) from stored.documents") == [(2,)]
    assert rows(lake, 'select domain, "class", n_documents, n_bytes from stored.domains order by all') == [
        ("a=b", "free_text", 1, 6),
        ("c++", "structural", 1, 3),
        ("c++", "structural", 1, 3),
    ]
    assert rows(lake, "select source, position, reason, head from stored.rejects order by all") == [
        ("a.jsonl", 2, "malformed JSON", b"{"),
        ("sub/b.jsonl", 1, "text is empty", b'{"text": "", "d": "c++"}'),
    ]


def test_a_file_is_read_once_and_a_changed_one_is_refused(lake, tmp_path):
    path = write(tmp_path / "a.jsonl", {"text": "one"}, {"text": "two"})
    first, _ = ingest(lake, "jsonl", {"path": (path,)}, corpus="mine")
    again, lines = ingest(lake, "jsonl", {"path": (path,)}, corpus="mine")
    assert (len(first.done), len(again.done), again.skipped) == (1, 0, 1)
    assert lines == ["corpus mine: 2 documents (text 2)"]
    with pytest.raises(Conflict, match=r"holds a\.jsonl already, with other options"):
        ingest(lake, "jsonl", {"path": (path,), "domain": "books"}, corpus="mine")
    write(tmp_path / "a.jsonl", {"text": "one"}, {"text": "three"})
    with pytest.raises(Conflict, match=r"holds a\.jsonl already, with other content: name another --corpus"):
        ingest(lake, "jsonl", {"path": (path,)}, corpus="mine")
    other, _ = ingest(lake, "jsonl", {"path": (path,)}, corpus="other")
    assert len(other.done) == 1
    assert rows(lake, "select corpus, count(*) from stored.documents group by all order by all") == [
        ("mine", 2),
        ("other", 2),
    ]


def test_a_file_that_an_older_version_read_is_refused_in_one_line(lake, tmp_path, monkeypatch):
    path = write(tmp_path / "a.jsonl", {"text": "one"})
    ingest(lake, "jsonl", {"path": (path,)}, corpus="mine")
    monkeypatch.setattr(ReadFile, "VERSION", 2)
    with pytest.raises(Conflict, match=r"holds a\.jsonl already, read by an older version of memlake: name another"):
        ingest(lake, "jsonl", {"path": (path,)}, corpus="mine")


def test_a_file_of_nothing_but_rejects_is_done(lake, tmp_path):
    path = write(tmp_path / "a.jsonl", "nonsense")
    summary, lines = ingest(lake, "jsonl", {"path": (path,)}, corpus="mine")
    assert len(summary.done) == 1
    assert lines[0] == "corpus mine: 0 documents"


def test_a_mistaken_domain_field_is_one_clear_line(lake, tmp_path):
    path = write(tmp_path / "a.jsonl", *({"text": "x", "d": f"d{i}"} for i in range(1001)))
    summary, _ = ingest(lake, "jsonl", {"path": (path,), "domain_field": "d"}, corpus="mine")
    ((_, reason),) = summary.failed
    assert reason == "a.jsonl holds more than 1000 domains: is that the right --domain-field?"
    assert rows(lake, "select count(*) from stored.documents") == [(0,)]


def test_bad_requests_are_one_clear_line(lake):
    with pytest.raises(UnknownName, match="did you mean 'jsonl'"):
        make("jsonll", {})
    with pytest.raises(BadInput, match="needs --path"):
        ingest(lake, "jsonl", {}, corpus="mine")
    with pytest.raises(BadInput, match="needs --corpus"):
        ingest(lake, "jsonl", {"path": ("x",)})


def test_every_source_says_what_it_reads_and_every_option_what_it_means():
    names = shelf.names(SHELF)
    assert {"jsonl", "python_environment", "python_environment_held_out", "results"} <= set(names)
    assert [row["source"] for row in listing().to_pylist()] == names
    for name in names:
        described = options.listing(source_class(name)).to_pylist()
        assert described and all(row["means"] for row in described)


@pytest.mark.parametrize(
    ("corpus", "message"), [("", "--corpus is empty"), (" ", "--corpus is empty"), ("c" * 300, "more than 80 bytes")]
)
def test_a_corpus_needs_a_name_that_can_be_a_folder(lake, tmp_path, corpus, message):
    path = write(tmp_path / "a.jsonl", {"text": "one"})
    with pytest.raises(BadInput, match=message):
        ingest(lake, "jsonl", {"path": (path,)}, corpus=corpus)
