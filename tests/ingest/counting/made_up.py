"""What the tests of `ingest count` share: lakes with sequences, and counts made plainly."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from itertools import pairwise

import pytest

from memlake.ingest.run import ingest
from memlake.ingest.sampling.sample import sample
from memlake.ingest.sampling.windows import byte_alphabet
from memlake.tests.ingest import tokenizers
from memlake.tests.lakes import rows
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import resolve

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
    write(folder / "in" / "1.jsonl", TEXTS, "a")
    write(folder / "in" / "2.jsonl", TEXTS[2:5], "b")
    filled(folder, 100)
    return folder


@pytest.fixture
def made(template, tmp_path) -> Lake:
    """A copy of it."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return Lake.open(tmp_path / "lake")


@pytest.fixture
def empty(tmp_path):
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
