"""A lake of random rows with all that is odd: texts that stand in several domains, texts of many sequences and
sequences of no document, several windows on one anchor, models that were asked about a part, or twice, rows that were
not decoded or whose bytes are not known, two conditions, two samples."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import numpy as np
import pyarrow as pa

from memlake.queries.catalog import prepare
from memlake.queries.only import ALL, Only
from memlake.warehouse import schema

from .conftest import done, drawn

MODELS = (  # model, family, tokenizer, million parameters, share of the sequences that it was asked about
    ("a1", "a", "ta", 1, 1.0),
    ("a2", "a", "ta", 2, 0.9),
    ("a3", "a", "ta", 5, 1.0),
    ("b1", "b", "tb", 1, 1.0),
    ("b2", "b", "tb", 7, 0.8),
    ("c1", "c", "tc", 3, 0.2),
)
TRAINED = {("a", "x"), ("b", "x"), ("b", "y"), ("c", "y")}
TOKENS = 11
Rows = list[dict[str, object]]


def rows(seed: int, documents: int) -> dict[str, Rows]:
    """So many documents in each of two domains of two corpora; about 90 rows of `matches` for each."""
    rng = np.random.default_rng(seed)
    made: dict[str, Rows] = {name: [] for name in ("documents", "sequences", "matches", "domains", "cells")}
    made["models"] = [
        {"model": m, "family": f, "tokenizer": t, "n_params": p * 10**6, "base_condition": "base", "miniature": False}
        for m, f, t, p, _ in MODELS
    ]
    made["conditions"] = [{"condition": c, "dtype": "float32", "noise": 0.0, "bos": False} for c in ("base", "other")]
    made["model_corpora"] = [
        {"model": m, "corpus": c, "role": "trained" if (f, c) in TRAINED else "control"}
        for m, f, *_ in MODELS
        for c in "xy"
    ]
    for sample, rule, window in (("s", "space", "4+11"), ("t", "start", "4+11")):
        made["cells"] += [drawn(sample, rule, window), done(f"of {sample}", sample=sample)]
    new = iter(rng.permutation(10**7).tolist())
    for corpus in "xy":
        texts = [next(new) for _ in range(documents)]  # which the domains share
        for domain in ("d", "e"):
            known = {"class": "free_text", "n_documents": documents, "n_bytes": 1000, "kept_documents": documents}
            made["domains"].append(known | {"cell": "of s", "corpus": corpus, "domain": domain})
            for _ in range(documents):
                document, text = next(new), int(rng.choice(texts)) if rng.random() < 0.3 else next(new)
                made["documents"].append({"document_id": document, "corpus": corpus, "domain": domain,
                                          "text_hash": text, "cell": "of s"})  # fmt: skip
                for _ in range(rng.choice([1, 2, 9], p=[0.6, 0.3, 0.1])):
                    anchored(rng, made, new, corpus, domain, document)
    return made


def anchored(rng, made: dict[str, Rows], new, corpus: str, domain: str, document: int) -> None:
    """One anchor of a document under all tokenizers, and what models made of it."""
    anchor, known, sample = next(new), rng.normal(), "t" if rng.random() < 0.2 else "s"
    for tokenizer in ("ta", "tb", "tc"):
        for prefix in (4, 6)[: 1 + (rng.random() < 0.1)]:
            cut = 50 - (0 if rng.random() < 0.85 else 2)
            ends = cut + np.cumsum(rng.integers(1, 5, TOKENS))
            own = {"sequence_id": next(new), "corpus": corpus, "domain": domain, "cell": f"of {sample}"}
            imported = rng.random() < 0.05
            made["sequences"].append(own | {
                "anchor_id": None if imported else anchor, "document_id": None if imported else document,
                "tokenizer": tokenizer, "sample": sample, "anchor": 50, "byte_cut": cut, "byte_end": int(ends[-1]),
                "byte_ends": [*range(cut - prefix + 1, cut + 1), *ends.tolist()], "prefix_tokens": prefix,
                "n_tokens": TOKENS, "tokens": [0] * (prefix + TOKENS),
            })  # fmt: skip
            for model, _, its, size, share in MODELS:
                if its == tokenizer and rng.random() < share:
                    conditions = ("base", "other") if rng.random() < 0.1 else ("base",)
                    known_here = known + 0.1 * size + rng.normal() / 2
                    made["matches"] += [match(rng, own, model, c, known_here, ends - cut) for c in conditions]


def match(rng, own: Mapping, model: str, condition: str, known: float, lengths: np.ndarray) -> dict[str, object]:
    first = TOKENS if known > 1 else int(rng.integers(0, TOKENS))
    greedy, forced = rng.random(TOKENS) < 0.3, rng.random(TOKENS) < 0.5
    greedy[:first] = forced[:first] = True
    greedy[first : first + 1] = forced[first : first + 1] = False
    decoded, measured = rng.random() < 0.9, rng.random() < 0.9
    logprobs = -rng.exponential(0.3 + (first < TOKENS), TOKENS).astype(np.float32)
    total = float(logprobs.astype(float).sum())
    return dict(own) | {
        "model": model, "condition": condition, "n_tokens": TOKENS,
        "match": np.packbits(greedy).tobytes() if decoded else None,
        "n_match": int(greedy.sum()) if decoded else None, "score": greedy.mean() if decoded else None,
        "forced_match": np.packbits(forced).tobytes() if measured or not decoded else None,
        "first_mismatch": first, "memorized": first == TOKENS,
        "matched_bytes": None if rng.random() < 0.03 else int(lengths[first - 1]) if first else 0,
        "logprobs": logprobs.tolist() if measured else None, "sum_logprob": total if measured else None,
        "log_p_z": total * 0.7 if measured and rng.random() < 0.8 else None,
    }  # fmt: skip


def database(made: Mapping[str, Rows], only: Only = ALL) -> duckdb.DuckDBPyConnection:
    """The rows as `queries.catalog.prepare` shows those of a lake."""
    con = duckdb.connect()
    con.execute("create schema stored; create schema made")
    for name in schema.names():
        typed = ", ".join(f'"{c.name}" {c.sql_type}' for c in schema.table(name).columns)
        con.execute(f"create table made.{name} ({typed}); create view stored.{name} as from made.{name}")
        if made.get(name):
            con.register("given", pa.Table.from_pylist(made[name], _schema(name, made[name])))
            con.execute(f"insert into made.{name} by name from given")
            con.unregister("given")
    return prepare(con, only)


def _schema(name: str, some: Rows) -> pa.Schema:
    return pa.schema([field for field in schema.table(name).schema if field.name in some[0]])
