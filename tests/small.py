"""A small lake to test on: one corpus, one tokenizer, one model, sequences of 12 tokens; cells that fill `matches`."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa

from memlake.warehouse.identity import hash63
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.publish import Manifest, publish
from memlake.warehouse.publishing.register import register
from memlake.warehouse.publishing.stage import Staging
from memlake.warehouse.work.attempt import attempt_at
from memlake.warehouse.work.cells import Cell, CellRows, Settings
from memlake.warehouse.work.runner import Summary, run_cells

N = 40  # sequences a domain
PREFIX, CONTINUATION = 4, 12
DOMAINS = ("c++", "Wikipedia (en)")
CONDITION = {"condition": "float32 sdpa", "dtype": "float32", "attention": "sdpa", "noise": 0.0, "bos": False}
MODEL = {
    "model": "m",
    "family": "pythia",
    "source": "somewhere/m",
    "weights_digest": "sha256:0",
    "tokenizer": "t",
    "n_params": 1000,
    "n_layers": 2,
    "n_heads": 4,
    "n_kv_heads": 4,
    "hidden_size": 8,
    "vocab_size": 100,
    "base_condition": "float32 sdpa",
    "miniature": True,
}


@dataclass(frozen=True)
class Made(Settings):
    """Whatever a test says."""

    said: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return dict(self.said)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        return cls(dict(stored))


@dataclass(frozen=True)
class MadeCell(Cell):
    """A cell whose rows a test makes itself. called: its experiment; writes: its tables."""

    settings: Made
    called: str = "small"
    writes: tuple[str, ...] = ()

    @property
    def experiment(self) -> str:
        return self.called

    @property
    def tables(self) -> tuple[str, ...]:
        return self.writes

    def rows(self, lake: Lake) -> CellRows:
        yield from ()


ENDLESS = "select count(*) from range(100000000) a, range(100000) b"  # as good as, and its right side is small


@contextmanager
def ctrl_c(after: float) -> Iterator[None]:
    """Ctrl-C comes so many seconds later, if the block is not through by then."""
    timer = threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def flip(path: str | Path) -> None:
    """Damage the values of a Parquet file, and neither its size nor its footer."""
    data = bytearray(Path(path).read_bytes())
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    data[4:footer] = bytes(byte ^ 0x5A for byte in data[4:footer])
    Path(path).write_bytes(data)


def made_cell(called: str, said: Mapping[str, Any], *writes: str) -> MadeCell:
    return MadeCell(Made(said), called, writes)


@dataclass(frozen=True)
class IngestSettings(Settings):
    corpus: str
    domain: str
    n: int


@dataclass(frozen=True)
class IngestCell(Cell):
    """Documents of one domain, and a sequence of each."""

    EXPERIMENT: ClassVar[str] = "small_ingest"
    TABLES: ClassVar[tuple[str, ...]] = ("documents", "domains", "sequences")

    settings: IngestSettings

    @property
    def expected(self) -> dict[str, int]:
        return {"documents": self.settings.n, "sequences": self.settings.n}

    def rows(self, lake: Lake) -> CellRows:
        yield from ingested(self.settings.domain, self.settings.n)


def ingest_cell(domain: str, n: int = N) -> IngestCell:
    return IngestCell(IngestSettings("mine", domain, n))


def ingested(domain: str, n: int = N) -> CellRows:
    """The rows of an `IngestCell`."""
    names = [f"{domain}-{i}" for i in range(n)]
    yield (
        "documents",
        pa.table(
            {
                "document_id": [hash63(name) for name in names],
                "corpus": ["mine"] * n,
                "domain": [domain] * n,
                "text": names,
                "text_hash": [hash63("text", name) for name in names],
                "n_bytes": [len(name.encode()) for name in names],
                "source": ["made.up"] * n,
                "position": list(range(n)),
            }
        ),
    )
    yield (
        "domains",
        pa.table(
            {
                "corpus": ["mine"],
                "domain": [domain],
                "class": ["structural"],
                "n_documents": [n],
                "n_bytes": [sum(len(name.encode()) for name in names)],
                "kept_documents": [n],
            }
        ),
    )
    total = PREFIX + CONTINUATION
    yield (
        "sequences",
        pa.table(
            {
                "sequence_id": [sequence_id(domain, i) for i in range(n)],
                "anchor_id": [hash63("anchor", name) for name in names],
                "document_id": [hash63(name) for name in names],
                "corpus": ["mine"] * n,
                "domain": [domain] * n,
                "tokenizer": ["t"] * n,
                "sample": ["s"] * n,
                "shard": [0] * n,
                "rank": list(range(n)),
                "anchor": [PREFIX] * n,
                "byte_start": [0] * n,
                "byte_cut": [PREFIX] * n,
                "byte_end": [total] * n,
                "tokens": [list(range(total))] * n,
                "byte_ends": [list(range(1, total + 1))] * n,
                "prefix_tokens": [PREFIX] * n,
                "n_tokens": [CONTINUATION] * n,
            }
        ),
    )


def sequence_id(domain: str, i: int) -> int:
    return hash63("sequence", domain, i)


def match_rows(domain: str, n: int = N) -> list[dict[str, object]]:
    """Rows that meet every expectation: a third verbatim, the others with greedy and forced differing after the first
    mismatch."""
    rng = np.random.default_rng(sum(domain.encode()))
    rows = []
    for i in range(n):
        first = CONTINUATION if i % 3 == 0 else int(rng.integers(0, CONTINUATION))
        greedy, forced = rng.random(CONTINUATION) < 0.5, rng.random(CONTINUATION) < 0.5
        greedy[:first] = forced[:first] = True
        greedy[first : first + 1] = forced[first : first + 1] = False
        logprobs = np.float32(-rng.random(CONTINUATION) * 3)
        rows.append(
            {
                "sequence_id": sequence_id(domain, i),
                "anchor_id": hash63("anchor", f"{domain}-{i}"),
                "model": "m",
                "corpus": "mine",
                "domain": domain,
                "condition": "float32 sdpa",
                "prefix_tokens": PREFIX,
                "n_tokens": CONTINUATION,
                "match": np.packbits(greedy).tobytes(),
                "n_match": int(greedy.sum()),
                "score": float(greedy.mean()),
                "forced_match": np.packbits(forced).tobytes(),
                "forced_n_match": int(forced.sum()),
                "first_mismatch": first,
                "memorized": first == CONTINUATION,
                "matched_bytes": first,
                "generated": list(range(CONTINUATION)),
                "logprobs": logprobs.tolist(),
                "sum_logprob": float(logprobs.astype(np.float64).sum()),
                "log_p_z": None if i % 5 == 0 else -float(i),
                "completion_entropy": float(i),
                "min_margin": float(rng.random()),
            }
        )
    return rows


@dataclass(frozen=True)
class MatchCell(Cell):
    """The rows of `matches` of one domain."""

    EXPERIMENT: ClassVar[str] = "small_scoring"
    TABLES: ClassVar[tuple[str, ...]] = ("matches",)

    settings: Made

    @property
    def expected(self) -> dict[str, int]:
        return {"matches": N}

    @property
    def group(self) -> str:
        return "m"

    def rows(self, lake: Lake) -> CellRows:
        rows = match_rows(self.settings.said["domain"])
        yield "matches", pa.Table.from_pylist(rows[:7])
        yield "matches", pa.Table.from_pylist(rows[7:])


def match_cell(domain: str, **more: object) -> MatchCell:
    return MatchCell(Made({"model": "m", "corpus": "mine", "domain": domain, "condition": "float32 sdpa", **more}))


def put_cell(lake: Lake, cell: Cell, rows: dict[str, list[dict[str, object]]]) -> str | None:
    """Stage and publish rows as a worker would; the reason of the quarantine, if any."""
    folder = stage_rows(lake, cell, rows)
    return publish(lake, [folder])[folder]


def stage_rows(lake: Lake, cell: Cell, rows: dict[str, list[dict[str, object]]]) -> Path:
    """Stage rows as a worker would; the cell's folder."""
    folder = lake.staging / "run-test" / cell.id
    folder.mkdir(parents=True)
    with Staging(folder, cell.id, "run-test") as stage:
        for name, some in rows.items():
            stage.write(name, pa.Table.from_pylist(some))
    attempt = attempt_at(cell, device="cpu")
    Manifest(**vars(attempt), tables=cell.tables, expected=dict(cell.expected), files=tuple(stage.files)).write(folder)
    return folder


def make_lake(path, domains=DOMAINS) -> Lake:
    """A lake with documents, sequences, a tokenizer, a condition and a model; nothing measured yet."""
    lake = Lake.create(path)
    register(lake, "tokenizers", [{"tokenizer": "t", "source": "made", "digest": "sha256:1", "vocab_size": 100}])
    register(lake, "conditions", [CONDITION])
    register(lake, "models", [MODEL])
    summary: Summary = run_cells(lake, [ingest_cell(d) for d in domains])
    assert not summary.failed, summary.failed
    return lake
