"""A small lake to test on: one corpus, one tokenizer, one model, sequences of 12 tokens; cells that fill `matches`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from memlake.warehouse.identity import hash63
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.publish import publish, write_json
from memlake.warehouse.publishing.register import register
from memlake.warehouse.publishing.stage import Stage
from memlake.warehouse.work.cells import Cell
from memlake.warehouse.work.runner import Summary, run

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


def ingest_cell(domain: str, n: int = N) -> Cell:
    settings = {"corpus": "mine", "domain": domain, "n": n}
    return Cell("small_ingest", 1, settings, ("documents", "domains", "sequences"), {"documents": n, "sequences": n})


def ingest_work(cell: Cell, lake: Lake) -> Iterator[tuple[str, pa.Table]]:
    domain, n = cell.settings["domain"], cell.settings["n"]
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


def match_cell(domain: str, **more: object) -> Cell:
    settings = {"model": "m", "corpus": "mine", "domain": domain, "condition": "float32 sdpa", **more}
    return Cell("small_scoring", 1, settings, ("matches",), {"matches": N}, group="m")


def match_work(cell: Cell, lake: Lake) -> Iterator[tuple[str, pa.Table]]:
    rows = match_rows(cell.settings["domain"])
    yield "matches", pa.Table.from_pylist(rows[:7])
    yield "matches", pa.Table.from_pylist(rows[7:])


def put_cell(lake: Lake, cell: Cell, rows: dict[str, list[dict[str, object]]]) -> str | None:
    """Stage and publish rows as a worker would; the reason of the quarantine, if any."""
    folder = lake.staging / "run-test" / cell.id
    folder.mkdir(parents=True)
    with Stage(folder, cell.id, "run-test") as stage:
        for name, some in rows.items():
            stage.write(name, pa.Table.from_pylist(some))
    manifest = {
        "cell": cell.id,
        "experiment": cell.experiment,
        "version": cell.version,
        "settings": dict(cell.settings),
        "tables": list(cell.tables),
        "expected": dict(cell.rows),
        "files": stage.files,
        "seconds": 0.0,
        "device": "cpu",
        "versions": {},
    }
    write_json(folder / "manifest.json", manifest)
    return publish(lake, folder)


def make_lake(path, domains=DOMAINS) -> Lake:
    """A lake with documents, sequences, a tokenizer, a condition and a model; nothing measured yet."""
    lake = Lake.create(path)
    register(lake, "tokenizers", [{"tokenizer": "t", "source": "made", "digest": "sha256:1", "vocab_size": 100}])
    register(lake, "conditions", [CONDITION])
    register(lake, "models", [MODEL])
    summary: Summary = run(lake, [ingest_cell(d) for d in domains], ingest_work, workers=1)
    assert not summary.failed, summary.failed
    return lake
