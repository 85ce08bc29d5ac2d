"""Records of JSONL files: what is taken, and the reason for what is not."""

from __future__ import annotations

import json

import pytest

from memlake.ingest.documents.base import Input
from memlake.ingest.run import ingest
from memlake.ingest.source import Document, Reject, make
from memlake.ingest.sources import jsonl
from memlake.tests.lakes import rows
from memlake.warehouse.errors import BadInput, UnknownName

DAMAGE = [  # (line, reason)
    (b"{", "malformed JSON"),
    (b'{"text": "a"} trailing', "malformed JSON"),
    (b"", "empty line"),
    (b"[" * 100_000, "malformed JSON"),
    (b'{"text": ' + b"9" * 5000 + b"}", "malformed JSON"),
    (b'["text"]', "not a JSON object"),
    (b"null", "not a JSON object"),
    (b'{"other": "a"}', "no field text"),
    (b'{"text": null}', "no field text"),
    (b'{"text": 7}', "text is not text"),
    (b'{"text": {"text": "a"}}', "text is not text"),
    (b'{"text": ""}', "text is empty"),
    (b'{"text": " \\n "}', "text is empty"),
    (b'{"text": "\xff"}', "not UTF-8"),
    ('{"text": "a"}'.encode("utf-16"), "not UTF-8"),
    (b'{"text": "\\ud800"}', "text holds a lone surrogate"),
    (b'{"text": "' + b"x" * 300_000 + b'"}', "longer than 200000 bytes"),
]


def read(path, **options) -> list[Document | Reject]:
    return list(jsonl.Source(path=(str(path),), **options).read(Input(path.name, "", str(path))))


@pytest.mark.parametrize(("line", "reason"), DAMAGE)
def test_damage_becomes_a_reject_between_good_records(tmp_path, line, reason):
    good = json.dumps({"text": "good"}).encode()
    path = tmp_path / "a.jsonl"
    path.write_bytes(good + b"\n" + line + b"\n" + good + b"\n")
    records = read(path, max_bytes=200_000)
    assert records == [
        Document("a.jsonl", 0, "text", "good"),
        Reject("a.jsonl", 1, reason, line[:200]),
        Document("a.jsonl", 2, "text", "good"),
    ]


def test_odd_but_sound_records_are_taken(tmp_path):
    texts = ["a\x00b", "naïve ▁ 🦆", "crlf\r\n", "x" * 10_000]
    path = tmp_path / "a.jsonl"
    body = "\r\n".join(json.dumps({"text": t}, ensure_ascii=i % 2 == 0) for i, t in enumerate(texts))
    path.write_bytes(b"\xef\xbb\xbf" + body.encode())
    assert [r.text for r in read(path)] == texts


def test_fields_may_be_dotted(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [
        {"content": {"raw": "one"}, "meta": {"pile_set_name": "Wikipedia (en)"}, "id": "x"},
        {"content": {"raw": "two"}, "meta": {}, "id": 7},
        {"content": {"raw": "three"}, "meta": {"pile_set_name": 3}, "id": "z"},
        {"content": {"raw": "four"}, "meta": {"pile_set_name": " "}, "id": "z"},
        {"content": {"raw": "five"}, "meta": {"pile_set_name": "d" * 81}, "id": "z"},
        {"content": {"raw": "six"}, "meta": "flat", "id": None},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    found = read(path, text_field="content.raw", domain_field="meta.pile_set_name", id_field="id", domain="rest")
    assert found[:2] == [
        Document("a.jsonl#x", 0, "Wikipedia (en)", "one"),
        Document("a.jsonl#7", 1, "rest", "two"),
    ]
    reasons = ["domain is not text", "domain is empty", "domain has more than 80 bytes", "no field id"]
    assert [r.reason for r in found[2:]] == reasons


def test_classes_are_given_for_all_domains_or_for_one():
    source = jsonl.Source(class_=("structural", "books=free_text"))
    assert source.domain_class("github") == "structural"
    assert source.domain_class("books") == "free_text"
    assert jsonl.Source().domain_class("github") == "free_text"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_": ("code",)}, "give structural or free_text"),
        ({"max_bytes": 0}, "must be positive"),
        ({"domain": ""}, "domain is empty"),
        ({"limit": 3}, "takes no --limit"),
    ],
)
def test_bad_options_are_one_clear_line(options, message):
    with pytest.raises(BadInput, match=message):
        make("jsonl", options)


def lines(path, *records) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in records))


def test_a_field_with_a_dot_in_its_name(lake, tmp_path):
    sets = ["Github", "Github", "ArXiv"]
    lines(tmp_path / "in/a.jsonl", *({"text.raw": f"{i}", "meta.set": name} for i, name in enumerate(sets)))
    lines(tmp_path / "in/b.jsonl", {"text": {"raw": "nested"}, "meta": {"set": "Books"}})
    options = {"path": (str(tmp_path / "in"),), "text_field": "text.raw", "domain_field": "meta.set"}
    _, said = ingest(lake, "jsonl", options, corpus="mine")
    assert said == ["corpus mine: 4 documents (ArXiv 1, Books 1, Github 2)"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"domain_field": "metaset"},
            "no field 'metaset': did you mean 'meta.set'? (there are: Lang, meta, meta.set, text)",
        ),
        ({"domain_field": "lang"}, "no field 'lang': did you mean 'Lang'? (there are: Lang, meta, meta.set, text)"),
        ({"domain_field": "meta.sets"}, "no field 'meta.sets': did you mean 'meta.set'?"),
        ({"text_field": "txet"}, "no field 'txet': did you mean 'text'?"),
        ({"id_field": "key"}, "no field 'key' (there are: Lang, meta, meta.set, text)"),
    ],
)
def test_a_field_of_no_record_is_an_error_before_anything_is_published(lake, tmp_path, options, message):
    lines(tmp_path / "in/a.jsonl", {"text": "one", "meta": {"set": "a"}}, {"text": "two", "Lang": None})
    lines(tmp_path / "in/b.jsonl", *({"text": f"{i}"} for i in range(500)))
    with pytest.raises(UnknownName) as raised:
        ingest(lake, "jsonl", {"path": (str(tmp_path / "in"),)} | options, corpus="mine")
    assert str(raised.value).startswith(message) and "\n" not in str(raised.value)
    with pytest.raises(UnknownName):  # before a lake is made
        make("jsonl", {"path": (str(tmp_path / "in"),)} | options).validate("mine")
    assert rows(lake, "select count(*) from stored.cells") == [(0,)]


def test_a_field_that_is_missing_in_some_records_is_counted(lake, tmp_path, capsys):
    lines(tmp_path / "in/a.jsonl", *({"text": f"a {i}"} for i in range(300)), {"text": "b", "set": "late"})
    lines(tmp_path / "in/c.jsonl", {"text": "c"}, {"text": "d"})
    options = {"path": (str(tmp_path / "in"),), "domain_field": "set", "domain": "rest"}
    summary, said = ingest(lake, "jsonl", options, corpus="mine")
    assert len(summary.done) == 2 and said == [
        "corpus mine: 303 documents (late 1, rest 302)",
        "302 of 303 documents are in domain 'rest', that of records without a field 'set'",
    ]
    assert "no field 'set' where the files begin: reading on to find it" in capsys.readouterr().err
    (tmp_path / "in/a.jsonl").unlink()
    (tmp_path / "in/c.jsonl").write_text('{"text": "c", "set": null}\n')
    _, said = ingest(lake, "jsonl", options, corpus="other")  # it is there, though it says nothing
    assert said[1] == "1 of 1 document is in domain 'rest', that of records without a field 'set'"


def test_where_no_record_can_be_read_no_field_is_missed(lake, tmp_path):
    (tmp_path / "a.jsonl").write_text("{\n[]\n")
    _, said = ingest(lake, "jsonl", {"path": (str(tmp_path),), "domain_field": "set"}, corpus="mine")
    assert said[1].startswith("not taken: 2 records")


def test_what_lies_beside_the_files_is_said(lake, tmp_path):
    lines(tmp_path / "disk2/a.JSONL", {"text": "a"})
    lines(tmp_path / "in/b.jsonl", {"text": "b"})
    lines(tmp_path / "in/.ipynb_checkpoints/b-checkpoint.jsonl", {"text": "b"})
    (tmp_path / "in/linked").symlink_to(tmp_path / "disk2")
    (tmp_path / "in/README.md").write_text("of the corpus")
    path = str(tmp_path / "in")
    for _ in range(2):
        summary, said = ingest(lake, "jsonl", {"path": (path,)}, corpus="mine")
        assert said == ["corpus mine: 2 documents (text 2)", f"not read below {path}: 1 .md, 1 hidden"]
    assert (summary.done, summary.skipped) == ([], 2)
    assert rows(lake, "select source from stored.documents order by all") == [("b.jsonl",), ("linked/a.JSONL",)]


def by_domain(lake, corpus: str) -> dict[str, int]:
    found = rows(lake, f"select domain, count(*) from stored.documents where corpus = '{corpus}' group by all")
    return dict(found)


def test_a_field_domain_tells_domains_where_nothing_else_is_said_of_them(lake, tmp_path):
    path = tmp_path / "a.jsonl"
    given = [{"text": "one", "domain": "prose"}, {"text": "two", "domain": "code"}, {"text": "three"}]
    path.write_text("".join(json.dumps(record) + "\n" for record in given))

    def read_again(corpus: str, **options) -> int:
        return len(ingest(lake, "jsonl", {"path": (str(path),), **options}, corpus=corpus, workers=0)[0].done)

    assert (read_again("told"), by_domain(lake, "told")) == (1, {"prose": 1, "code": 1, "text": 1})
    assert read_again("told") == read_again("told", domain_field="domain") == 0  # it is the same work
    assert (read_again("one", domain="all"), by_domain(lake, "one")) == (1, {"all": 3})
    path.write_text('{"text": "one"}\n{"text": "two", "domain": 7}\n')
    assert (read_again("none"), by_domain(lake, "none")) == (1, {"text": 2})


def test_a_corpus_that_was_read_without_domains_goes_on_so(lake, tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one", "domain": "prose"}\n')
    with monkeypatch.context() as older:
        older.setattr(jsonl.Source, "_tells_domains", lambda *_: False)
        ingest(lake, "jsonl", {"path": (str(path),)}, corpus="c", workers=0)
    summary, _ = ingest(lake, "jsonl", {"path": (str(path),)}, corpus="c", workers=0)
    assert summary.skipped == 1 and by_domain(lake, "c") == {"text": 1}
