"""Counts from prebuilt indexes: a public one, behind a server of ours, and local ones that the package itself makes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from ingest import infini_gram, infini_gram_count
from ingest.count import count
from ingest.infini_gram import LocalIndex, PublicIndex, file_digest, tokens
from ingest.run import ingest
from ingest.sample import sample
from tests.ingest.here import rows, run_here
from tests.ingest.tokenizers import byte_level, saved
from warehouse.errors import BadInput, Conflict
from warehouse.lake import Lake
from warehouse.tokenizer import Tokenizer, load_tokenizer

TEXTS = [
    "the cat sat on the mat and the cat sat on the mat again " * 3,
    "a dog ran to the mat where the cat sat on the mat " * 3,
    "the cat sat on the mat and the cat sat on the mat again " * 3,  # a copy
    "ab",
    "words that nobody else has written down so far in here " * 2,
]


class Server:
    """Answers what `answer(payload)` says: (status, body), and remembers what it was asked."""

    def __init__(self, answer: Callable[[dict], tuple[int, object]]):
        self.asked: list[list[int]] = []
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler):
                payload = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
                with lock:
                    self.asked.append(payload["query_ids"])
                    status, body = answer(payload)
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                handler.send_response(status)
                handler.send_header("Retry-After", "0")
                handler.end_headers()
                handler.wfile.write(data)

            def log_message(handler, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def serve(monkeypatch) -> Iterator[Callable[..., Server]]:
    """Start a server in the API's place, with hardly a pause between tries."""
    started = []

    def start(answer) -> Server:
        started.append(Server(answer))
        monkeypatch.setattr(infini_gram, "API", started[-1].url)
        return started[-1]

    for name, value in (("FIRST_PAUSE", 0.001), ("PER_SECOND", 10_000), ("TRIES", 3)):
        monkeypatch.setattr(infini_gram, name, value)
    infini_gram_count._held.cache_clear()
    yield start
    for server in started:
        server.close()


def exactly(n: int) -> tuple[int, dict]:
    return 200, {"count": n, "approx": False, "latency": 0.1, "token_ids": [], "tokens": []}


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
    for of in (None, Tokenizer(tokenizer.backend, "", 100_000, None, tokenizer.source)):
        with pytest.raises(BadInput, match="16 bits a token: v4_x is not of this --tokenizer"):
            PublicIndex("v4_x", of, tmp_path / "cache.sqlite")


# Counting the sequences of a lake


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, Tokenizer]:
    """A lake with a corpus and its sequences, and the tokenizer."""
    folder = tmp_path_factory.mktemp("made")
    lake, source = Lake.create(folder / "lake"), saved(byte_level(), folder / "tiny")
    (folder / "corpus.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in TEXTS))
    with pytest.MonkeyPatch.context() as patch:
        for module in ("run", "sample"):
            patch.setattr(f"ingest.{module}.run", run_here)
        assert ingest(lake, "jsonl", {"path": (str(folder / "corpus.jsonl"),)}, corpus="mine")[0].done
        assert sample(lake, ["mine"], [source], window="4+4")[0].done
    return lake.path, load_tokenizer(source)


@pytest.fixture
def sampled(made, tmp_path, monkeypatch) -> tuple[Lake, Tokenizer]:
    """A copy of it."""
    monkeypatch.setattr("ingest.count.run", run_here)
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
    options = {"index": "v4_made_up", "tokenizers": [tokenizer.source.location]}
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
    monkeypatch.setattr(infini_gram_count, "PUBLIC", 20)
    right = public(stream(tokenizer))
    server = serve(lambda payload: right(payload) if len(server.asked) < 30 else (500, b""))
    options = {"index": "v4_made_up", "tokenizers": [tokenizer.source.location], "within": "mine"}
    summary, _ = count(lake, "mine", **options)
    assert summary.done and summary.failed
    assert "gave no answer in 3 tries" in summary.failed[0][1]
    assert rows(lake, "from stored.ngram_counts") == []
    first = {tuple(ngram) for ngram in server.asked[:29]}
    infini_gram_count._held.cache_clear()  # another process
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


def test_an_index_that_cannot_be_asked_is_told_before_any_cell(serve, sampled, tmp_path):
    lake, tokenizer = sampled
    server = serve(lambda payload: (200, {"error": "Invalid index: v4_made_up"}))
    with pytest.raises(BadInput, match="answers an error: Invalid index: v4_made_up"):
        count(lake, "mine", index="v4_made_up", tokenizers=[tokenizer.source.location])
    assert len(server.asked) <= 2
    assert rows(lake, "from stored.cells where experiment = 'count_lookup'") == []
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="empty is no infini-gram index, or a part of one: it holds 0 tokenized"):
        count(lake, "mine", index=str(tmp_path / "empty"), tokenizers=["bytes"])


# Local indexes, made by the package


def build(folder: Path, documents: list[list[int]], width: int) -> Path:
    """An index of these documents: its text as the package writes it, its suffix array by the package's own tool. Of 4
    bytes a token the tool wants 32 GiB of memory, and it is sorted here."""
    pytest.importorskip("infini_gram")
    folder.mkdir()
    separator, dtype = (1 << 8 * width) - 1, f"<u{width}"
    texts = [np.array([separator, *document], dtype) for document in documents]
    np.concatenate(texts).tofile(folder / "tokenized.0")
    np.cumsum([0, *(text.nbytes for text in texts[:-1])]).astype("<u8").tofile(folder / "offset.0")
    if width == 4:
        text = (folder / "tokenized.0").read_bytes()
        places = sorted(range(0, len(text), width), key=lambda at: text[at:])
        (folder / "table.0").write_bytes(b"".join(place.to_bytes(2, "little") for place in places))
        return folder
    code = """if True:
        import argparse, sys
        from infini_gram.indexing import build_sa
        names = dict(worker_id=0, shards=1, workers=1, cpus=1, mem=1, save_dir=sys.argv[1], temp_dir=sys.argv[1])
        build_sa(argparse.Namespace(**names, token_width=int(sys.argv[2])))
    """
    done = subprocess.run([sys.executable, "-c", code, str(folder), str(width)], capture_output=True, text=True)
    assert done.returncode == 0 and (folder / "table.0").is_file(), done.stdout + done.stderr
    return folder


@pytest.mark.parametrize("width", [2, 4])
def test_a_local_index_and_a_scan_agree(sampled, tmp_path, width):
    lake, tokenizer = sampled
    folder = build(tmp_path / "index", stream(tokenizer), width)
    assert count(lake, "mine")[0].done
    summary, _ = count(lake, "mine", index=str(folder), tokenizers=[tokenizer.source.location])
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


def test_no_ngram_goes_across_documents(tmp_path, tokenizer):
    index = LocalIndex(build(tmp_path / "index", [[1, 2], [3, 1], [2]], 2), tokenizer)
    assert list(index.counts([[1], [2], [1, 2], [2, 3], [3, 1], [9]])) == [2, 2, 1, 0, 1, 0]
    assert tokens(index) == 5


def test_an_index_of_another_tokenizer(tmp_path, tokenizer):
    beyond = build(tmp_path / "beyond", [[1, tokenizer.vocab_size]], 2)
    with pytest.raises(BadInput, match=r"16 bits a token, and token 330; .* has 330: name the index's own"):
        LocalIndex(beyond, tokenizer)
    with pytest.raises(BadInput, match="is an index of token ids: name its tokenizer"):
        LocalIndex(beyond, None)
    with pytest.raises(BadInput, match="is an index of bytes: say --tokenizer bytes"):
        LocalIndex(build(tmp_path / "bytes", [[65]], 1), tokenizer)
    wide = Tokenizer(tokenizer.backend, "", 100_000, None, tokenizer.source)
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


def test_another_index_of_the_same_name_is_refused(sampled, tmp_path):
    lake, tokenizer = sampled
    options = {"tokenizers": [tokenizer.source.location], "within": "both"}
    for name, documents in (("one", stream(tokenizer)), ("two", stream(tokenizer)[1:])):
        options["index"] = str(build(tmp_path / name, documents, 2))
        if name == "one":
            assert count(lake, "mine", **options)[0].done
    with pytest.raises(Conflict, match="both held other documents"):
        count(lake, "mine", **options)


def test_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "infini_gram.engine", None)
    with pytest.raises(BadInput, match="pip install infini-gram"):
        LocalIndex(tmp_path, None)
