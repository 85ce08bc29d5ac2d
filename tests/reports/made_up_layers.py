"""Made-up rows of layer decoding and of short-circuiting: late bursts, and blocks of which the first matter most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from memlake.warehouse.identity import hash63

KEYS = ("sequence_id", "model", "corpus", "domain", "condition")


def layer_pieces(clean: Sequence[dict], layers: int) -> Iterator[tuple[str, list[dict]]]:
    """Rows of `layer_tokens`, two positions a sequence, and of `block_deltas`, each block and the last two together,
    for the rows of `matches` of one cell, which need their completion_entropy for a matched group."""
    rng = np.random.default_rng(hash63("layers", clean[0]["model"], clean[0]["domain"]) % 2**32)
    ranges = list(dict.fromkeys([*((b, b) for b in range(layers)), (max(0, layers - 2), layers - 1)]))
    yield "layer_tokens", [_lens(row, position, layers, rng) for row in clean for position in range(2)]
    yield "block_deltas", [_blocks(row, first, last, layers, rng) for first, last in ranges for row in clean]


def _lens(row: dict, position: int, layers: int, rng: np.random.Generator) -> dict:
    depth = np.arange(layers + 1) / layers
    first = int(rng.integers(layers // 2, layers + 1))
    final = rng.uniform(0.7, 1) if row["memorized"] else rng.uniform(0, 1)
    return {key: row[key] for key in KEYS} | {
        "position": position, "target": 7, "top1": [7 if at >= first else 3 for at in range(layers + 1)],
        "target_probability": (final * depth**3).tolist(), "target_rank": [1] * (layers + 1),
        "entropy": (7 - 5 * depth).tolist(), "kl_to_final": (6 * (1 - depth)).tolist(), "first_layer": first,
    }  # fmt: skip


def _blocks(row: dict, first: int, last: int, layers: int, rng: np.random.Generator) -> dict:
    whole, at = row["forced_n_match"], np.arange(layers)
    n_match = whole - int(rng.binomial(whole, 0.9 * (1 - (first + 0.5) / layers) ** 6))
    distance = np.where(at < first, 0, 2 * 1.1**at)
    return {key: row[key] for key in KEYS} | {
        "first_block": first, "last_block": last, "n_tokens": row["n_tokens"], "n_match": n_match,
        "memorized": n_match == row["n_tokens"], "completion_entropy": row["completion_entropy"] + 5,
        "delta_logprob": float(n_match - whole), "output_difference": distance.tolist(),
        "output_bound": (distance * 4.0 ** (at + 1)).tolist() if first == last else None,
    }  # fmt: skip
