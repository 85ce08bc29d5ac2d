"""Counts of n-grams against scipy and numpy, on rows that no pencil wants to work."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
from scipy import stats

from memlake.queries.finding import find

from .findings import database, satterthwaite

T = stats.t.ppf(0.975, np.arange(1, 400))  # by degrees of freedom - 1


def answer(given: dict, finding: str, **parameters: object) -> list[dict]:
    return database(given).execute(find(finding).sql(**parameters)).to_arrow_table().to_pylist()


def difference(con, x, n, y, m) -> float | None:
    con.execute(
        "create or replace temp table d as select unnest(?::double[]) as x, unnest(?::int[]) as n,"
        " unnest(?::double[]) as y, unnest(?::int[]) as m",
        [list(map(float, x)), list(map(int, n)), list(map(float, y)), list(map(int, m))],
    )
    return con.execute("select difference_margin(x, n, y, m) from d").fetchone()[0]


def test_the_margin_of_a_difference_of_apart_documents_of_one_unit_is_about_welchs():
    rng = np.random.default_rng(1)
    x, y = rng.normal(3, 2, 30), rng.normal(1, 1, 30)
    none = [0] * 30
    got = difference(database({}), [*x, *none], [1] * 30 + none, [*none, *y], none + [1] * 30)
    assert got == pytest.approx(T[28] * np.sqrt(x.var(ddof=1) / 30 + y.var(ddof=1) / 30))


def test_the_margin_of_a_difference_knows_that_documents_hold_units_of_both():
    rng = np.random.default_rng(2)
    n, m = rng.integers(0, 5, 300), rng.integers(1, 7, 300)
    own = rng.normal(0, 2, 300)  # what the units of a document share
    x, y = n * (1 + own) + rng.normal(0, 0.3, 300) * n, m * own + rng.normal(0, 0.3, 300) * m
    drawn = rng.integers(0, 300, (4000, 300))
    means = x[drawn].sum(1) / n[drawn].sum(1) - y[drawn].sum(1) / m[drawn].sum(1)
    got = difference(database({}), x, n, y, m)
    assert got == pytest.approx(1.96 * means.std(), rel=0.1)
    apart = np.hypot(*(1.96 * (v[drawn].sum(1) / k[drawn].sum(1)).std() for v, k in ((x, n), (y, m))))
    assert got < 0.8 * apart


def test_one_document_of_a_group_gives_no_margin_of_a_difference():
    con = database({})
    assert difference(con, [1, 2, 0], [1, 1, 0], [0, 0, 5], [0, 0, 2]) is None
    assert difference(con, [1, 2, 0, 0], [1, 1, 0, 0], [0, 0, 5, 5], [0, 0, 2, 2]) == pytest.approx(T[0] * 0.5)
    assert difference(con, [0], [0], [1], [1]) is None


def test_buckets_begin_at_the_powers_of_two():
    con = database({})
    counts = [0, 1, 2, 3, 4, 7, 8, 2**31 - 1, 2**31, 2**53]
    got = con.execute("select list_transform(?::bigint[], lambda c: doubling(c))", [counts]).fetchone()[0]
    assert got == [0, 1, 2, 2, 4, 4, 8, 2**30, 2**31, 2**53]
    assert con.execute("select doubling(null), doubling(0.99), doubling(3.99)").fetchone() == (None, 0, 2)


MODEL = [{"model": "m", "family": "f", "base_condition": "b", "miniature": False, "n_params": 7}]


def counted(n: int, seed: int) -> tuple[dict, list[dict]]:
    """n sequences of n // 3 documents with lists of unlike length, and what the tables say of each."""
    rng = np.random.default_rng(seed)
    rows, given = [], defaultdict(list)
    for i in range(n):
        row = {
            "sequence_id": i,
            "document_id": int(rng.integers(n // 3)),
            "corpus": "c",
            "domain": "d",
            "tokenizer": "t",
        }
        score = rng.choice([0, 0.5, 1])
        tokens = int(rng.integers(2, 5))
        counts = {
            (name, span): rng.geometric(0.05, size) - 1 + int(20 * score)
            for name in ("t", "bytes")
            for span, size in (("unigrams", tokens + rng.integers(3)), ("window", 1))
        }
        about = {"model": "m", "condition": "b", "n_tokens": tokens, "score": score, "memorized": bool(score == 1)}
        given["sequences"].append(row)
        given["matches"].append({k: row[k] for k in ("sequence_id", "corpus", "domain")} | about)
        place = {k: row[k] for k in ("sequence_id", "corpus", "domain", "tokenizer")}
        for (name, span), c in counts.items():
            way = {
                "counted_corpus": "c",
                "counted_tokenizer": name,
                "complete": True,
                "span": span,
                "counts": c.tolist(),
            }
            given["ngram_counts"].append(place | way)
        rows.append(row | about | {"counts": counts})
    return {**given, "models": MODEL}, rows


def margin(x: list[float], documents: list[int]) -> float:
    """Half the width of the document-cluster interval of a mean, by the residuals themselves."""
    x, documents = np.array(x), np.array(documents)
    found, sizes = np.unique(documents, return_counts=True)
    residuals = np.array([(x[documents == d] - x.mean()).sum() for d in found])
    t = stats.t.ppf(0.975, satterthwaite(sizes))
    return t * np.sqrt(len(found) / (len(found) - 1) * (residuals**2).sum()) / len(x)


@pytest.mark.parametrize("parameters", [{}, {"listed": 20}, {"half_from": 0.51}])
def test_profiles_are_what_a_loop_over_sequences_gives(parameters):
    given, sequences = counted(90, 3)
    groups = {1: "memorized", 0.5: "half", 0: "unmemorized"}
    if "half_from" in parameters:
        sequences = [s for s in sequences if s["score"] != 0.5]
    expected, of_group = defaultdict(list), Counter()
    for s in sequences:  # by their ids
        of_group[s["score"]] += 1
        for (name, span), counts in s["counts"].items():
            if span == "unigrams" and of_group[s["score"]] > parameters.get("listed", 90):
                continue
            logs = np.log10(1 + counts)
            key = (name, span, groups[s["score"]])
            expected[*key, None].append((logs.mean(), (counts == 0).mean(), np.median(counts), s["document_id"]))
            if (name, span) == ("t", "unigrams"):
                for back in range(len(counts)):
                    c = counts[-1 - back]
                    position = s["n_tokens"] - 1 - back
                    expected[*key, position].append((np.log10(1 + c), c == 0, c, s["document_id"]))
    rows = answer(given, "frequency_by_bucket", **parameters)
    keys = [(r["counted_tokenizer"], r["span"], r["group"], r["position"]) for r in rows]
    assert len(keys) == len(set(keys)) and set(keys) == set(expected)
    assert {p for *_, p in keys} >= {-2, -1, 0, 3, None}
    for key, row in zip(keys, rows, strict=True):
        logs, zeros, counts, documents = zip(*expected[key], strict=True)
        assert (row["n"], row["documents"]) == (len(logs), len(set(documents)))
        got = row["mean_log10"], row["unseen"], row["median"]
        assert got == pytest.approx((np.mean(logs), np.mean(zeros), np.median(counts)))
        if len(set(documents)) > 1:
            assert row["high"] - row["mean_log10"] == pytest.approx(margin(logs, documents), rel=1e-4)


def test_the_agreement_of_two_ways_of_counting_is_scipys():
    given, sequences = counted(90, 4)
    rows = {r["span"]: r for r in answer(given, "tokenizer_mismatch")}
    assert set(rows) == {"unigrams", "window"}
    for span, row in rows.items():
        own, other = (
            np.array([np.log10(1 + s["counts"][name, span]).mean() for s in sequences]) for name in ("t", "bytes")
        )
        score = np.array([s["score"] for s in sequences])
        assert row["n"] == 90 and row["note"] is None
        assert row["correlation"] == pytest.approx(stats.spearmanr(own, other).statistic)
        assert row["difference"] == pytest.approx((other - own).mean(), abs=1e-9)
        moved = margin(other - own, [s["document_id"] for s in sequences])
        assert row["difference_high"] - row["difference"] == pytest.approx(moved, rel=1e-4)
        effects = [v[score == 1].mean() - v[score == 0].mean() for v in (own, other)]
        assert (row["effect_own"], row["effect_other"]) == pytest.approx(tuple(effects))
        assert row["change"] == pytest.approx(effects[1] - effects[0], abs=1e-9)
        signs = [(row[f"{kind}_low"] > 0, row[f"{kind}_high"] < 0) for kind in ("own", "other")]
        assert row["agree"] == (signs[0] == signs[1])
        buckets = [np.floor(np.log2(np.round(np.maximum(10**v - 1, 0.5), 9))) for v in (own, other)]
        assert row["rebucketed"] == pytest.approx((buckets[0] != buckets[1]).mean())
