"""Rows of Parquet files: what is taken, what is not, and what a damaged file costs."""

from __future__ import annotations

import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memlake.ingest.documents.base import Input
from memlake.ingest.files import readers
from memlake.ingest.run import ingest
from memlake.ingest.source import Document, Reject, make
from memlake.ingest.sources import parquet
from memlake.tests.lakes import rows
from memlake.warehouse.errors import Conflict, UnknownName


def read(path, **options) -> list[Document | Reject]:
    return list(parquet.Source(path=(str(path),), **options).read(Input(path.name, "", str(path))))


def reasons(found) -> list[str]:
    return [r.reason for r in found if isinstance(r, Reject)]


def test_rows_become_documents_in_order_across_row_groups(tmp_path):
    path = tmp_path / "a.parquet"
    texts = [f"text {i}" for i in range(25)]
    meta = [{"set": f"d{i % 2}", "other": i} for i in range(25)]
    pq.write_table(pa.table({"content": texts, "meta": meta, "id": list(range(25))}), path, row_group_size=7)
    found = read(path, text_field="content", domain_field="meta.set", id_field="id")
    assert found == [Document(f"a.parquet#{i}", i, f"d{i % 2}", f"text {i}") for i in range(25)]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary()])
def test_a_text_is_a_text_in_any_type(tmp_path, kind):
    path = tmp_path / "a.parquet"
    texts = pa.array(["zwölf", "nul \x00", None, " "]).cast(kind)
    pq.write_table(pa.table({"text": texts}), path)
    found = read(path)
    assert found[:2] == [Document("a.parquet", 0, "text", "zwölf"), Document("a.parquet", 1, "text", "nul \x00")]
    assert reasons(found) == ["no field text", "text is empty"]


def test_a_file_that_is_named_may_be_called_anything(tmp_path):
    path = tmp_path / "rows.of.texts"
    pq.write_table(pa.table({"text": ["one"]}), path)
    assert read(path) == [Document("rows.of.texts", 0, "text", "one")]


def test_a_text_in_a_dictionary_is_read(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": pa.array(["a", "b", "a"]).dictionary_encode()}), path)
    assert [r.text for r in read(path)] == ["a", "b", "a"]


def test_bytes_that_are_not_utf8_cost_their_row_only(tmp_path):
    path = tmp_path / "a.parquet"
    offsets = pa.py_buffer(b"".join(i.to_bytes(4, "little") for i in range(4)))
    broken = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"a\xffc"))  # Arrow does not look
    for texts in (broken, pa.array([b"a", b"\xff", b"c"])):
        pq.write_table(pa.table({"text": texts}), path)
        found = read(path)
        assert [r.text for r in found if isinstance(r, Document)] == ["a", "c"]
        assert [(r.position, r.reason) for r in found if isinstance(r, Reject)] == [(1, "not UTF-8")]


def test_a_column_of_another_type_or_none_costs_the_rows_of_its_file(tmp_path):
    for name, column in {"a": {"text": [1, 2]}, "b": {"other": ["x", "y"]}, "c": {"text": [["x"], []]}}.items():
        pq.write_table(pa.table(column), tmp_path / f"{name}.parquet")
    found = {name: reasons(read(tmp_path / f"{name}.parquet")) for name in "abc"}
    assert found == {"a": ["text is not text"] * 2, "b": ["no field text"] * 2, "c": ["text is not text"] * 2}
    assert read(tmp_path / "a.parquet")[1].head == b'{"text": 2}'


def test_a_file_that_is_no_parquet_is_one_reject(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a", "b"]}), path)
    whole = path.read_bytes()
    for data in (b"PAR1", b"hello " * 100, whole[:-1], whole[: len(whole) // 2]):
        path.write_bytes(data)
        (reject,) = read(path)
        assert reject.reason.startswith("the Parquet file cannot be read (") and reject.head == data[:200]
    path.write_bytes(b"")
    assert reasons(read(path)) == ["empty file"]


@pytest.mark.parametrize("codec", ["none", "snappy", "zstd", "gzip"])
def test_a_damaged_row_group_costs_its_rows_only(tmp_path, codec):
    path = tmp_path / "a.parquet"
    texts = [f"text {i} " * 20 for i in range(300)]
    pq.write_table(pa.table({"text": texts}), path, row_group_size=100, compression=codec, use_dictionary=False)
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    for i in range(column.data_page_offset, column.data_page_offset + 40):
        data[i] ^= 0xA5
    path.write_bytes(data)
    found = read(path)
    assert [r.position for r in found if isinstance(r, Document)] == [*range(100), *range(200, 300)]
    (reject,) = [r for r in found if isinstance(r, Reject)]
    assert reject.position == 100 and reject.reason.startswith("row group 1 cannot be read (")


@pytest.mark.parametrize("distinct", [4000, 50])
def test_memory_does_not_follow_the_row_group(tmp_path, distinct):
    path = tmp_path / "a.parquet"
    texts = [f"text {i % distinct} " * 1000 for i in range(4000)]  # 40 MB; of 50 the file keeps a dictionary
    pq.write_table(pa.table({"text": texts, "unread": texts}), path, compression="zstd")
    del texts
    start = pa.total_allocated_bytes()
    tracemalloc.start()
    peak_arrow = n = 0
    for _ in readers.parquet_rows(str(path), ["text"]):
        n += 1
        peak_arrow = max(peak_arrow, pa.total_allocated_bytes() - start)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert n == 4000
    assert peak < 24_000_000 and peak_arrow < 24_000_000


def test_a_column_with_a_dot_in_its_name_and_a_struct_and_a_map(tmp_path):
    path = tmp_path / "a.parquet"
    tags = pa.array([[("lang", "c")], [("lang", "d")]], pa.map_(pa.string(), pa.string()))
    meta = [{"content": "not this", "set": "x"}, {"content": "nor this", "set": "y"}]
    pq.write_table(pa.table({"text": meta, "text.content": ["one", "two"], "tags": tags, "a.b": meta}), path)
    assert [r.text for r in read(path, text_field="text.content")] == ["one", "two"]
    for name, domains in {"tags.lang": ["c", "d"], "text.set": ["x", "y"], "a.b.set": ["x", "y"]}.items():
        assert [r.domain for r in read(path, text_field="text.content", domain_field=name)] == domains


def partitioned(root):
    for folder, texts in {
        "lang=python": ["a", "b"],
        "lang=c%2B%2B": ["c"],
        "lang=__HIVE_DEFAULT_PARTITION__": ["d"],
    }.items():
        (root / folder).mkdir(parents=True)
        pq.write_table(pa.table({"content": texts, "n": [0] * len(texts)}), root / folder / "part-0.parquet")
    return root


def test_folders_tell_the_domain(lake, tmp_path):
    options = {"path": (str(partitioned(tmp_path / "in")),), "text_field": "content", "domain_field": "lang"}
    _, said = ingest(lake, "parquet", options, corpus="mine")
    assert said == [
        "corpus mine: 4 documents (c++ 1, python 2, text 1)",
        "1 of 4 documents is in domain 'text', that of records without a field 'lang'",
    ]


@pytest.mark.parametrize("below", ["lang=python", "lang=python/part-0.parquet"])
def test_a_folder_tells_the_domain_of_what_is_read_of_it_alone(lake, tmp_path, monkeypatch, below):
    whole = {"path": (str(partitioned(tmp_path / "in")),), "text_field": "content", "domain_field": "lang"}
    summary, said = ingest(lake, "parquet", whole | {"path": (str(tmp_path / "in" / below),)}, corpus="mine")
    assert said == ["corpus mine: 2 documents (python 2)"]
    monkeypatch.chdir(tmp_path / "in/lang=python")
    ingest(lake, "parquet", whole | {"path": (".",)}, corpus="mine")
    again, _ = ingest(lake, "parquet", whole, corpus="mine")
    assert (len(summary.done), len(again.done), again.skipped) == (1, 2, 1)
    assert rows(lake, "select count(*), count(distinct document_id) from stored.documents") == [(4, 4)]


def test_what_was_read_before_folders_were_looked_at_is_not_taken_for_done(lake, tmp_path, monkeypatch):
    options = {"path": (str(partitioned(tmp_path / "in")),), "text_field": "content", "domain_field": "lang"}
    with monkeypatch.context() as before:
        before.setattr("memlake.ingest.files.records.folder_fields", lambda name: {})
        before.setattr("memlake.ingest.files.records.refuse_unknown", lambda *_: None)
        ingest(lake, "parquet", options, corpus="mine")
    assert rows(lake, "select distinct domain from stored.documents") == [("text",)]
    with pytest.raises(Conflict, match=r"read by an older version of memlake: .*forget --cell"):
        ingest(lake, "parquet", options, corpus="mine")


def test_the_name_of_a_file_is_as_ever_where_no_domain_is_asked_of_its_folder(tmp_path):
    root = partitioned(tmp_path / "in") / "lang=python"
    for options in ({}, {"domain_field": "n"}):
        (given,) = make("parquet", {"path": (str(root),), "text_field": "content"} | options).inputs()
        assert given.name == "part-0.parquet"


def test_files_of_two_folders_that_tell_nothing_are_not_mixed_up(lake, tmp_path):
    root = partitioned(tmp_path / "in")
    options = {"text_field": "content"}
    ingest(lake, "parquet", options | {"path": (str(root / "lang=python"),)}, corpus="mine")
    with pytest.raises(Conflict, match=r"holds part-0\.parquet already, with other content"):
        ingest(lake, "parquet", options | {"path": (str(root / "lang=c%2B%2B"),)}, corpus="mine")


def test_a_column_of_no_file_is_an_error_at_once(lake, tmp_path, capsys):
    root = partitioned(tmp_path / "in")
    pq.write_table(pa.table({"content": ["x"] * 1000, "meta": [None] * 999 + [{"set": "a"}]}), root / "big.parquet")
    options = {"path": (str(root),), "text_field": "content"}
    with pytest.raises(UnknownName, match="no field 'language': did you mean 'lang'"):
        ingest(lake, "parquet", options | {"domain_field": "language"}, corpus="mine")
    assert capsys.readouterr().err == ""  # the schema tells
    with pytest.raises(UnknownName, match=r"no field 'meta\.sett': did you mean 'meta'"):
        ingest(lake, "parquet", options | {"domain_field": "meta.sett"}, corpus="mine")
    _, said = ingest(lake, "parquet", options | {"domain_field": "meta.set"}, corpus="mine")
    assert said[0] == "corpus mine: 1004 documents (a 1, text 1003)"


def test_an_ending_in_upper_case(tmp_path):
    pq.write_table(pa.table({"text": ["one"]}), tmp_path / "A.PARQUET")
    (tmp_path / "b.JSONL").write_text('{"text": "two"}')
    for name, source in {"A.PARQUET": "parquet", "b.JSONL": "jsonl"}.items():
        (given,) = make(source, {"path": (str(tmp_path),)}).inputs()
        (document,) = make(source, {}).read(given)
        assert given.name == name and document.text in ("one", "two")
    assert [r.fields for r in readers.records(str(tmp_path / "A.PARQUET"), None, 100)] == [{"text": "one"}]
