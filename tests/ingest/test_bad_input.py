"""What the issue calls bad input, all of it at once: rejects with reasons, and the good records kept."""

from __future__ import annotations

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from typer.testing import CliRunner

from memlake.ingest.cli import app
from memlake.ingest.run import ingest
from memlake.ingest.sampling.sample import sample
from memlake.ingest.sources import jsonl
from memlake.tests.lakes import rows
from memlake.warehouse.errors import BadInput

from . import tokenizers

ZSTD = zstandard.ZstdCompressor().compress
GOOD = json.dumps({"text": "good"}).encode() + b"\n"
MANY = b"".join(json.dumps({"text": f"text {i}"}).encode() + b"\n" for i in range(8000))
HUGE = b'{"text": "' + b"x" * 100_000_000 + b'"}\n'


def memlake(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_bad_files_and_records_cost_themselves_only(lake, tmp_path):
    files = {
        "cut.jsonl.zst": ZSTD(MANY)[:-50],
        "cut.jsonl.gz": gzip.compress(MANY)[:-50],
        "empty.jsonl": b"",
        "empty.jsonl.zst": b"",
        "huge.jsonl.zst": ZSTD(GOOD + HUGE + GOOD),
        "records.jsonl": GOOD
        + b'{"text": "\\ud800"}\n{"text": ["good"]}\n{"text": {"good": 1}}\n{"txt": "good"}\n\xff\n\n{\n'
        + b'{"text": "a\\u0000b"}\n'
        + GOOD,
    }
    (tmp_path / "in").mkdir()
    for name, data in files.items():
        (tmp_path / "in" / name).write_bytes(data)
    summary, lines = ingest(lake, "jsonl", {"path": (str(tmp_path / "in"),)}, corpus="mine")
    assert (len(summary.done), summary.failed) == (6, [])
    found = dict(rows(lake, "select source, count(*) from stored.documents group by all"))
    assert (found["huge.jsonl.zst"], found["records.jsonl"]) == (2, 3)
    assert found.keys() == {"cut.jsonl.zst", "cut.jsonl.gz", "huge.jsonl.zst", "records.jsonl"}
    assert lines[1].startswith("not taken: 12 records, each with its reason in `rejects` (")
    assert rows(lake, "select source, position, reason from stored.rejects order by all") == [
        ("cut.jsonl.gz", found["cut.jsonl.gz"], "the gzip stream is cut off"),
        ("cut.jsonl.zst", found["cut.jsonl.zst"], "the zstd stream is cut off"),
        ("empty.jsonl", 0, "empty file"),
        ("empty.jsonl.zst", 0, "empty file"),
        ("huge.jsonl.zst", 1, "longer than 4194304 bytes"),
        ("records.jsonl", 1, "text holds a lone surrogate"),
        ("records.jsonl", 2, "text is not text"),
        ("records.jsonl", 3, "text is not text"),
        ("records.jsonl", 4, "no field text"),
        ("records.jsonl", 5, "not UTF-8"),
        ("records.jsonl", 6, "empty line"),
        ("records.jsonl", 7, "malformed JSON"),
    ]
    assert max(found["cut.jsonl.gz"], found["cut.jsonl.zst"]) > 0


def test_a_schema_that_changes_between_files_costs_the_rows_that_do_not_fit(lake, tmp_path):
    for name, columns in {
        "a": {"text": ["one", "two"], "set": ["x", "y"]},
        "b": {"text": [1, 2], "set": ["x", "y"]},
        "c": {"set": ["x"], "other": [None]},
        "d": {"text": [b"three", None], "set": [5, 6]},
        "e": {"set": pa.array(["x"]).dictionary_encode(), "text": pa.array(["four"], pa.large_string())},
    }.items():
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    (tmp_path / "f.parquet").write_bytes(b"")
    summary, lines = ingest(lake, "parquet", {"path": (str(tmp_path),), "domain_field": "set"}, corpus="mine")
    assert not summary.failed
    assert lines[0] == "corpus mine: 3 documents (x 2, y 1)"
    assert rows(lake, "select source, position, reason from stored.rejects order by all") == [
        ("b.parquet", 0, "text is not text"),
        ("b.parquet", 1, "text is not text"),
        ("c.parquet", 0, "no field text"),
        ("d.parquet", 0, "domain is not text"),
        ("d.parquet", 1, "no field text"),
        ("f.parquet", 0, "empty file"),
    ]


@pytest.mark.parametrize("make", [tokenizers.byte_level, tokenizers.sentencepiece])
def test_nul_bytes_are_text_from_the_document_to_its_tokens(lake, tmp_path, make):
    texts = [f"{i} " + "the quick\x00 brown fox jumps over \x00 the lazy dog " * 20 for i in range(8)]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    ingest(lake, "jsonl", {"path": (str(tmp_path / "a.jsonl"),)}, corpus="mine")
    assert rows(lake, "select text from stored.documents order by position") == [(text,) for text in texts]
    sample(lake, ["mine"], [tokenizers.saved(make(), tmp_path / "model")], window="8+8")
    found = rows(
        lake,
        "select position, byte_start, byte_end, tokens from stored.sequences join stored.documents using (document_id)",
    )
    cuts = [texts[position][start:end] for position, start, end, _ in found]
    decoded = [make().decode(tokens, skip_special_tokens=False) for *_, tokens in found]
    assert [c.strip() for c in cuts] == [d.strip() for d in decoded]
    assert len(found) > 8 and any("\x00" in cut for cut in cuts)


def test_memory_stays_bounded_over_a_line_of_100_mb(tmp_path):
    import tracemalloc

    path = tmp_path / "huge.jsonl.gz"
    path.write_bytes(gzip.compress(GOOD, 1) + gzip.compress(HUGE, 1) + gzip.compress(GOOD, 1))
    source = jsonl.Source(path=(str(path),))
    (given,) = source.inputs()
    tracemalloc.start()
    found = [type(record).__name__ for record in source.read(given)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == ["Document", "Reject", "Document"]
    assert peak < 32_000_000


def test_a_folder_without_a_matching_file_is_one_line(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "notes.txt").write_text("no text of ours")
    for source in ("jsonl", "parquet", "pile", "dolma3"):
        failed = memlake("run", source, "--path", folder, "--corpus", "mine", "--lake", tmp_path / "lake")
        assert isinstance(failed.exception, BadInput)
        assert str(failed.exception).startswith(f"the folder {folder} holds no file that ends in .")
