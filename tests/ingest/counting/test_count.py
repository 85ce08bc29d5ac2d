"""`ingest count`: the rows of small corpora beside counts made with a dictionary of everything that occurs."""

from __future__ import annotations

import fcntl
import json
import os
import shutil

import pytest
from typer.testing import CliRunner

from memlake.ingest.cli import app
from memlake.ingest.counting import corpus as count_corpus
from memlake.ingest.counting.count import count
from memlake.ingest.counting.scan import ScanParts, ScanSettings
from memlake.ingest.counting.tallies import AddUp, CountSettings
from memlake.tests.ingest import tokenizers
from memlake.tests.lakes import publish_rows, rows
from memlake.warehouse.errors import BadInput, UnknownName
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.forget import forget
from memlake.warehouse.work.cells import published

from .made_up import ALL, BACKENDS, filled, of, plainly, sampled, spread


@pytest.mark.parametrize("way", ["own", "bytes", "neox", "llama"])
def test_counts_are_those_of_a_dictionary(made, tmp_path, way):
    named = str(made.path / way) if way in BACKENDS else way
    summary, found = count(made, "mine", tokenizers=[named])
    assert summary.done and not summary.failed
    for name in BACKENDS if way == "own" else [way]:
        expected, sequences = plainly(made, name), rows(made, "select sequence_id, tokenizer from stored.sequences")
        if way == "own":
            expected = {k: v for k, v in expected.items() if k[0] in {i for i, t in sequences if t == name}}
        counts = of(made, name)
        assert counts == expected
        assert sum(c[0] > 1 for (_, span), c in counts.items() if span == "window") > 10
        assert any(c == [1] for (_, span), c in counts.items() if span == "window")
        (row,) = (r for r in found.to_pylist() if r["counted_tokenizer"] == name)
        backend = BACKENDS[name]() if name in BACKENDS else None
        texts = [t for (t,) in rows(made, "select text from stored.documents")]
        scanned = sum(
            len(backend.encode(t, add_special_tokens=False).ids) if backend else len(t.encode()) for t in texts
        )
        assert (row["tokens_scanned"], row["complete"], row["counted_corpus"]) == (scanned, True, "mine")
        assert row["sequences"] == len({i for i, _ in counts})
        if way == "neox":  # the documents that NFC changes are counted in, but nothing can be asked of them
            assert row["why"] == f"text changed by the tokenizer {row['skipped']}" and row["skipped"] > 0
    assert not list((made.path / "spool").glob("*"))


def test_edges_that_do_not_coincide_lose_a_token(made, tmp_path):
    other = tokenizers.byte_level(450)  # its tokens are longer
    tokenizers.saved(other, tmp_path / "other")
    _, found = count(made, "mine", tokenizers=[str(tmp_path / "other"), "bytes"])
    clipped = {r["counted_tokenizer"]: r["clipped"] for r in found.to_pylist()}
    lost = 0
    for document, *edges in rows(
        made,
        "select text, byte_start, byte_cut, byte_end from stored.sequences s join stored.documents using (document_id)",
    ):
        lost += not {0, *(last for *_, last in spread(other, document))} >= set(edges)
    assert clipped == {"other": lost, "bytes": 0} and lost > 0


def interrupted(*_: object):
    raise KeyboardInterrupt


def test_a_killed_run_goes_on_after_its_first_stage(made, monkeypatch):
    monkeypatch.setattr(count_corpus, "CELL", 1)  # a cell for each file
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(AddUp, "rows", interrupted)
        count(made, "mine", tokenizers=["bytes"])
    scans = {cell for cell, _ in published(made, ScanParts.EXPERIMENT, ScanSettings)}
    assert len(scans) == 2 and rows(made, ALL) == []
    (folder,) = (made.path / "spool").glob("*/count-*")
    lost = sorted(scans)[0]
    (folder / lost).unlink()
    summary, _ = count(made, "mine", tokenizers=["bytes"])
    assert lost in summary.done and len(summary.done) == 2 and summary.skipped == 1  # the lost scan, and the sum
    assert of(made, "bytes") == plainly(made, "bytes")
    assert not list((made.path / "spool").glob("*"))


def test_what_a_killed_run_left_is_removed_unless_its_run_is_alive(made):
    for domain in ("a", "b"):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(ScanParts, "rows", interrupted)
            count(made, "mine", domains=[domain], tokenizers=["bytes"])
    left = sorted((made.path / "spool").glob("*/count-*"))
    assert len(left) == 2
    folder = os.open(left[0], os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_SH)  # as its run does
    count(made, "mine", models=[str(made.path / "llama")], tokenizers=["bytes"])
    assert sorted((made.path / "spool").glob("*/count-*")) == left[:1]
    os.close(folder)
    count(made, "mine", models=[str(made.path / "llama")], tokenizers=["bytes"])  # has nothing to do
    assert not list((made.path / "spool").glob("*"))


def test_small_files_share_a_cell_and_the_counts_are_the_same(made, monkeypatch):
    count(made, "mine", tokenizers=["bytes"])
    together = rows(made, ALL)
    assert len(list(published(made, ScanParts.EXPERIMENT, ScanSettings))) == 1
    for cell, _ in list(published(made, AddUp.EXPERIMENT, CountSettings)):
        forget(made, cell=cell)
    monkeypatch.setattr(count_corpus, "CELL", 1)
    monkeypatch.setattr(count_corpus, "BATCH", 1)  # and a batch for each document
    count(made, "mine", tokenizers=["bytes"])
    assert len(list(published(made, ScanParts.EXPERIMENT, ScanSettings))) == 3
    assert rows(made, ALL) == together


def test_a_larger_sample_adds_only(empty):
    lake = filled(empty, 3)
    count(lake, "mine", tokenizers=["bytes"])
    few = rows(lake, "select * from stored.ngram_counts order by all")
    again, _ = count(lake, "mine", tokenizers=["bytes"])
    assert few and not again.done
    sampled(lake, 8)
    _, found = count(lake, "mine", tokenizers=["bytes"])
    many = rows(lake, "select * from stored.ngram_counts order by all")
    assert len(few) < len(many) and all(row in many for row in few)
    assert [tuple(found["sequences"].to_pylist())] == rows(lake, "select count(*) from stored.sequences")
    assert of(lake, "bytes") == plainly(lake, "bytes")


def test_two_workers_give_the_same_rows_as_one_process(made, template, tmp_path, monkeypatch):
    count(made, "mine", models=[str(made.path / "neox")])
    here = rows(made, ALL)
    monkeypatch.setattr(count_corpus, "CELL", 1)  # a cell for each file
    shutil.copytree(template / "lake", tmp_path / "other")
    arguments = ("count", "--corpus", "mine", "--model", tmp_path / "other" / "neox", "--workers", 2)
    done = CliRunner().invoke(app, [*map(str, arguments), "--lake", str(tmp_path / "other"), "--format", "json"])
    assert done.exit_code == 0, done.output
    assert rows(Lake.open(tmp_path / "other"), ALL) == here and len(here) > 50
    (row,) = json.loads(done.stdout)
    assert (row["counted_tokenizer"], row["complete"], row["skipped"]) == ("neox", True, 0)


def test_imported_sequences_are_counted_under_their_own_tokenizer(made, tmp_path):
    (tokens,) = rows(made, "select tokens from stored.sequences where tokenizer = 'neox' limit 1")[0]
    base = {"corpus": "mine", "domain": "a", "tokenizer": "neox", "sample": "s", "shard": 0, "n_tokens": 6}
    imported = [
        base | {"sequence_id": 1, "rank": 0, "tokens": tokens, "prefix_tokens": 8, "external_id": "1"},
        base | {"sequence_id": 2, "rank": 1, "tokens": [], "prefix_tokens": None, "external_id": "2"},
    ]
    publish_rows(made, "mine", "sequences", imported)
    _, found = count(made, "mine", tokenizers=["own", "bytes"])
    why = {r["counted_tokenizer"]: r["why"] for r in found.to_pylist()}
    assert why == {"bytes": "imported without a document 2", "llama": "", "neox": "imported without tokens 1"}
    counts = of(made, "neox")
    assert counts.keys() >= {(1, "unigrams"), (1, "window")} and (1, "document") not in counts
    assert len(counts[1, "unigrams"]) == 14 and counts[1, "window"][0] >= 1
    assert not any(i == 2 for i, _ in counts)


def test_domains_and_models_say_which_sequences(made, tmp_path):
    count(made, "mine", domains=["b"], models=[str(made.path / "neox")])
    found = rows(made, "select distinct domain, tokenizer, counted_tokenizer from stored.ngram_counts")
    assert found == [("b", "neox", "neox")]
    count(made, "mine", domains=["b"], models=[str(made.path / "neox")], tokenizers=[str(made.path / "llama")])
    assert ("b", "neox", "llama") in rows(
        made, "select distinct domain, tokenizer, counted_tokenizer from stored.ngram_counts"
    )
    assert len(rows(made, "select distinct tokenizer from stored.ngram_counts")) == 1


def test_bad_requests_are_one_clear_line(made, tmp_path):
    tokenizers.saved(tokenizers.byte_level(400), tmp_path / "other")
    for wrong, message in (
        ({"corpus": "mime"}, "did you mean 'mine'"),
        ({"domains": ["c"]}, "no domain 'c'"),
        ({"within": "mime"}, "no corpus 'mime': did you mean 'mine'"),
        ({"models": [str(tmp_path / "other")]}, "no sequences under other: run `memlake ingest sample` first"),
        ({"tokenizers": ["byte"]}, "no tokenizer 'byte': did you mean 'bytes'"),
        ({"options": {"path": ("x",)}}, "options of a --source"),
        ({"source": "results"}, "takes no|needs|no documents"),
        ({"source": "jsonl", "within": "c" * 90}, "--in has more than 80 bytes"),
        ({"within": ""}, "--in is empty"),
    ):
        with pytest.raises((BadInput, UnknownName), match=message):
            count(made, **({"corpus": "mine"} | wrong))
    assert rows(made, ALL) == []


def test_a_tokenizer_that_was_changed_is_refused(made, tmp_path):
    (made.path / "neox" / "tokenizer.json").write_text(tokenizers.byte_level(400).to_str())
    with pytest.raises(BadInput, match="is not neox any more: name a model of it with --model"):
        count(made, "mine")
