"""A lake of made-up rows that look like a study's: families in several sizes, domains, a control corpus, exposures.

Committed without the audit: what a report shows is tested here, not whether the rows are true.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from memlake.tests.queries.conftest import put
from memlake.tests.small import CONDITION
from memlake.warehouse.identity import hash63
from memlake.warehouse.lake import Lake

from .made_up_counts import as_shown, count_pieces
from .made_up_heads import head_pieces
from .made_up_layers import layer_pieces
from .made_up_noise import CONDITIONS, noise_pieces

EXPOSURES = (0, 1, 2, 4, 8, 16, 32, 64)
DOMAINS = {"code": "structural", "legal": "free_text", "maths": "structural", "prose": "free_text"}
ROLES = {"made_up": "trained", "made_up_held_out": "control"}
SIZES = {"100k": 100_000, "300k": 310_000, "1m": 1_050_000}
TOKENS, LAYERS = 32, 4
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def make(path: Path, families: Sequence[str], **more: object) -> Lake:
    """The lake of `cells`, which says what else it takes."""
    lake = Lake.create(path)
    for cell, pieces in cells(families, **more):
        put(lake, cell, pieces)
    return lake


def cells(
    families: Sequence[str],
    *,
    sizes: Sequence[str] = tuple(SIZES),
    domains: Mapping[str, str] = DOMAINS,
    roles: Mapping[str, str] = ROLES,
    n: int = 48,
    layers: int = LAYERS,
    heads: int = 4,
) -> Iterator[tuple[str, Iterable[tuple[str, list[dict]]]]]:
    """Units of work and their pieces, of `n` documents of one sequence in each domain of each corpus, under every
    model."""
    named = {f"mini-{family}-{size}": (family, SIZES[size]) for family in families for size in sizes}
    base = [CONDITION | {"top_k": 40, "temperature": 1.0}]
    yield "conditions", [("conditions", base), ("conditions", CONDITIONS)]
    models = [model(name, *about) | {"n_layers": layers, "n_heads": heads} for name, about in named.items()]
    yield "models", [("models", models)]
    counted = next(corpus for corpus, role in roles.items() if role == "trained")
    for corpus, role in {**roles, as_shown(counted): "trained"}.items():
        own = [{"model": m, "corpus": corpus, "role": role} for m in named]
        yield f"roles {hash63(corpus)}", [("model_corpora", own)]
    for corpus, role in roles.items():
        for domain, kind in domains.items():
            yield f"ingest {hash63(corpus, domain)}", ingested(corpus, domain, kind, families, n)
            counts = count_pieces(families, corpus, domain, showings(role, n), counted, TOKENS)
            yield f"count {hash63(corpus, domain)}", counts
            for name, (family, params) in named.items():
                pieces = measured(name, family, params, corpus, domain, role, n, layers, heads)
                yield f"scoring {hash63(name, corpus, domain)}", pieces
    for outcome in ("done", "failed"):
        yield outcome, [("cells", [attempt("scoring", outcome)])]
    yield "checks", [("checks", checked())]


def model(name: str, family: str, params: int) -> dict[str, object]:
    return {
        "model": name, "family": family, "source": f"miniatures/{name}", "weights_digest": f"sha256:{name}",
        "tokenizer": family, "n_params": params, "n_layers": LAYERS, "n_heads": 4, "n_kv_heads": 4, "hidden_size": 64,
        "vocab_size": 1000, "base_condition": CONDITION["condition"], "miniature": True,
    }  # fmt: skip


def ingested(corpus: str, domain: str, kind: str, families: Sequence[str], n: int) -> Iterator[tuple[str, list]]:
    yield (
        "domains",
        [{"corpus": corpus, "domain": domain, "class": kind, "n_documents": n, "n_bytes": n, "kept_documents": n}],
    )
    for family in families:
        yield (
            "sequences",
            [
                {
                    "sequence_id": hash63(family, corpus, domain, i), "anchor_id": hash63(corpus, domain, i),
                    "document_id": hash63("document", corpus, domain, i), "corpus": corpus, "domain": domain,
                    "tokenizer": family, "sample": "s", "shard": 0, "rank": i, "anchor": 64,
                    "byte_start": 0, "byte_cut": 64 - (i % 9 == 0), "byte_end": 192, "tokens": [0] * 2 * TOKENS,
                    "byte_ends": [0] * 2 * TOKENS, "prefix_tokens": TOKENS, "n_tokens": TOKENS,
                }
                for i in range(n)
            ],
        )  # fmt: skip
        yield "guessability", [judged(family, corpus, domain, i) for i in range(n)]


def judged(family: str, corpus: str, domain: str, i: int) -> dict[str, object]:
    """One sequence in six is templated, more in code; half of those repeat."""
    templated = i % 6 == 1 or (domain == "code" and i % 6 == 3)
    return {
        "sequence_id": hash63(family, corpus, domain, i), "corpus": corpus, "domain": domain, "tokenizer": family,
        "templated": templated, "incrementing": False, "repeating": templated and i % 4 == 3,
        "huffman_length": 4.5 - 1.5 * templated + i % 5 / 10, "rouge_l": 0.8 if templated else i % 7 / 20,
    }  # fmt: skip


def showings(role: str, n: int) -> list[int]:
    """How often training showed each document of a domain."""
    return [EXPOSURES[i % len(EXPOSURES)] if role == "trained" else 0 for i in range(n)]


def measured(name, family, params, corpus, domain, role, n, layers, heads) -> Iterator[tuple[str, list]]:
    """Rows of `matches` and `exposures` in which repetition and size make memory."""
    rng = np.random.default_rng(hash63(name, corpus, domain) % 2**32)
    shown = showings(role, n)
    level = hash63(family) % 5 * 0.35 + 1.4 * np.log10(params / 1e5) + 0.1 * (domain == "code")
    rows = []
    for i, exposures in enumerate(shown):
        memory = 1 / (1 + np.exp(5.5 - 1.3 * np.log2(exposures + 1) - level)) if exposures else 0.0
        each = -np.log(rng.beta(1 + 60 * memory, 2.2, TOKENS).clip(1e-9, 1))
        first = TOKENS if rng.random() < memory**2 else int(min(rng.geometric(0.5 - 0.45 * memory) - 1, TOKENS - 1))
        greedy, forced = rng.random((2, TOKENS)) < np.array([[0.02], [0.3]]) + 0.4 * memory
        greedy[:first] = forced[:first] = True
        greedy[first : first + 1] = forced[first : first + 1] = False
        if first == TOKENS:
            each /= 30
        rows.append(
            {
                "sequence_id": hash63(family, corpus, domain, i), "anchor_id": hash63(corpus, domain, i),
                "model": name, "corpus": corpus, "domain": domain, "condition": CONDITION["condition"],
                "prefix_tokens": TOKENS, "n_tokens": TOKENS, "match": np.packbits(greedy).tobytes(),
                "n_match": int(greedy.sum()), "score": float(greedy.mean()),
                "forced_match": np.packbits(forced).tobytes(), "forced_n_match": int(forced.sum()),
                "first_mismatch": first, "memorized": first == TOKENS, "matched_bytes": 4 * first,
                "sum_logprob": float(-each.sum()), "log_p_z": None if i % 11 == 10 else float(-each.sum()),
                "completion_entropy": float(each.sum()),
            }
        )  # fmt: skip
    yield "matches", rows
    yield from layer_pieces(rows, layers)
    yield from noise_pieces(rows, layers)
    if role == "trained":
        ids, memorized = [r["sequence_id"] for r in rows], [r["memorized"] for r in rows]
        yield from head_pieces(name, corpus, domain, ids, memorized, layers, heads)
        ids = [hash63("document", corpus, domain, i) for i in range(n)]
        yield (
            "exposures",
            [{"model": name, "document_id": d, "exposures": e} for d, e in zip(ids, shown, strict=True)],
        )


def attempt(experiment: str, outcome: str) -> dict[str, object]:
    return {
        "experiment": experiment, "version": 1, "settings": "{}", "rows": 10, "seconds": 1.5, "device": "cpu",
        "versions": json.dumps({"torch": "2.13.0", "duckdb": "1.5.5"}), "outcome": outcome,
        "reason": None if outcome == "done" else "<b>out of memory</b>", "finished_at": WHEN,
    }  # fmt: skip


def checked() -> list[dict[str, object]]:
    row = {"table_name": "matches", "partition": "", "checked_at": WHEN, "quarantined": None}
    good = row | {"expectation": "key_unique", "passed": True, "observed": 0.0}
    bad = row | {"expectation": "score_is_share", "passed": False, "observed": 3.0, "quarantined": "quarantine/c1-0"}
    return [good, good | {"expectation": "n_tokens_present"}, bad]
