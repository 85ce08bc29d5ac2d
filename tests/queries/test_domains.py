"""Domains put together by weight, and scores followed from size to size, against numpy and plain counting."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import sqrt

import numpy as np
import pyarrow as pa
import pytest

from memlake.queries.finding import find

from .findings import database

BINS = ("[0.0,0.2)", "[0.2,0.4)", "[0.4,0.6)", "[0.6,0.8)", "[0.8,1.0]")
DOMAINS = ("arxiv", "books", "github", "law", "web")
STRUCTURAL = np.array([True, False, True, False, False])
BYTES = np.array([700, 100, 40, 5, 900])


def models(**params: int | None) -> list[dict]:
    about = {"family": "f", "base_condition": "c", "miniature": False}
    return [about | {"model": m, "n_params": p} for m, p in params.items()]


def put(con, table: str, rows: list[dict]) -> None:
    con.register("given", pa.Table.from_pylist(rows))
    con.execute(f"insert into stored.{table} by name from given")


def answer(con, finding: str) -> list[dict]:
    return con.execute(find(finding).text).to_arrow_table().to_pylist()


@pytest.fixture(scope="module")
def documents() -> tuple[np.ndarray, np.ndarray]:
    """(domains, documents): memorized sequences and sequences; the rates lie between 9 and 50 %."""
    rng = np.random.default_rng(1)
    n = rng.integers(1, 5, (5, 500))
    return rng.binomial(n, rng.beta([[0.3], [1.0], [0.2], [0.5], [0.1]], 1, n.shape)), n


@pytest.fixture(scope="module")
def lake(documents):
    rows = [
        {"sequence_id": 10 * (500 * d + j) + i, "document_id": 500 * d + j, "corpus": "x", "domain": DOMAINS[d],
         "model": "a", "condition": "c", "memorized": bool(i < m)}
        for (d, j), m in np.ndenumerate(documents[0]) for i in range(documents[1][d, j])
    ]  # fmt: skip
    sizes = zip(DOMAINS, STRUCTURAL, BYTES.tolist(), strict=True)
    about = [{"corpus": "x", "domain": d, "class": "structural" if s else "free_text", "n_bytes": b}
             for d, s, b in sizes]  # fmt: skip
    con = database({"models": models(a=1), "domains": about})
    put(con, "sequences", [{k: r[k] for k in ("sequence_id", "document_id", "corpus", "domain")} for r in rows])
    put(con, "matches", [{k: v for k, v in r.items() if k != "document_id"} for r in rows])
    return con


def statistics(rates: np.ndarray, w: np.ndarray) -> dict[str, np.ndarray]:
    """(domains, samples) rates -> what the findings say of each sample: (samples,), the share (domains, samples)."""
    x = rates * w[:, None]
    inside, outside = x[STRUCTURAL].sum(0), x[~STRUCTURAL].sum(0)
    return {
        "rate": x.sum(0) / w.sum(),
        "structural": inside / x.sum(0),
        "ratio": inside / w[STRUCTURAL].sum() / (outside / w[~STRUCTURAL].sum()),
        "share": x / x.sum(0),
        "lift": rates / (x.sum(0) / w.sum()),
    }


@pytest.mark.parametrize("weighted_by", ["sample", "bytes"])
def test_what_is_put_together_from_domains_is_about_the_bootstraps(lake, documents, weighted_by):
    m, n = documents
    w = BYTES if weighted_by == "bytes" else n.sum(1)
    drawn = np.random.default_rng(2).integers(0, 500, (4000, 5, 500))
    at = np.arange(5)[:, None]
    resampled = np.stack([m[at, d].sum(1) / n[at, d].sum(1) for d in drawn], axis=1)
    expected = statistics((m.sum(1) / n.sum(1))[:, None], w)
    ends = {k: np.quantile(v, [0.025, 0.975], axis=-1) for k, v in statistics(resampled, w).items()}
    (rate,), (structural,), domains = (
        [r for r in answer(lake, finding) if r["weighted_by"] == weighted_by]
        for finding in ("corpus_rate", "structural_share", "domain_distribution")
    )
    assert [r["domain"] for r in domains] == list(DOMAINS)
    got = {
        "rate": [rate["rate"], rate["low"], rate["high"]],
        "structural": [structural["share"], structural["low"], structural["high"]],
        "ratio": [structural["ratio"], structural["ratio_low"], structural["ratio_high"]],
        "share": np.array([[r["share"], r["low"], r["high"]] for r in domains]).T,
        "lift": np.array([[r["lift"], r["lift_low"], r["lift_high"]] for r in domains]).T,
    }
    for name, (value, low, high) in got.items():
        assert value == pytest.approx(expected[name].squeeze(-1)), name
        width = ends[name][1] - ends[name][0]
        assert (np.abs([low, high] - ends[name]) < 0.06 * width).all(), (name, low, high, ends[name])


def portion(con, x: tuple, y: tuple) -> tuple[float, float]:
    call = "select portion_low($1::double, $2, $3::double, $6), portion_high($1::double, $4, $3::double, $5)"
    return con.execute(call, [x[1], x[0], y[1], x[2], y[0], y[2]]).fetchone()


def test_the_portion_is_that_of_the_published_ratio(lake):
    for low, a, b, mid, c, high in np.random.default_rng(3).uniform(0.01, 1, (40, 6)):
        x, y = sorted((low, a, mid)), sorted((b, c, high))
        down, up = y[2] * (2 * y[1] - y[2]), y[0] * (2 * y[1] - y[0])
        root = (x[1] * y[1]) ** 2
        ratio_low = (x[1] * y[1] - sqrt(root - x[0] * (2 * x[1] - x[0]) * down)) / down
        ratio_high = (x[1] * y[1] + sqrt(max(0, root - x[2] * (2 * x[1] - x[2]) * up))) / up
        expected = ratio_low / (1 + ratio_low), ratio_high / (1 + ratio_high)
        assert portion(lake, x, y) == pytest.approx(expected)
        assert portion(lake, y, x) == pytest.approx((1 - expected[1], 1 - expected[0]))  # the same seen from the rest


def test_the_portion_at_its_edges(lake):
    some = (0.1, 0.2, 0.4)
    assert portion(lake, (0, 0, 0.3), some) == pytest.approx((0, 0.3 / (0.3 + sqrt(0.1 * 0.3))))
    assert portion(lake, some, (0, 0, 0.3)) == pytest.approx((sqrt(0.1 * 0.3) / (sqrt(0.1 * 0.3) + 0.3), 1))
    assert portion(lake, some, (0, 0, 0)) == (1, 1)  # there is nothing else
    assert portion(lake, (0, 0, 0.3), (0, 0, 0.3)) == (None, None)
    assert portion(lake, (None, None, None), some) == (None, None)


def scores(model: str, n_match: list[int | None], n_tokens: list[int]) -> list[dict]:
    about = {"model": model, "corpus": "x", "domain": "d", "condition": "c"}
    return [
        about | {"sequence_id": i, "n_match": k, "n_tokens": n, "memorized": k == n}
        for i, (k, n) in enumerate(zip(n_match, n_tokens, strict=True))
    ]


def plain_bin(k: int, n: int) -> str:
    return BINS[min(4, int(Fraction(k, n) / Fraction(1, 5)))]


def test_bins_are_cut_without_rounding():
    levels = [(k, n) for n in range(1, 65) for k in range(n + 1)]
    assert any(plain_bin(k, n) != BINS[min(4, int(k / n / 0.2))] for k, n in levels)  # floats would not do
    con = database({"models": models(small=1, large=2)})
    for model in ("small", "large"):
        put(con, "matches", scores(model, *zip(*levels, strict=True)))
    expected = Counter(plain_bin(k, n) for k, n in levels)
    for row in answer(con, "score_transitions")[:25]:
        same = row["from_score"] == row["to_score"]
        assert (row["n"], row["moved"]) == (expected[row["from_score"]], same * expected[row["to_score"]])


def test_transitions_are_what_plain_counting_gives():
    rng = np.random.default_rng(4)
    small, large = rng.integers(0, 33, (2, 900)).tolist()
    large = [32 if k > 24 else b for k, b in zip(small, large, strict=True)]
    small[:5], large[3:9] = [None] * 5, [None] * 6
    con = database({"models": models(small=1, large=2)})
    for model, n_match in (("small", small), ("large", large)):
        put(con, "matches", scores(model, n_match, [32] * 900))
    document = (np.arange(900) ** 2 % 71).tolist()
    put(con, "sequences", [{"sequence_id": i, "document_id": d, "corpus": "x", "domain": "d"}
                           for i, d in enumerate(document)])  # fmt: skip
    both = [(d, plain_bin(a, 32), plain_bin(b, 32)) for d, a, b in zip(document, small, large, strict=True)
            if a is not None and b is not None]  # fmt: skip
    rows = answer(con, "score_transitions")
    assert len(rows) == 26 and {(r["sequences"], r["not_decoded"]) for r in rows} == {(900, 9)}
    for row in rows[:25]:
        here = [(d, b) for d, a, b in both if a == row["from_score"]]
        of, moved = Counter(d for d, _ in here), Counter(d for d, b in here if b == row["to_score"])
        assert (row["n"], row["documents"], row["moved"]) == (len(here), len(of), moved.total())
        call = "select cluster_low(m, n), cluster_high(m, n) from (select unnest(?::int[]) as m, unnest(?::int[]) as n)"
        interval = con.execute(call, [[moved[d] for d in of], list(of.values())]).fetchone()
        assert (row["low"], row["high"]) == pytest.approx(interval)
    stay = sum(a == b == 32 for a, b in zip(small, large, strict=True))
    assert (rows[25]["n"], rows[25]["moved"]) == (small.count(32), stay) and stay > 5


def test_neighbours_are_all_models_of_the_next_size_that_was_measured():
    con = database({"models": models(s=1, m=2, twin=2, unmeasured=3, l=4, unsized=None)})
    for model in ("s", "m", "twin", "l", "unsized"):
        put(con, "matches", scores(model, [1], [2]))
    pairs = Counter((r["model"], r["next_model"]) for r in answer(con, "score_transitions"))
    assert pairs == dict.fromkeys([("s", "m"), ("s", "twin"), ("m", "l"), ("twin", "l")], 26)
