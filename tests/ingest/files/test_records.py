"""One record: the document it holds, or why it is not taken."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import pytest

from memlake.ingest.files.listing import Listing
from memlake.ingest.files.records import ChosenFields, Record, Refused, field
from memlake.ingest.source import Document, Reject
from memlake.ingest.sources import jsonl
from memlake.warehouse import options
from memlake.warehouse.errors import UnknownName


@dataclass(frozen=True)
class Source(ChosenFields):
    listing = Listing([], {})

    def records(self, location, fields):
        yield from ()


def take(fields, position=0, **given) -> Document | Reject:
    return Source(**given).document("f", Record(position, fields))


def test_a_record_becomes_a_document():
    assert take({"text": "one"}, position=7) == Document("f", 7, "text", "one")
    fields = {"body": {"raw": b"zw\xc3\xb6lf"}, "key": 3, "set": "c++"}
    found = take(fields, text_field="body.raw", id_field="key", domain_field="set")
    assert found == Document("f#3", 0, "c++", "zwölf")


def test_what_stands_in_a_text_is_kept():
    for text in ("nul \x00 in it", "\ufeff bom", "a\u2028b", "crlf\r\n", "\U0010ffff"):
        assert take({"text": text}).text == text


@pytest.mark.parametrize(
    ("fields", "given", "reason"),
    [
        ({}, {}, "no field text"),
        ({"text": None}, {}, "no field text"),
        ({"text": 7}, {}, "text is not text"),
        ({"text": ["a"]}, {}, "text is not text"),
        ({"text": ""}, {}, "text is empty"),
        ({"text": " \n\u00a0"}, {}, "text is empty"),
        ({"text": "\ud800"}, {}, "text holds a lone surrogate"),
        ({"text": b"\xff"}, {}, "not UTF-8"),
        ({"text": "äää"}, {"max_bytes": 5}, "longer than 5 bytes"),  # six bytes
        ({"text": "a", "d": 3}, {"domain_field": "d"}, "domain is not text"),
        ({"text": "a", "d": ""}, {"domain_field": "d"}, "domain is empty"),
        ({"text": "a", "d": "x\x00"}, {"domain_field": "d"}, "domain holds a NUL byte"),
        ({"text": "a", "d": "\udfff"}, {"domain_field": "d"}, "domain holds a lone surrogate"),
        ({"text": "a"}, {"id_field": "i"}, "no field i"),
        ({"text": "a", "i": 1.5}, {"id_field": "i"}, "i is neither text nor an integer"),
        ({"text": "a", "i": True}, {"id_field": "i"}, "i is neither text nor an integer"),
        ({"text": "a", "i": "\ud800"}, {"id_field": "i"}, "i holds a lone surrogate"),
    ],
)
def test_what_cannot_be_taken_has_its_reason(fields, given, reason):
    assert take(fields, **given).reason == reason


def test_the_head_of_a_reject_is_what_stands_in_the_file_or_else_its_fields():
    source = Source()
    assert source.document("f", Record(0, {"text": 1}, b'{"text" : 1}' * 100)).head == (b'{"text" : 1}' * 100)[:200]
    assert source.document("f", Record(0, {"text": b"\xff"})).head == b'{"text": "b\'\\\\xff\'"}'
    long = source.document("f", Record(0, {"text": "x" * 10_000_000}))
    assert long.reason == "longer than 4194304 bytes" and len(long.head) == 200
    assert source.document("f", Record(4, {}, b"{", "malformed JSON")) == Reject("f", 4, "malformed JSON", b"{")


def test_a_field_is_found_along_its_dots():
    fields = {"a": {"b": {"c": 1}, "n": None}}
    assert field(fields, "a.b.c") == 1
    assert field(fields, "a.n", "other") == "other"
    for missing in ("a.n", "a.b.c.d", "b"):
        with pytest.raises(Refused, match=f"no field {missing}"):
            field(fields, missing)


def test_the_options_say_what_they_mean():
    shown = [row["option"] for row in options.listing(Source).to_pylist()]
    assert shown == ["--text-field", "--id-field", "--domain-field", "--domain", "--class", "--max-bytes"]


def test_a_field_is_looked_up_as_it_is_spelt_before_it_is_taken_for_a_path():
    fields = {"a.b": "spelt", "a": {"b": "path", "c": 1, "d.e": {"f": 2}, "d": {"e": {"f": 3}}}, "x.y": {"z": 4}}
    assert [field(fields, name) for name in ("a.b", "a.c", "a.d.e.f", "x.y.z")] == ["spelt", 1, 2, 4]
    assert field({"a.b": None, "a": {"b": "path"}}, "a.b") == "path"
    for missing in ("a.b.c", "x.z", "x", ".a", "a.", "."):
        with pytest.raises(Refused):
            field(fields, missing)


def test_a_domain_that_no_record_tells_is_told_by_its_folder():
    source = Source(domain_field="lang", domain="rest")

    def domain(file, fields):
        found = source.document(file, Record(0, {"text": "a"} | fields))
        return found.domain if isinstance(found, Document) else found.reason

    assert domain("lang=python/a.jsonl", {"lang": "c++"}) == "c++"
    for fields in ({}, {"lang": None}):
        assert domain("lang=python/a.jsonl", fields) == "python"
        assert domain("x/lang=python/y=1/lang=c%2B%2B/a.jsonl", fields) == "c++"
        assert domain("lang=__HIVE_DEFAULT_PARTITION__/a.jsonl", fields) == "rest"
        assert domain("lang=python", fields) == domain("language=python/a.jsonl", fields) == "rest"
        assert domain("lang=/a.jsonl", fields) == "domain is empty"
    assert take({"text": "a"}).domain == "text"


def test_a_field_that_is_nowhere_is_told_what_else_there_is(tmp_path):
    (tmp_path / "lang=c").mkdir()
    (tmp_path / "lang=c" / "a.jsonl").write_text('{"text": "a"}\n')
    make = functools.partial(jsonl.Source, path=(str(tmp_path),))
    make(domain_field="lang").validate("mine")  # the folder tells it
    for option, name, known in (
        ("domain_field", "long", "lang, text"),
        ("domain_field", "", "lang, text"),
        ("id_field", "lang", "text"),  # folders tell domains only
        ("text_field", "", "text"),
    ):
        with pytest.raises(UnknownName, match=rf"no field '{name}'.*\(there are: {known}\)"):
            make(**{option: name}).validate("mine")
