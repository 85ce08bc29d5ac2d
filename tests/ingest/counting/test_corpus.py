"""What `ingest count` counts in: whether all of the corpus was read, and was it the same."""

from __future__ import annotations

import gzip
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from memlake.ingest.counting.corpus import stored, streamed
from memlake.ingest.counting.count import count
from memlake.ingest.counting.tallies import AddUp, CountSettings
from memlake.ingest.files.readers import is_lost_rest, records
from memlake.ingest.run import ingest
from memlake.tests.lakes import rows
from memlake.warehouse.errors import BadInput, Conflict, UnknownName
from memlake.warehouse.publishing.forget import forget
from memlake.warehouse.work.cells import published

from .made_up import ALL, TEXTS, filled, of, plainly, read, text, write


def test_a_stream_of_the_files_counts_what_the_lake_holds(made, tmp_path):
    ways = ["bytes", str(made.path / "llama")]
    count(made, "mine", tokenizers=ways)
    stored = rows(made, ALL)
    for cell, _ in list(published(made, AddUp.EXPERIMENT, CountSettings)):
        forget(made, cell=cell)
    _, found = count(made, "mine", tokenizers=ways, source="jsonl", options={"path": (str(tmp_path / "in"),)})
    assert rows(made, ALL) == stored and len(stored) > 100
    assert found["complete"].to_pylist() == [True, True]


def test_fewer_files_and_other_content_are_not_the_corpus(made, tmp_path):
    one = {"path": (str(tmp_path / "in" / "1.jsonl"),)}

    def complete(path, within="mine", **options):
        given = {"path": (str(path),)} | options
        _, found = count(made, "mine", tokenizers=["bytes"], within=within, source="jsonl", options=given)
        return found["complete"].to_pylist()

    assert complete(*one["path"]) == [False]
    for cell, _ in list(published(made, AddUp.EXPERIMENT, CountSettings)):
        forget(made, cell=cell)
    write(tmp_path / "in" / "2.jsonl", TEXTS[2:4], "b")
    assert complete(tmp_path / "in") == [False]
    assert complete(tmp_path / "in", "elsewhere", text_field="body") == [False]  # the lake does not know all of it


def test_a_kept_sample_is_not_the_corpus(empty):
    lake = filled(empty, 100, keep=4)
    _, found = count(lake, "mine", tokenizers=["bytes"])
    assert found["complete"].to_pylist() == [False] and found["sequences"].to_pylist()[0] > 5
    assert of(lake, "bytes") == plainly(lake, "bytes")
    _, found = count(lake, "mine", tokenizers=["bytes"], source="jsonl", options={"path": (str(empty / "in"),)})
    assert found["complete"].to_pylist() == [True]
    assert rows(lake, "select count(distinct complete) from stored.ngram_counts") == [(2,)]


def test_a_corpus_that_grew_is_counted_anew(made, tmp_path):
    for domain in ("a", "b"):
        count(made, "mine", domains=[domain], tokenizers=["bytes"])
    write(tmp_path / "in" / "3.jsonl", TEXTS[:1], "a")
    read(made, tmp_path / "in")
    with pytest.raises(Conflict, match="mine held other documents when it was counted under bytes: ") as refused:
        count(made, "mine", tokenizers=["bytes"])
    cells = [cell for cell, _ in published(made, AddUp.EXPERIMENT, CountSettings)]
    assert len(cells) == 2 and all(f"--cell {cell}`" in str(refused.value) for cell in cells)
    for cell in cells:
        forget(made, cell=cell)
    count(made, "mine", tokenizers=["bytes"])
    assert of(made, "bytes") == plainly(made, "bytes")


def test_a_sample_of_all_documents_is_the_corpus(empty):
    lake = filled(empty, 100, keep=1000)
    done, found = count(lake, "mine", tokenizers=["bytes"])
    assert done.done and found["complete"].to_pylist() == [True]
    again, found = count(lake, "mine", tokenizers=["bytes"], source="jsonl", options={"path": (str(empty / "in"),)})
    assert not again.done and found["complete"].to_pylist() == [True]


def both_complete(lake, folder, **more) -> list[bool]:
    return [stored(lake, "mine").complete, streamed(lake, "mine", "jsonl", {"path": (str(folder),)} | more).complete]


def test_a_file_that_failed_is_missing_until_it_is_read(made, tmp_path):
    assert both_complete(made, tmp_path / "in") == [True, True]
    write(tmp_path / "in" / "3.jsonl", TEXTS[:1], "c")
    options = {"path": (str(tmp_path / "in"),), "text_field": "body", "domain_field": "domain"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("memlake.ingest.documents.pieces.MAX_DOMAINS", 0)
        (failed,) = ingest(made, "jsonl", options, corpus="mine")[0].failed
    assert failed[0].settings.file == "3.jsonl"
    assert both_complete(made, tmp_path / "in") == [False, False]
    write(tmp_path / "in" / "3.jsonl", TEXTS[1:2], "c")  # mended
    read(made, tmp_path / "in")
    assert both_complete(made, tmp_path / "in") == [True, True]


def test_a_file_without_its_end_is_not_the_corpus(made, tmp_path):
    (tmp_path / "in" / "3.jsonl").write_text("{}\n")
    read(made, tmp_path / "in")
    assert both_complete(made, tmp_path / "in") == [True, True]  # of that record we know that it is no document
    texts = "\n".join(json.dumps({"body": text(i, 2000), "domain": "a"}) for i in range(9))
    data = gzip.compress(texts.encode())
    (tmp_path / "in" / "4.jsonl.gz").write_bytes(data[: len(data) // 2])
    read(made, tmp_path / "in")
    assert rows(made, "select count(*) from stored.documents where source = '4.jsonl.gz'")[0][0] > 0
    assert both_complete(made, tmp_path / "in") == [False, False]
    _, found = count(made, "mine", tokenizers=["bytes"])
    assert (found["complete"].to_pylist(), found["rejects"].to_pylist()) == ([False], [2])


def test_which_rejects_are_the_rest_of_a_file(tmp_path):
    lines = "\n".join(str(random.Random(i).random()) for i in range(20_000)).encode()
    pq.write_table(pa.table({"text": ["one", "two", "three"] * 1000}), whole := tmp_path / "whole.parquet")
    data = {".jsonl.gz": gzip.compress(lines), ".jsonl.zst": zstandard.compress(lines), ".parquet": whole.read_bytes()}
    found = set()
    for name, there in data.items():
        middle = len(there) // 2
        damaged = there[:9] + b"\xff" * 40 + there[49:]
        for i, content in enumerate((there[:middle], damaged)):
            (tmp_path / f"{i}{name}").write_bytes(content)
            *_, last = records(str(tmp_path / f"{i}{name}"), {"text"}, 1 << 20)
            assert is_lost_rest(last.problem), last.problem
            found.add(" ".join(last.problem.split()[1:6]))
    assert {"gzip stream is cut off", "zstd stream is cut off", "Parquet file cannot be read"} <= found and len(
        found
    ) > 4
    (tmp_path / "small.jsonl").write_bytes(b'[]\n{"text": \n\xff\n\n' + b"1" * 99)
    problems = [record.problem for record in records(str(tmp_path / "small.jsonl"), {"text"}, 50)]
    assert all(problems) and len(problems) == 5 and not any(map(is_lost_rest, problems))


def test_a_count_that_read_no_document_is_none(made, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "1.jsonl").write_text('{"text": null}\n' * 12)
    other = {"path": (str(tmp_path / "other"),)}
    with pytest.raises(
        BadInput, match=r"^no document of other was read: 12 records are none \(no field text 12\); noth"
    ):
        count(made, "mine", tokenizers=["bytes"], within="other", source="jsonl", options=other)
    assert rows(made, ALL) == [] and not list((made.path / "spool").glob("*"))
    (tmp_path / "other" / "2.jsonl").write_text(json.dumps({"text": "the quick brown fox"}))
    _, found = count(made, "mine", tokenizers=["bytes"], within="other", source="jsonl", options=other)
    assert found["rejects"].to_pylist() == [12] and found["tokens_scanned"].to_pylist() == [19]
    _, found = count(made, "mine", tokenizers=["bytes"], within="other", source="jsonl", options=other)
    assert found["rejects"].to_pylist() == [None]  # nothing was read now


def test_a_corpus_of_linked_and_hive_folders_is_counted_in_as_it_was_read(empty, capsys):
    folder = empty / "in"
    (empty / "disk2").mkdir()
    (folder / "1.jsonl").rename(empty / "disk2/1.JSONL")
    (folder / "domain=b").symlink_to(empty / "disk2")
    write(folder / ".ipynb_checkpoints" / "1-checkpoint.jsonl", TEXTS, "a")
    (folder / "again.jsonl").symlink_to("domain=b/1.JSONL")
    (folder / "up").symlink_to("..")
    lake = filled(empty, 100)
    _, found = count(lake, "mine", tokenizers=["bytes"])
    kept = rows(lake, ALL)
    for cell, _ in list(published(lake, AddUp.EXPERIMENT, CountSettings)):
        forget(lake, cell=cell)
    capsys.readouterr()
    _, again = count(lake, "mine", tokenizers=["bytes"], source="jsonl", options={"path": (str(folder),)})
    assert again.to_pylist() == found.to_pylist() and again["complete"].to_pylist() == [True]
    assert rows(lake, ALL) == kept and len(kept) > 20
    told = "1 hidden, 1 linked to a folder above, 1 linked to what is read already"
    assert f"not read below {folder}: {told}" in capsys.readouterr().err


def test_a_field_of_no_record_is_an_error_before_a_count(made, tmp_path):
    options = {"path": (str(tmp_path / "in"),), "text_field": "txt"}
    with pytest.raises(UnknownName, match="no field 'txt'"):
        count(made, "mine", tokenizers=["bytes"], source="jsonl", options=options)
