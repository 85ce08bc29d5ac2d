"""Prebuilt infini-gram indexes (Liu et al. 2024, arXiv 2401.17377): how often an n-gram occurs in a corpus, looked up
in a suffix array instead of read from the corpus.

A local folder is read by the package `infini_gram`; any other name is one of the indexes that are public, asked over
their API (https://infini-gram.readthedocs.io/en/latest/api.html). The texts of an index are token ids, with a separator
before each document (all bits set), so that no n-gram goes across documents. An answer that is no exact count is an
error, never a number.
"""

from __future__ import annotations

import http.client
import json
import random
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from memlake.ingest.files import streams
from memlake.warehouse.errors import BadInput, one_line
from memlake.warehouse.identity import tagged
from memlake.warehouse.models.tokenizer import Tokenizer

API = "https://api.infini-gram.io/"
PER_SECOND, AT_ONCE = 10, 4  # requests
TRIES, FIRST_PAUSE, LONGEST_PAUSE = 8, 1.0, 60.0  # seconds between tries: doubled each time
TIMEOUT = 60.0  # seconds
BATCH = 1000  # n-grams asked for before the next ones are looked up in the cache
PARTS = ("tokenized", "table", "offset")  # files of an index
LOOK = 1000  # documents and, of the text, thousands of tokens that are looked at before an index is trusted
DTYPES = {1: "u8", 2: "u16", 4: "u32"}


class LocalIndex:
    """An index in a folder. Raises `BadInput` where it is none, or not of this tokenizer (None: of bytes)."""

    def __init__(self, folder: Path, tokenizer: Tokenizer | None):
        try:
            from infini_gram.engine import InfiniGramEngine
        except ImportError as e:
            raise BadInput("a local index is read by a package that is not here: pip install infini-gram") from e
        _files(folder)
        width = _width(folder)
        _check(folder, width, tokenizer)
        self.separator = (1 << 8 * width) - 1
        # eos_token_id and vocab_size are for its other queries; the latter must fit a token
        settings = {"token_dtype": DTYPES[width], "eos_token_id": 0, "vocab_size": min(self.separator, 65535)}
        self._engine = InfiniGramEngine(index_dir=str(folder), **settings)

    def counts(self, ngrams: Iterable[Sequence[int]]) -> Iterator[int]:
        """How often each occurs; an empty one: how many tokens there are, separators among them."""
        for ngram in ngrams:
            yield exact(self._engine.count(input_ids=list(ngram)))


class PublicIndex:
    """An index behind the API. What it answered is kept in `cache`, a file, and not asked again.

    Raises `BadInput` for a tokenizer (None: bytes) that no such index can have.
    """

    separator = 0xFFFF  # all of them hold 16 bits a token

    def __init__(self, name: str, tokenizer: Tokenizer | None, cache: Path):
        if tokenizer is None or tokenizer.vocab_size > self.separator:
            raise BadInput(f"the public indexes hold 16 bits a token: {name} is not of this --tokenizer")
        self.name, self._cache = name, cache
        self._lock, self._next = threading.Lock(), 0.0
        self._broken: str | None = None  # why it answers no more: others need not wait for the same

    def counts(self, ngrams: Iterable[Sequence[int]]) -> Iterator[int]:
        """As `LocalIndex.counts`. Raises `BadInput` where the API gives no exact count."""
        self._cache.parent.mkdir(exist_ok=True)
        with closing(sqlite3.connect(self._cache, timeout=TIMEOUT)) as cache:
            cache.execute(
                'create table if not exists counts ("index" text, ngram text, count integer,'
                ' primary key ("index", ngram)) without rowid'
            )
            for batch in _batches(ngrams, BATCH):
                known = {n: self._known(cache, n) for n in batch}
                found = {n: count for n, count in known.items() if count is not None}
                found |= self._ask(cache, [n for n in known if n not in found])
                yield from (found[n] for n in batch)

    def _known(self, cache: sqlite3.Connection, ngram: str) -> int | None:
        row = cache.execute('select count from counts where "index" = ? and ngram = ?', [self.name, ngram]).fetchone()
        return None if row is None else int(row[0])

    def _ask(self, cache: sqlite3.Connection, ngrams: list[str]) -> dict[str, int]:
        """What the API answers, which is kept in the cache."""
        found, pool = dict[str, int](), ThreadPoolExecutor(AT_ONCE)
        try:
            for ngram, count in zip(ngrams, pool.map(self._count, ngrams), strict=True):
                found[ngram] = count
                cache.execute("insert or ignore into counts values (?, ?, ?)", [self.name, ngram, count])
                cache.commit()  # so that a run that is killed goes on here
        finally:
            pool.shutdown(cancel_futures=True)
        return found

    def _count(self, ngram: str) -> int:
        try:
            return self._answer(ngram)
        except BadInput as e:
            self._broken = str(e)
            raise

    def _answer(self, ngram: str) -> int:
        ids = [int(token) for token in ngram.split()]
        payload = json.dumps({"index": self.name, "query_type": "count", "query_ids": ids}).encode()
        request = urllib.request.Request(API, payload, {"Content-Type": "application/json", "User-Agent": "memlake"})
        for tried in range(TRIES):
            if self._broken:
                raise BadInput(self._broken)
            self._wait()
            pause = min(FIRST_PAUSE * 2**tried, LONGEST_PAUSE) * random.uniform(0.5, 1)
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                    answer = json.load(response)
            except urllib.error.HTTPError as e:
                if e.code != 429 and e.code < 500:
                    raise BadInput(f"{API} refuses index {self.name}: {e.code} {_said(e)}") from e
                problem = f"{e.code} {e.reason}"
                pause = max(pause, _asked_pause(e))
            except (OSError, http.client.HTTPException, ValueError) as e:  # the network, half an answer, no JSON
                problem = one_line(getattr(e, "reason", e)) or type(e).__name__
            else:
                return exact(answer)
            if tried + 1 < TRIES:
                time.sleep(pause)
        raise BadInput(f"{API} gave no answer in {TRIES} tries, at last {problem}: run the command again later")

    def _wait(self) -> None:
        """Until the next request may be sent."""
        with self._lock:
            now = time.monotonic()
            at = max(now, self._next)
            self._next = at + 1 / PER_SECOND
        time.sleep(at - now)


def exact(answer: Any) -> int:
    """The count that an engine answered. Raises `BadInput` where it says something else, or only about how many."""
    if isinstance(answer, dict) and "error" in answer:
        raise BadInput(f"the index answers an error: {' '.join(str(answer['error']).split())[:200]}")
    if not isinstance(answer, dict) or type(answer.get("count")) is not int or answer["count"] < 0:
        raise BadInput(f"the index answers no count: {json.dumps(answer, default=repr)[:200]}")
    if answer.get("approx") is not False:
        raise BadInput("the index answers a count that is not exact")
    return int(answer["count"])


def file_digest(folder: Path) -> str:
    """Changes with the content of an index's files. Raises `BadInput` where the folder holds none."""
    return tagged("i1", [[path.name, streams.digest(path)] for path in _files(folder)])


def size(index: LocalIndex | PublicIndex) -> tuple[int, int]:
    """The documents of an index, and its tokens without the separators between them."""
    everything, separators = index.counts([[], [index.separator]])
    return separators, everything - separators


def _batches(ngrams: Iterable[Sequence[int]], size: int) -> Iterator[list[str]]:
    """The n-grams as text, `5613 4086`."""
    batch: list[str] = []
    for ngram in ngrams:
        batch.append(" ".join(map(str, ngram)))
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _said(error: urllib.error.HTTPError) -> str:
    """What a refusal says, in a line."""
    return " ".join(error.read().decode(errors="replace").split())[:200] or str(error.reason)


def _asked_pause(error: urllib.error.HTTPError) -> float:
    """Seconds for which the server asks to be left alone."""
    asked = error.headers.get("Retry-After", "") if error.headers else ""
    return min(float(asked), LONGEST_PAUSE) if asked.isdecimal() else 0.0


def _files(folder: Path) -> list[Path]:
    """The files of an index, as many of each kind. The engine itself takes a folder without any for an empty index."""
    found = {part: sorted(folder.glob(f"{part}*")) for part in PARTS}
    if not found["tokenized"] or len({len(paths) for paths in found.values()}) > 1:
        said = ", ".join(f"{len(paths)} {part}.*" for part, paths in found.items())
        raise BadInput(f"{folder} is no infini-gram index, or a part of one: it holds {said}")
    return [path for paths in found.values() for path in paths]


def _width(folder: Path) -> int:
    """Bytes of a token: each document begins with a separator, which is so many bytes of 255."""
    text, offset = (sorted(folder.glob(f"{part}*"))[0] for part in ("tokenized", "offset"))
    places = np.fromfile(offset, dtype="<u8", count=LOOK).tolist()
    with text.open("rb") as f:
        for width in (4, 2, 1):
            if places and all(place % width == 0 and _at(f, place, width) == b"\xff" * width for place in places):
                return width
    raise BadInput(f"{folder} is no infini-gram index, or damaged: its documents do not begin with a separator")


def _at(file: Any, place: int, size: int) -> bytes:
    file.seek(place)
    data: bytes = file.read(size)
    return data


def _check(folder: Path, width: int, tokenizer: Tokenizer | None) -> None:
    """Raise `BadInput` where the tokens cannot be those of the tokenizer."""
    if (tokenizer is None) != (width == 1):
        what = "bytes: say --tokenizer bytes" if width == 1 else "token ids: name its tokenizer with --tokenizer"
        raise BadInput(f"{folder} is an index of {what}")
    if tokenizer is not None:
        text = np.fromfile(sorted(folder.glob("tokenized*"))[0], dtype=f"<u{width}", count=LOOK * 1000)
        top = int(text[text != (1 << 8 * width) - 1].max(initial=0))
        if not top < tokenizer.vocab_size < 1 << 8 * width:
            raise BadInput(
                f"{folder} holds {8 * width} bits a token, and token {top}; the tokenizer of"
                f" {tokenizer.spec.location} has {tokenizer.vocab_size}: name the index's own with --tokenizer"
            )
