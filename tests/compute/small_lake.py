"""A lake with the sequences of a tiny checkpoint, partly memorized by it: no ingest, no training, half a second."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from memlake.compute.planning.request import Request
from memlake.compute.run import execute
from memlake.warehouse.identity import hash63
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import resolve
from memlake.warehouse.models.tokenizer import load_tokenizer, register_tokenizer
from memlake.warehouse.work.cells import Cell, CellRows, Settings
from memlake.warehouse.work.runner import run_cells

from .tiny import VOCAB, build, windows

ROWS = 20
BYTES = 2  # of every token


def save(folder: Path, family: str = "pythia", miniature: bool = True, **kwargs):
    """A tiny checkpoint in a folder, with a tokenizer of as many words as it has embeddings."""
    model = build(family, **kwargs)
    model.save_pretrained(folder)
    words = {f"w{i}": i for i in range(VOCAB)}
    tokenizer = Tokenizer(WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "w0"}))
    if miniature:
        about = {"miniature": True, "family": family, "corpora": ["mine"], "tokenizer": "words"}
        (folder / "memlake.json").write_text(json.dumps(about))
    return model


def make(
    folder: Path, model, checkpoint: Path, corpus: str = "mine"
) -> tuple[Lake, list[np.ndarray], np.ndarray, list[np.ndarray]]:
    """A lake with ROWS sequences in one domain, as `windows` makes them; also returns the windows."""
    lake = Lake.create(folder)
    tokenizer = register_tokenizer(lake, load_tokenizer(resolve(str(checkpoint))), "words")
    tokens, prefix, expected = windows(model, ROWS, (8, 16), (12, 20))
    settings = SmallSettings(corpus, tokenizer, tuple(tuple(t.tolist()) for t in tokens), tuple(prefix.tolist()))
    summary = run_cells(lake, [SmallCell(settings)])
    assert summary.done, summary.failed
    return lake, tokens, prefix, expected


@dataclass(frozen=True)
class SmallSettings(Settings):
    corpus: str
    tokenizer: str
    tokens: tuple[tuple[int, ...], ...]
    prefix: tuple[int, ...]


@dataclass(frozen=True)
class SmallCell(Cell):
    EXPERIMENT: ClassVar[str] = "small_ingest"
    TABLES: ClassVar[tuple[str, ...]] = ("documents", "domains", "sequences")

    settings: SmallSettings

    def rows(self, lake: Lake) -> CellRows:
        yield from small(self.settings)


def small(settings: SmallSettings) -> CellRows:
    """Every token stands for BYTES bytes of a made-up document."""
    tokens, prefix, corpus = settings.tokens, settings.prefix, settings.corpus
    n = len(tokens)
    place = {"corpus": [corpus] * n, "domain": ["code"] * n}
    ids = [hash63("document", i) for i in range(n)]
    texts = [f"{i:04}" + "x" * (BYTES * len(t) - 4) for i, t in enumerate(tokens)]
    documents = {
        **place,
        "document_id": ids,
        "text": texts,
        "text_hash": [hash63(text) for text in texts],
        "n_bytes": [len(text) for text in texts],
        "source": ["made.up"] * n,
        "position": list(range(n)),
    }
    yield "documents", pa.table(documents)
    total = sum(documents["n_bytes"])
    domain = {"corpus": corpus, "domain": "code", "class": "structural", "n_documents": n, "n_bytes": total}
    yield "domains", pa.Table.from_pylist([domain | {"kept_documents": n}])
    cuts = [BYTES * p for p in prefix]
    sequences = {
        **place,
        "sequence_id": [hash63("sequence", i) for i in range(n)],
        "anchor_id": [hash63("anchor", i) for i in range(n)],
        "document_id": ids,
        "tokenizer": [settings.tokenizer] * n,
        "sample": ["s"] * n,
        "shard": [0] * n,
        "rank": list(range(n)),
        "anchor": cuts,
        "byte_start": [0] * n,
        "byte_cut": cuts,
        "byte_end": documents["n_bytes"],
        "tokens": tokens,
        "byte_ends": [[BYTES * (j + 1) for j in range(len(t))] for t in tokens],
        "prefix_tokens": prefix,
        "n_tokens": [len(t) - p for t, p in zip(tokens, prefix, strict=True)],
    }
    yield "sequences", pa.table(sequences)


def scored(folder: Path, family: str = "pythia", **kwargs) -> tuple[Lake, Request]:
    """A lake with the windows of a tiny checkpoint and its scores, and the request for all of them: some memorized,
    some not."""
    model = save(folder / "tiny", family, **kwargs)
    lake, *_ = make(folder / "lake", model, folder / "tiny")
    request = Request(models=(str(folder / "tiny"),), corpora=("mine",), device="cpu")
    summary = execute(lake, "scoring", request)
    assert summary.done, summary.failed
    return lake, request


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines on standard error since the last look, but for those that tell how far a run is."""
    return [line for line in capsys.readouterr().err.splitlines() if not re.match(r"[\d:]+ \w+: \d+/\d+ cells, ", line)]
