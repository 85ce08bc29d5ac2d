"""Prebuilt indexes: a public one, behind a server of ours, and local ones that the package itself makes."""

from __future__ import annotations

import sys

import pytest

from memlake.ingest.counting import infini_gram
from memlake.ingest.counting.infini_gram import LocalIndex, PublicIndex, file_digest, size
from memlake.tests.ingest.tokenizers import byte_level, saved
from memlake.warehouse.errors import BadInput
from memlake.warehouse.models.tokenizer import Tokenizer, load_tokenizer

from .indexes import build, exactly


@pytest.fixture
def tokenizer(tmp_path) -> Tokenizer:
    return load_tokenizer(saved(byte_level(), tmp_path / "checkpoint"))


@pytest.fixture
def index(tmp_path, tokenizer) -> PublicIndex:
    return PublicIndex("v4_made_up", tokenizer, tmp_path / "cache" / "infini_gram.sqlite")


def test_a_public_index_is_asked_once_for_each_ngram(serve, index, tokenizer, tmp_path):
    server = serve(lambda payload: exactly(10 * len(payload["query_ids"])))
    assert list(index.counts([[5], [5, 6], [5]])) == [10, 20, 10]
    assert sorted(server.asked) == [[5], [5, 6]]
    again = PublicIndex("v4_made_up", tokenizer, tmp_path / "cache" / "infini_gram.sqlite")
    assert list(again.counts([[5, 6], [7, 8, 9]])) == [20, 30]
    assert sorted(server.asked) == [[5], [5, 6], [7, 8, 9]]
    other = PublicIndex("v4_another", tokenizer, tmp_path / "cache" / "infini_gram.sqlite")
    assert list(other.counts([[5]])) == [10]  # another index has counts of its own
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    "first",
    [(429, b"slow down"), (500, b""), (503, b"<html>busy</html>"), (200, b"<html>gateway</html>"), (200, b'{"count"')],
)
def test_what_may_pass_is_tried_again(serve, index, first):
    server = serve(lambda payload: first if len(server.asked) < 3 else exactly(7))
    assert list(index.counts([[1, 2]])) == [7]
    assert server.asked == [[1, 2]] * 3


@pytest.mark.parametrize(
    ("answer", "message", "tries"),
    [
        (
            (500, b"down"),
            "gave no answer in 3 tries, at last 500 Internal Server Error: run the command again later",
            3,
        ),
        ((404, b"no such\nplace"), "refuses index v4_made_up: 404 no such place", 1),
        ((200, {"error": "Invalid index: v4_made_up"}), "answers an error: Invalid index: v4_made_up", 1),
        ((200, {"count": 3, "approx": True}), "answers a count that is not exact", 1),
        ((200, {"count": 3}), "answers a count that is not exact", 1),
        ((200, {"count": "3", "approx": False}), "answers no count: .*'?3", 1),
        ((200, {"count": -1, "approx": False}), "answers no count", 1),
        ((200, [3]), "answers no count", 1),
    ],
)
def test_an_error_is_no_count(serve, index, answer, message, tries, tmp_path):
    server = serve(lambda payload: answer)
    with pytest.raises(BadInput, match=message):
        list(index.counts([[1, 2]]))
    assert len(server.asked) == tries
    with pytest.raises(BadInput, match=message):  # the next cell need not wait for the same
        list(index.counts([[3]]))
    assert len(server.asked) == tries


def test_what_was_answered_before_an_error_is_kept(serve, index, tokenizer, monkeypatch):
    monkeypatch.setattr(infini_gram, "AT_ONCE", 1)
    server = serve(lambda payload: (404, b"") if payload["query_ids"] == [3] else exactly(1))
    with pytest.raises(BadInput, match="404"):
        list(index.counts([[1], [2], [3], [4]]))
    before = len(server.asked)
    assert list(PublicIndex("v4_made_up", tokenizer, index._cache).counts([[1], [2]])) == [1, 1]
    assert len(server.asked) == before


def test_a_server_that_is_not_there(serve, index):
    server = serve(lambda payload: exactly(1))
    server.close()
    with pytest.raises(BadInput, match=r"gave no answer in 3 tries, at last .*refused: run the command again"):
        list(index.counts([[1]]))


def test_a_tokenizer_that_no_public_index_has(tmp_path, tokenizer):
    for of in (None, Tokenizer(tokenizer.backend, "", 100_000, None, tokenizer.spec)):
        with pytest.raises(BadInput, match="16 bits a token: v4_x is not of this --tokenizer"):
            PublicIndex("v4_x", of, tmp_path / "cache.sqlite")


# Local indexes, made by the package


def test_no_ngram_goes_across_documents(tmp_path, tokenizer):
    index = LocalIndex(build(tmp_path / "index", [[1, 2], [3, 1], [2]], 2), tokenizer)
    assert list(index.counts([[1], [2], [1, 2], [2, 3], [3, 1], [9]])) == [2, 2, 1, 0, 1, 0]
    assert size(index) == (3, 5)


def test_an_index_of_another_tokenizer(tmp_path, tokenizer):
    beyond = build(tmp_path / "beyond", [[1, tokenizer.vocab_size]], 2)
    with pytest.raises(BadInput, match=r"16 bits a token, and token 330; .* has 330: name the index's own"):
        LocalIndex(beyond, tokenizer)
    with pytest.raises(BadInput, match="is an index of token ids: name its tokenizer"):
        LocalIndex(beyond, None)
    with pytest.raises(BadInput, match="is an index of bytes: say --tokenizer bytes"):
        LocalIndex(build(tmp_path / "bytes", [[65]], 1), tokenizer)
    wide = Tokenizer(tokenizer.backend, "", 100_000, None, tokenizer.spec)
    with pytest.raises(BadInput, match=r"16 bits a token, and token 330; .* has 100000"):
        LocalIndex(beyond, wide)


def test_a_damaged_index(tmp_path, tokenizer):
    folder = build(tmp_path / "index", [[1, 2], [3]], 2)
    digest = file_digest(folder)
    text = (folder / "tokenized.0").read_bytes()
    (folder / "tokenized.0").write_bytes(b"\0" + text[1:])
    assert file_digest(folder) != digest
    with pytest.raises(BadInput, match="do not begin with a separator"):
        LocalIndex(folder, tokenizer)
    (folder / "table.0").unlink()
    with pytest.raises(BadInput, match=r"it holds 1 tokenized\.\*, 0 table\.\*, 1 offset"):
        LocalIndex(folder, tokenizer)


def test_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "infini_gram.engine", None)
    with pytest.raises(BadInput, match="pip install infini-gram"):
        LocalIndex(tmp_path, None)
