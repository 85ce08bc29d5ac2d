"""Counts from prebuilt indexes beside those of a scan."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from memlake.ingest.counting import infini_gram, lookup
from memlake.ingest.counting.count import count
from memlake.ingest.run import ingest
from memlake.ingest.sampling.sample import sample
from memlake.tests.ingest.tokenizers import byte_level, saved
from memlake.tests.lakes import rows
from memlake.warehouse.errors import BadInput, Conflict
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.tokenizer import Tokenizer, load_tokenizer

from .indexes import build, exactly

TEXTS = [
    "the cat sat on the mat and the cat sat on the mat again " * 3,
    "a dog ran to the mat where the cat sat on the mat " * 3,
    "the cat sat on the mat and the cat sat on the mat again " * 3,  # a copy
    "ab",
    "words that nobody else has written down so far in here " * 2,
]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, Tokenizer]:
    """A lake with a corpus and its sequences, and the tokenizer."""
    folder = tmp_path_factory.mktemp("made")
    lake, source = Lake.create(folder / "lake"), saved(byte_level(), folder / "tiny")
    (folder / "corpus.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in TEXTS))
    assert ingest(lake, "jsonl", {"path": (str(folder / "corpus.jsonl"),)}, corpus="mine")[0].done
    assert sample(lake, ["mine"], [source], window="4+4")[0].done
    return lake.path, load_tokenizer(source)


@pytest.fixture
def sampled(made, tmp_path) -> tuple[Lake, Tokenizer]:
    """A copy of it."""
    return Lake.open(shutil.copytree(made[0], tmp_path / "lake")), made[1]


def stream(tokenizer: Tokenizer) -> list[list[int]]:
    return [tokenizer.backend.encode(text, add_special_tokens=False).ids for text in TEXTS]


def occurrences(documents: list[list[int]], ngram: list[int]) -> int:
    """In plain Python, one document after the other."""
    n = len(ngram)
    return sum(document[i : i + n] == ngram for document in documents for i in range(len(document) - n + 1))


def public(documents: list[list[int]]) -> Callable[[dict], tuple[int, object]]:
    """What a public index of these documents answers."""

    def answer(payload: dict) -> tuple[int, object]:
        assert (payload["index"], payload["query_type"]) == ("v4_made_up", "count")
        ngram = payload["query_ids"]
        if ngram in ([], [0xFFFF]):
            return exactly(len(documents) + (0 if ngram else sum(map(len, documents))))
        return exactly(occurrences(documents, ngram))

    return answer


FOUND = """
    select counted_tokenizer, span, sequence_id, counts, tokens_scanned, complete from stored.ngram_counts
    where counted_corpus = '{}' and span <> 'document' order by all
"""


def test_a_public_index_and_a_scan_agree(serve, sampled):
    lake, tokenizer = sampled
    server = serve(public(stream(tokenizer)))
    assert count(lake, "mine")[0].done
    options = {"index": "v4_made_up", "tokenizers": [tokenizer.spec.location]}
    summary, table = count(lake, "mine", **options)
    assert not summary.failed, summary.failed
    scanned = rows(lake, FOUND.format("mine"))
    assert scanned and rows(lake, FOUND.format("v4_made_up")) == scanned
    assert table.to_pylist()[0]["counted_corpus"] == "v4_made_up"
    assert max(max(counts) for _, _, _, counts, *_ in scanned) > 10
    assert rows(lake, "select count(*) from stored.ngram_counts where span = 'document'")[0][0] == len(
        {sequence_id for _, _, sequence_id, *_ in scanned}
    )
    asked = len(server.asked)
    assert asked == len({tuple(ngram) for ngram in server.asked})
    assert count(lake, "mine", **options)[0].done == [] and len(server.asked) == asked
    assert not list((lake.path / "spool").glob("*"))


def test_a_run_that_broke_off_goes_on(serve, sampled, monkeypatch):
    lake, tokenizer = sampled
    monkeypatch.setattr(lookup, "PUBLIC", 20)
    right = public(stream(tokenizer))
    server = serve(lambda payload: right(payload) if len(server.asked) < 30 else (500, b""))
    options = {"index": "v4_made_up", "tokenizers": [tokenizer.spec.location], "within": "mine"}
    summary, _ = count(lake, "mine", **options)
    assert summary.done and summary.failed
    assert "gave no answer in 3 tries" in summary.failed[0][1]
    assert rows(lake, "from stored.ngram_counts") == []
    first = {tuple(ngram) for ngram in server.asked[:29]}
    lookup._opened.cache_clear()  # another process
    server = serve(right)
    summary, _ = count(lake, "mine", **options)
    assert summary.done and not summary.failed and summary.skipped
    assert rows(lake, "from stored.ngram_counts")
    assert len(first & {tuple(ngram) for ngram in server.asked}) <= infini_gram.AT_ONCE


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokenizers": ["own"]}, "an index has one tokenizer, which it does not tell: name it with --tokenizer"),
        ({"tokenizers": ["bytes", "tiny"]}, "an index has one tokenizer"),
        ({"index": "./nowhere"}, r"there is no folder \./nowhere"),
        ({"index": "v" * 90}, "--index has more than 80 bytes"),
        ({"source": "jsonl"}, "give --index or --source"),
    ],
)
def test_what_a_user_can_mend(sampled, options, message):
    lake, _ = sampled
    with pytest.raises(BadInput, match=message):
        count(lake, "mine", **({"index": "v4_made_up", "tokenizers": ["bytes"]} | options))


def test_an_index_without_any_token_is_refused(serve, sampled):
    lake, tokenizer = sampled
    serve(lambda payload: exactly(0))
    with pytest.raises(BadInput, match="index v4_made_up holds no token"):
        count(lake, "mine", index="v4_made_up", tokenizers=[tokenizer.spec.location])


def test_an_index_that_cannot_be_asked_is_told_before_any_cell(serve, sampled, tmp_path):
    lake, tokenizer = sampled
    server = serve(lambda payload: (200, {"error": "Invalid index: v4_made_up"}))
    with pytest.raises(BadInput, match="answers an error: Invalid index: v4_made_up"):
        count(lake, "mine", index="v4_made_up", tokenizers=[tokenizer.spec.location])
    assert len(server.asked) <= 2
    assert rows(lake, "from stored.cells where experiment = 'count_lookup'") == []
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="empty is no infini-gram index, or a part of one: it holds 0 tokenized"):
        count(lake, "mine", index=str(tmp_path / "empty"), tokenizers=["bytes"])


@pytest.mark.parametrize("width", [2, 4])
def test_a_local_index_and_a_scan_agree(sampled, tmp_path, width):
    lake, tokenizer = sampled
    folder = build(tmp_path / "index", stream(tokenizer), width)
    assert count(lake, "mine")[0].done
    summary, _ = count(lake, "mine", index=str(folder), tokenizers=[tokenizer.spec.location])
    assert not summary.failed, summary.failed
    scanned = rows(lake, FOUND.format("mine"))
    assert scanned and rows(lake, FOUND.format("index")) == scanned


def test_a_local_index_of_bytes_and_a_scan_agree(sampled, tmp_path):
    lake, _ = sampled
    folder = build(tmp_path / "index", [list(text.encode()) for text in TEXTS], 1)
    for options in ({}, {"index": str(folder)}):
        summary, _ = count(lake, "mine", tokenizers=["bytes"], **options)
        assert not summary.failed, summary.failed
    scanned = rows(lake, FOUND.format("mine"))
    assert scanned and rows(lake, FOUND.format("index")) == scanned


def test_another_index_of_the_same_name_is_refused(sampled, tmp_path):
    lake, tokenizer = sampled
    options = {"tokenizers": [tokenizer.spec.location], "within": "both"}
    for name, documents in (("one", stream(tokenizer)), ("two", stream(tokenizer)[1:])):
        options["index"] = str(build(tmp_path / name, documents, 2))
        if name == "one":
            assert count(lake, "mine", **options)[0].done
    with pytest.raises(Conflict, match="both held other documents"):
        count(lake, "mine", **options)
