"""The statistics of macros.sql against scipy, numpy and exact arithmetic."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import pytest
from scipy import stats

from tests.queries.findings import database


@pytest.fixture(scope="module")
def con():
    return database({})


def documents(con, m, n) -> tuple[float, float, float]:
    """low, high and effective n of documents with m of n sequences."""
    con.execute(
        "create or replace temp table d as select unnest(?::int[]) as m, unnest(?::int[]) as n",
        [[int(v) for v in m], [int(v) for v in n]],
    )
    return con.execute("select cluster_low(m, n), cluster_high(m, n), effective_n(m, n) from d").fetchone()


def test_share_leaves_missing_values_out(con):
    assert con.execute("select share(b) from (values (true), (false), (false), (null)) t(b)").fetchone() == (1 / 3,)


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 10), (3, 10), (10, 10), (1, 300000), (299999, 300000)])
def test_wilson_is_scipys(con, k, n):
    expected = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    got = con.execute("select wilson_low(?::double, ?), wilson_high(?::double, ?)", [k / n, n, k / n, n]).fetchone()
    assert got == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_student_t_is_scipys(con):
    got = con.execute("select student_t(range) from range(1, 201)").fetchall()
    assert np.ravel(got) == pytest.approx(stats.t.ppf(0.975, np.arange(1, 201)), abs=1e-5)
    assert con.execute("select student_t(0), student_t(null)").fetchone() == (None, None)


def test_effective_n_is_the_ratio_estimators(con):
    rng = np.random.default_rng(1)
    n = rng.integers(1, 9, 60)
    m = rng.binomial(n, rng.beta(0.4, 0.8, 60))
    p = m.sum() / n.sum()
    variance = 60 / 59 * sum((a - p * b) ** 2 for a, b in zip(m, n, strict=True)) / n.sum() ** 2
    assert documents(con, m, n)[2] == pytest.approx(p * (1 - p) / variance)
    assert documents(con, m, n)[2] < 0.6 * n.sum()  # sequences of a document are alike here: it must show


def test_the_cluster_interval_is_about_the_bootstraps(con):
    rng = np.random.default_rng(2)
    n = rng.integers(1, 9, 400)
    m = rng.binomial(n, rng.beta(0.4, 0.8, 400))
    drawn = rng.integers(0, 400, (4000, 400))
    low, high = np.quantile(m[drawn].sum(1) / n[drawn].sum(1), [0.025, 0.975])
    assert documents(con, m, n)[:2] == pytest.approx((low, high), abs=0.1 * (high - low))


def test_documents_of_one_sequence_are_independent(con):
    m = [1] * 30 + [0] * 70  # V is p (1 - p) / (C - 1), so the interval is Wilson's of C - 1 trials
    low, high, effective = documents(con, m, [1] * 100)
    assert effective == pytest.approx(99)
    expected = stats.binomtest(30, 100).proportion_ci(0.95, method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-3)


@pytest.mark.parametrize(
    ("m", "n", "effective"),
    [
        ([0, 0, 0, 0], [5, 5, 5, 5], 4),  # nothing: as many trials as documents
        ([5, 5, 5, 5], [5, 5, 5, 5], 4),  # everything
        ([0, 0], [99, 1], 100**2 / (99**2 + 1)),  # one document is nearly all there is
        ([3], [7], 1),  # one document
        ([0], [7], 1),
        ([3, 0], [7, 0], 1),  # a document without sequences is none
        ([1, 1, 1], [2, 2, 2], 6),  # more alike than chance: never worth more than the sequences
        ([9, 0], [9, 9], 1),  # all or nothing: never worth less than one
    ],
)
def test_effective_n_at_the_edges(con, m, n, effective):
    low, high, got = documents(con, m, n)
    assert got == pytest.approx(effective)
    assert 0 <= low <= sum(m) / sum(n) <= high <= 1


def test_no_sequences_no_interval(con):
    assert documents(con, [0, 0], [0, 0])[:2] == (None, None)
    assert documents(con, [], [])[:2] == (None, None)


@pytest.mark.parametrize("n", [1, 2, 1000, 10**6, 10**12, 10**15])
@pytest.mark.parametrize("p", [1e-6, 0.1, 0.5, 0.99, 1 - 1e-6])
def test_log_p_needed_is_exact_arithmetics(con, n, p):
    with localcontext() as c:
        c.prec = 60
        exact = float((1 - ((1 - Decimal(p)).ln() / n).exp()).ln())
    (got,) = con.execute("select log_p_needed(?::bigint, ?::double)", [n, p]).fetchone()
    assert got == pytest.approx(exact, rel=1e-9)


def test_scaling_law_is_scipys_regression():
    rng = np.random.default_rng(3)
    models = [
        {
            "model": f"m{i}",
            "family": "f",
            "n_params": int(10 ** rng.uniform(5, 9)),
            "base_condition": "c",
            "miniature": True,
        }
        for i in range(7)
    ]
    memorized = {m["model"]: rng.random((2, 40)) < rng.uniform(0.1, 0.9) for m in models}
    matches = [
        {
            "model": name,
            "sequence_id": 1000 * d + i,
            "corpus": "x",
            "domain": str(d),
            "condition": "c",
            "memorized": bool(v),
        }
        for name, domains in memorized.items()
        for d, row in enumerate(domains)
        for i, v in enumerate(row)
    ]
    from queries.finding import find

    con = database({"models": models, "matches": matches})
    (row,) = con.execute(find("scaling_law").text).to_arrow_table().to_pylist()
    fit = stats.linregress(
        [np.log10(m["n_params"]) for m in models], [100 * memorized[m["model"]].mean() for m in models]
    )
    margin = stats.t.ppf(0.975, 5) * fit.stderr
    assert (row["slope"], row["intercept"], row["r2"]) == pytest.approx((fit.slope, fit.intercept, fit.rvalue**2))
    assert (row["slope_low"], row["slope_high"]) == pytest.approx((fit.slope - margin, fit.slope + margin))
    assert (row["models"], row["sequences"]) == (7, 560)
