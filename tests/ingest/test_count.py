"""`ingest count`: the rows of small corpora beside counts made with a dictionary of everything that occurs."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from itertools import pairwise

import pytest
from typer.testing import CliRunner

from ingest import count_corpus
from ingest.cli import app
from ingest.count import COUNT, count
from ingest.count_scan import SCAN
from ingest.run import ingest
from ingest.sample import sample
from ingest.tokens import byte_alphabet
from tests.ingest import tokenizers
from tests.ingest.here import rows, run_here
from tests.small import put_cell
from warehouse.cells import Cell, published
from warehouse.errors import BadInput, Conflict, UnknownName
from warehouse.forget import forget
from warehouse.lake import Lake
from warehouse.registry import resolve

ALL = "select * exclude (cell) from stored.ngram_counts order by all"
BACKENDS = {"neox": lambda: tokenizers.byte_level(nfc=True), "llama": tokenizers.sentencepiece}


def text(i: int, words: int = 130) -> str:
    draw = random.Random(i)
    return " ".join(draw.choice(["the", "quick", "brown", "fox", "é", "a a a a", "a,"]) for _ in range(words))


TEXTS = [text(i % 4) for i in range(6)] + [text(9) + " and e\u0301 not as NFC has it", "a", text(20, 30)]


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A lake with a corpus of two files, domains a and b, and sequences of 8 + 6 tokens under two tokenizers."""
    folder = tmp_path_factory.mktemp("count")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ingest.run.run", run_here)
        patch.setattr("ingest.sample.run", run_here)
        write(folder / "in" / "1.jsonl", TEXTS, "a")
        write(folder / "in" / "2.jsonl", TEXTS[2:5], "b")
        filled(folder, 100)
    return folder


@pytest.fixture
def made(lake, template, tmp_path, monkeypatch) -> Lake:
    """A copy of it."""
    monkeypatch.setattr("ingest.count.run", run_here)
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return Lake.open(tmp_path / "lake")


@pytest.fixture
def empty(lake, tmp_path, monkeypatch):
    monkeypatch.setattr("ingest.count.run", run_here)
    write(tmp_path / "in" / "1.jsonl", TEXTS, "a")
    return tmp_path


def filled(folder, per_domain: int, **more) -> Lake:
    """The lake in `folder` with the files beside it; its tokenizers lie in it, and are copied with it."""
    lake = Lake.create(folder / "lake")
    read(lake, folder / "in", **more)
    for name, backend in BACKENDS.items():
        tokenizers.saved(backend(), lake.path / name)
    sampled(lake, per_domain)
    return lake


def write(path, texts, domain) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(json.dumps({"body": t, "domain": domain}) for t in texts))


def read(lake, folder, **more) -> None:
    options = {"path": (str(folder),), "text_field": "body", "domain_field": "domain"}
    summary, _ = ingest(lake, "jsonl", options, corpus="mine", **more)
    assert summary.done and not summary.failed


def sampled(lake, per_domain: int) -> None:
    sources = [resolve(str(lake.path / name)) for name in BACKENDS]
    sample(lake, ["mine"], sources, per_domain=per_domain, window="8+6")


def plainly(lake, way: str) -> dict[tuple[int, str], list[int]]:
    """By (sequence, span), for all sequences that can be counted under bytes or a tokenizer."""
    encode = (
        (lambda t: list(t.encode())) if way == "bytes" else (lambda t: backend.encode(t, add_special_tokens=False).ids)
    )
    backend = None if way == "bytes" else BACKENDS[way]()
    texts = [t for (t,) in rows(lake, "select text from stored.documents")]
    seen = Counter()
    for ids in map(encode, texts):
        seen.update(tuple(ids[i:j]) for i in range(len(ids)) for j in range(i + 1, min(i + 120, len(ids)) + 1))
    found = {}
    for sequence_id, tokenizer, own, prefix, document, start, cut, end in rows(
        lake,
        "select sequence_id, s.tokenizer, tokens, prefix_tokens, text, byte_start, byte_cut, byte_end"
        " from stored.sequences s join stored.documents using (document_id)",
    ):
        if way == tokenizer:
            window, rest = own, own[prefix:]
        elif way == "bytes":
            window, rest = list(document.encode()[start:end]), list(document.encode()[cut:end])
        else:
            window, rest = (within(backend, document, a, end) for a in (start, cut))
        if window is None:
            continue
        assert len(window) < 120
        found[sequence_id, "unigrams"] = [seen[(t,)] for t in window]
        found[sequence_id, "bigrams"] = [seen[p] for p in pairwise(window)]
        found[sequence_id, "continuation"] = [seen[tuple(rest)]]
        found[sequence_id, "window"] = [seen[tuple(window)]]
        found[sequence_id, "document"] = [texts.count(document)]
    return {key: counts for key, counts in found.items() if counts and (key[1] != "continuation" or counts != [0])}


def within(backend, document: str, first: int, last: int) -> list[int] | None:
    """The tokens whose bytes lie between these; None where the tokenizer changes the text."""
    tokens = spread(backend, document)
    return tokens and [t for t, a, b in tokens if first <= a and b <= last]


def spread(backend, document: str) -> list[tuple[int, int, int]] | None:
    """Each token with its first byte and the one after it."""
    alphabet = {c: bytes([b]) for c, b in byte_alphabet().items()}
    found, text = [], b""
    for token in backend.encode(document, add_special_tokens=False).ids:
        piece = backend.id_to_token(token)
        if piece.startswith("<0x"):
            data = bytes([int(piece[3:5], 16)])
        elif "▁" in backend.get_vocab():
            data = piece.replace("▁", " ").encode()
        else:
            data = b"".join(alphabet.get(c, c.encode()) for c in piece)
        if not found and data.startswith(b" ") and not document.startswith(" "):
            data = data[1:]  # put first by SentencePiece
        found.append((token, len(text), len(text) + len(data)))
        text += data
    return found if text == document.encode() else None


def of(lake, way: str) -> dict[tuple[int, str], list[int]]:
    found = rows(lake, f"select sequence_id, span, counts from stored.ngram_counts where counted_tokenizer = '{way}'")
    return {(i, span): counts for i, span, counts in found}


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


def test_a_stream_of_the_files_counts_what_the_lake_holds(made, tmp_path):
    ways = ["bytes", str(made.path / "llama")]
    count(made, "mine", tokenizers=ways)
    stored = rows(made, ALL)
    for cell, _ in list(published(made, COUNT)):
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
    for cell, _ in list(published(made, COUNT)):
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


def test_a_killed_run_goes_on_after_its_first_stage(made, monkeypatch):
    monkeypatch.setattr(count_corpus, "CELL", 1)  # a cell for each file

    def killed(lake, cells, work, **_):
        if cells[0].experiment == COUNT:
            raise KeyboardInterrupt
        return run_here(lake, cells, work)

    monkeypatch.setattr("ingest.count.run", killed)
    with pytest.raises(KeyboardInterrupt):
        count(made, "mine", tokenizers=["bytes"])
    scans = {cell for cell, _ in published(made, SCAN)}
    assert len(scans) == 2 and rows(made, ALL) == []
    (folder,) = (made.path / "spool").iterdir()
    lost = sorted(scans)[0]
    (folder / lost).unlink()

    ran = []

    def watched(lake, cells, work, **_):
        summary = run_here(lake, cells, work)
        ran.extend(summary.done)
        return summary

    monkeypatch.setattr("ingest.count.run", watched)
    summary, _ = count(made, "mine", tokenizers=["bytes"])
    assert lost in ran and len(ran) == 2 and summary.skipped == 1  # the lost scan, and the sum
    assert of(made, "bytes") == plainly(made, "bytes")
    assert not list((made.path / "spool").glob("*"))


def test_small_files_share_a_cell_and_the_counts_are_the_same(made, monkeypatch):
    count(made, "mine", tokenizers=["bytes"])
    together = rows(made, ALL)
    assert len(list(published(made, SCAN))) == 1
    for cell, _ in list(published(made, COUNT)):
        forget(made, cell=cell)
    monkeypatch.setattr(count_corpus, "CELL", 1)
    monkeypatch.setattr(count_corpus, "BATCH", 1)  # and a batch for each document
    count(made, "mine", tokenizers=["bytes"])
    assert len(list(published(made, SCAN))) == 3
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
    monkeypatch.undo()
    monkeypatch.setattr(count_corpus, "CELL", 1)  # a cell for each file
    shutil.copytree(template / "lake", tmp_path / "other")
    arguments = ("count", "--corpus", "mine", "--model", tmp_path / "other" / "neox", "--workers", 2)
    done = CliRunner().invoke(app, [*map(str, arguments), "--lake", str(tmp_path / "other"), "--format", "json"])
    assert done.exit_code == 0, done.output
    assert rows(Lake.open(tmp_path / "other"), ALL) == here and len(here) > 50
    (row,) = map(json.loads, done.stdout.splitlines())
    assert (row["counted_tokenizer"], row["complete"], row["skipped"]) == ("neox", True, 0)


def test_a_corpus_that_grew_is_counted_anew(made, tmp_path):
    count(made, "mine", tokenizers=["bytes"])
    write(tmp_path / "in" / "3.jsonl", TEXTS[:1], "a")
    read(made, tmp_path / "in")
    with pytest.raises(Conflict, match=r"mine held other documents when it was counted under bytes: .*--cell c1-"):
        count(made, "mine", tokenizers=["bytes"])
    for cell, _ in list(published(made, COUNT)):
        forget(made, cell=cell)
    count(made, "mine", tokenizers=["bytes"])
    assert of(made, "bytes") == plainly(made, "bytes")


def test_imported_sequences_are_counted_under_their_own_tokenizer(made, tmp_path):
    (tokens,) = rows(made, "select tokens from stored.sequences where tokenizer = 'neox' limit 1")[0]
    base = {"corpus": "mine", "domain": "a", "tokenizer": "neox", "sample": "s", "shard": 0, "n_tokens": 6}
    imported = [
        base | {"sequence_id": 1, "rank": 0, "tokens": tokens, "prefix_tokens": 8, "external_id": "1"},
        base | {"sequence_id": 2, "rank": 1, "tokens": [], "prefix_tokens": None, "external_id": "2"},
    ]
    cell = Cell("small", 1, {"corpus": "mine"}, ("sequences",))
    assert put_cell(made, cell, {"sequences": imported}) is None
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
        ({"tokenizers": ["byte"]}, "no model 'byte'"),
        ({"options": {"path": ("x",)}}, "options of a --source"),
        ({"source": "results"}, "takes no|needs|no documents"),
    ):
        with pytest.raises((BadInput, UnknownName), match=message):
            count(made, **({"corpus": "mine"} | wrong))
    assert rows(made, ALL) == []


def test_a_tokenizer_that_was_changed_is_refused(made, tmp_path):
    (made.path / "neox" / "tokenizer.json").write_text(tokenizers.byte_level(400).to_str())
    with pytest.raises(BadInput, match="is not neox any more: name a model of it with --model"):
        count(made, "mine")
