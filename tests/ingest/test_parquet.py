"""Rows of Parquet files: what is taken, what is not, and what a damaged file costs."""

from __future__ import annotations

import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest import readers
from ingest.documents import Input
from ingest.source import Document, Reject
from ingest.sources import parquet


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
