"""Made-up rows of head ablation: a few heads carry most, half of those in every domain, the deeper layers more."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product

import duckdb
import numpy as np
import pyarrow as pa

from memlake.tests.queries.findings import database
from memlake.tests.small import CONDITION
from memlake.warehouse.identity import hash63


def head_pieces(
    model: str, corpus: str, domain: str, sequences: Sequence[int], memorized: Sequence[bool], layers: int, heads: int
) -> Iterator[tuple[str, list[dict]]]:
    """Rows of `head_deltas`, `head_effects` and `head_screens` of one cell. The model's last hyphen ends the family's
    name, whose models are alike."""
    rng = np.random.default_rng(hash63("heads", model, domain, sequences[0]) % 2**32)
    family, own = (np.random.default_rng(hash63("heads", name) % 2**32) for name in (model.rpartition("-")[0], model))
    bump = np.exp(-(((np.linspace(0, 1, layers) - family.uniform(0.2, 0.9)) / 0.25) ** 2))
    everywhere = own.gamma(0.4, 1, (layers, heads)) * bump[:, None]
    drops = everywhere + 0.5 * rng.gamma(0.3, 1, (layers, heads)) - 0.05
    deltas = rng.normal(-drops, 0.6 + drops, (len(sequences), layers, heads)).astype(np.float32)
    lost = np.asarray(memorized)[:, None, None] & (deltas < -1.5)
    about = {
        "cell": f"heads {model} {domain}", "model": model, "corpus": corpus, "domain": domain,
        "condition": CONDITION["condition"], "method": "peer_mean",
    }  # fmt: skip
    screened = np.sort(drops.ravel())[drops.size // 2]
    dropped = (drops < screened) & (hash63("screened", model, domain) % 2 == 0)  # in half of the cells
    yield (
        "head_deltas",
        [
            about
            | {
                "sequence_id": s, "layer": layer, "head": head, "delta_logprob": float(deltas[i, layer, head]),
                "delta_n_match": 0, "memorized_after": bool(memorized[i] and not lost[i, layer, head]),
            }
            for layer, head in np.ndindex(layers, heads)
            for i, s in enumerate(sequences)
            if not dropped[layer, head]
        ],
    )  # fmt: skip
    yield (
        "head_effects",
        [
            about
            | {"layer": layer, "head": head, "estimate": float(-drops[layer, head])}
            | (
                {"n": 0, "mean_delta_logprob": None, "var_delta_logprob": None, "n_lost": None}
                if dropped[layer, head]
                else {
                    "n": len(sequences), "mean_delta_logprob": float(deltas[:, layer, head].mean(dtype=float)),
                    "var_delta_logprob": float(deltas[:, layer, head].var(ddof=1, dtype=float)) if len(deltas) > 1
                    else None,
                    "n_lost": int(lost[:, layer, head].sum()),
                }
            )
            for layer, head in np.ndindex(layers, heads)
        ],
    )  # fmt: skip
    if dropped.any():
        yield "head_screens", [about | _screen(own, dropped, len(sequences))]


def _screen(own: np.random.Generator, dropped: np.ndarray, sequences: int) -> dict[str, float]:
    recall = float(own.uniform(0.7, 1))
    return {
        "heads": dropped.size, "sequences": sequences, "confirmed": int((~dropped).sum()), "audited": 0,
        "cost": float(own.uniform(0.07, 0.2)), "recall": recall, "recall_low": recall - 0.15,
        "rank_correlation": float(own.uniform(0.6, 1)),
    }  # fmt: skip


Sample = tuple[str, str] | None  # rule and window; None: not known
UNKNOWN = {  # where a head has no peers
    "head_deltas": dict.fromkeys(("delta_logprob", "delta_n_match", "memorized_after")),
    "head_effects": {"n": 0} | dict.fromkeys(("mean_delta_logprob", "var_delta_logprob", "n_lost")),
}


def head_lake(
    models: Mapping[str, int],
    roles: Mapping[str, str | None],
    domains: Sequence[str] = ("code", "prose"),
    sequences: int = 16,
    heads: int = 4,
    memorized: Callable[[int], bool] = lambda s: s % 3 > 0,
    samples: Mapping[Sample, Sequence[str]] | None = None,
    measured: bool = True,
) -> duckdb.DuckDBPyConnection:
    """A database of these models (layers by name) on these corpora (roles by name), each sequence a text of its own.
    samples: of each the models that were measured on it. measured: False as where heads have no peers."""
    about = {"n_params": 1000, "base_condition": CONDITION["condition"], "miniature": True}
    con = database(
        {
            "models": [about | {"model": m, "family": m.split("-")[0]} for m in models],
            "model_corpora": [{"model": m, "corpus": c, "role": r} for m in models for c, r in roles.items()],
        }
    )
    for i, (sample, of_sample) in enumerate((samples or {None: list(models)}).items()):
        cells = [
            (
                f"sample {i}",
                "sample",
                {"sample": f"s{i}", "rule": dict(zip(("at", "window"), sample or (), strict=False))},
            )
        ]
        for model, (k, (corpus, domain)) in product(of_sample, enumerate(product(roles, domains))):
            cells.append((f"{i} {model} {corpus} {domain}", "head_ablation", {"sample": f"s{i}"}))
            ids = range(10_000 * i + 100 * k, 10_000 * i + 100 * k + sequences)
            known = [memorized(s) for s in ids]
            scored = {"model": model, "corpus": corpus, "domain": domain, "condition": CONDITION["condition"]}
            matches = [scored | {"sequence_id": s, "memorized": m} for s, m in zip(ids, known, strict=True)]
            pieces = head_pieces(model, corpus, domain, ids, known, models[model], heads)
            for table, rows in [("matches", matches), *pieces]:
                more = {"cell": cells[-1][0]} | ({} if measured else UNKNOWN.get(table, {}))
                con.register("given", pa.Table.from_pylist([row | more for row in rows]))
                con.execute(f"insert into stored.{table} by name from given")
        if sample:
            con.executemany(
                "insert into stored.cells by name select ? as cell, ? as experiment, ? as settings, 'done' as outcome",
                [(cell, experiment, json.dumps(settings)) for cell, experiment, settings in cells],
            )
    return con
