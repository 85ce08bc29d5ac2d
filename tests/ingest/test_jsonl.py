"""Records of JSONL files: what is taken, and the reason for what is not."""

from __future__ import annotations

import json

import pytest

from ingest.documents import Input
from ingest.source import Document, Reject, make
from ingest.sources import jsonl
from warehouse.errors import BadInput

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
