"""Made-up rows of prompt compression and of noise: what is memorized falls back as noise grows, and later layers return
to the clean states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from memlake.tests.small import CONDITION
from memlake.warehouse.identity import hash63

STRENGTHS = (0.1, 0.2, 0.3, 0.4, 0.5)
CONDITIONS = [
    CONDITION | {"condition": f"noise {s}", "noise": s, "noise_seed": 0, "noise_layer": 0, "noise_scope": "token"}
    for s in STRENGTHS
]


def noise_pieces(clean: Sequence[dict], layers: int) -> Iterator[tuple[str, list[dict]]]:
    """Rows of `prompt_compression`, `matches` and `layer_similarity` for the rows of `matches` of one cell, which need
    their completion_entropy for a matched group."""
    rng = np.random.default_rng(hash63("noise", clean[0]["model"], clean[0]["domain"]) % 2**32)
    keys = ("sequence_id", "model", "corpus", "domain")
    compression, noisy, similar = [], [], []
    for row in clean:
        about = {key: row[key] for key in keys}
        if row["memorized"]:
            n = row["prefix_tokens"]
            shortest = int(min(1 + rng.geometric(0.1), n))
            works = (np.arange(1, n + 1) >= shortest) & (
                (rng.random(n) < 0.95) | np.isin(range(1, n + 1), [shortest, n])
            )
            compression.append(
                about
                | {
                    "condition": row["condition"], "window": "suffix", "prefix_tokens": n, "shortest": shortest,
                    "ratio": shortest / n, "successes": np.packbits(works).tobytes(),
                }
            )  # fmt: skip
        strength = rng.gamma(4, 0.1 if row["domain"] == "code" else 0.07)
        for condition in CONDITIONS:
            kept = bool(row["memorized"]) and condition["noise"] < strength
            score = row["score"] * (1 if kept else rng.uniform(0.3, 1))
            about["condition"] = condition["condition"]
            noisy.append(about | {"n_tokens": row["n_tokens"], "score": score, "memorized": kept})
            entered = (1 - abs(rng.normal(0, 0.01))) / np.sqrt(1 + condition["noise"] ** 2)
            gain = (0.3 if row["memorized"] else 0.5) * (1 - entered)
            cosine = entered + gain * np.linspace(0, 1, layers + 1)
            for part in ("prefix", "continuation"):
                similar.append(
                    about | {"part": part, "cosine": cosine.tolist(), "relative_l2": np.sqrt(2 - 2 * cosine).tolist()}
                )
    yield "matches", noisy
    yield "layer_similarity", similar
    if compression:
        yield "prompt_compression", compression
