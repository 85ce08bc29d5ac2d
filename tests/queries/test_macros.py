"""The statistics of macros.sql against scipy, numpy and exact arithmetic."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from decimal import Decimal, localcontext
from itertools import combinations, permutations

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from memlake.queries.finding import find

from .findings import database, satterthwaite


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
    between = 1 / np.random.default_rng(8).uniform(1e-6, 1, 500)
    got = con.execute("select student_t(unnest(?::double[]))", [between.tolist()]).fetchall()
    assert np.ravel(got) == pytest.approx(stats.t.ppf(0.975, between), abs=1e-5)
    assert con.execute("select student_t(0), student_t(0.99), student_t(null)").fetchone() == (None, None, None)


def degrees(con, n) -> float:
    return con.execute("select degrees_of_freedom(n) from (select unnest(?::int[]) as n)", [n]).fetchone()[0]


def test_degrees_of_freedom_are_satterthwaites(con):
    rng = np.random.default_rng(9)
    for n in ([2, 1], [2, 1, 1], [5] * 12, [0, 3, 3, 3], [100, 1, 1, 1], rng.integers(1, 9, 60).tolist()):
        assert degrees(con, n) == pytest.approx(satterthwaite(n))
    for shape in (1.1, 2.0):
        n = np.ceil(rng.pareto(shape, 300)).astype(int) + 1
        assert degrees(con, n.tolist()) == pytest.approx(satterthwaite(n), rel=1e-6)
        assert satterthwaite(n) < 100
    assert degrees(con, [7] * 1000) == pytest.approx(999)
    assert degrees(con, [10**6, 1, 1, 1]) == 1 and degrees(con, [4, 0]) == degrees(con, []) == 0


@pytest.mark.parametrize(("shape", "p"), [(1.1, 0.3), (1.5, 0.05)])
def test_intervals_hold_where_few_documents_are_long(con, shape, p):
    """Coverage in 400 lakes of 50 texts; by one less than the documents it is below 0.87."""
    rng = np.random.default_rng(10)
    n = np.ceil(rng.pareto(shape, (400, 50))).astype(int).clip(1, 10**6)
    m = rng.binomial(n, rng.beta(p, 1 - p, (400, 50)))
    con.register("drawn", pa.table({"lake": np.repeat(np.arange(400), 50), "m": m.ravel(), "n": n.ravel()}))
    low, high = con.execute(
        "select cluster_low(m, n), cluster_high(m, n) from drawn group by lake order by lake"
    ).fetchnumpy().values()  # fmt: skip
    assert ((low <= p) & (p <= high)).mean() > 0.93


def test_effective_n_is_the_ratio_estimators(con):
    rng = np.random.default_rng(1)
    n = rng.integers(1, 9, 60)
    m = rng.binomial(n, rng.beta(0.4, 0.8, 60))
    p = m.sum() / n.sum()
    variance = 60 / 59 * sum((a - p * b) ** 2 for a, b in zip(m, n, strict=True)) / n.sum() ** 2
    wider = stats.t.ppf(0.975, satterthwaite(n)) / stats.t.ppf(0.975, 59)
    assert documents(con, m, n)[2] == pytest.approx(p * (1 - p) / variance / wider**2)
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


def margin(con, x, n) -> float | None:
    con.execute("create or replace temp table d as select unnest(?::double[]) as x, unnest(?::int[]) as n", [x, n])
    return con.execute("select cluster_margin(x, n) from d").fetchone()[0]


def test_the_margin_of_documents_of_one_unit_is_students(con):
    x = np.random.default_rng(4).normal(3, 2, 12)
    interval = stats.ttest_1samp(x, 0).confidence_interval(0.95)
    assert margin(con, x.tolist(), [1] * 12) == pytest.approx((interval.high - interval.low) / 2, rel=1e-5)


def test_the_margin_takes_satterthwaites_degrees(con):
    x, n = [3.0, 1.0, 8.0, 0.5], [1, 4, 9, 2]
    residual = np.array(x) - sum(x) / 16 * np.array(n)
    expected = stats.t.ppf(0.975, satterthwaite(n)) * np.sqrt(4 / 3 * sum(residual**2)) / 16
    assert margin(con, x, n) == pytest.approx(expected, rel=1e-5)


def test_the_difference_takes_those_of_the_less_certain_group(con):
    a, b = ([2.0, 0.0, 5.0, 1.0], [3, 1, 9, 2]), ([1.0, 1.0, 0.0, 3.0], [1, 2, 0, 4])
    (x, n), (y, m) = (tuple(map(np.array, group)) for group in (a, b))
    added = (x - x.sum() / n.sum() * n) / n.sum() - (y - y.sum() / m.sum() * m) / m.sum()
    df = min(satterthwaite(n), satterthwaite(m))
    call = "select difference_margin(x, n, y, m) from (select unnest(?) x, unnest(?) n, unnest(?) y, unnest(?) m)"
    (got,) = con.execute(call, [*a, *b]).fetchone()
    assert got == pytest.approx(stats.t.ppf(0.975, df) * np.sqrt(3 / 2 * sum(added**2)), rel=1e-5)


def test_the_margin_is_about_the_bootstraps(con):
    rng = np.random.default_rng(5)
    n = rng.integers(1, 9, 400)
    x = n * rng.normal(-1, 0.5, 400)
    drawn = rng.integers(0, 400, (4000, 400))
    low, high = np.quantile(x[drawn].sum(1) / n[drawn].sum(1), [0.025, 0.975])
    assert 2 * margin(con, x.tolist(), n.tolist()) == pytest.approx(high - low, rel=0.1)


def test_one_document_and_equal_ones_have_no_margin(con):
    assert margin(con, [3], [4]) is None and margin(con, [3, 0], [4, 0]) is None and margin(con, [], []) is None
    n = np.random.default_rng(6).integers(1, 9, 5000)
    for mean in (0, 1, 0.3, -17.1, 1 / 3):  # what is left of squares that cancel is rounding
        assert margin(con, [mean, 2 * mean, 0], [1, 2, 0]) is None
        assert margin(con, (mean * n).tolist(), n.tolist()) is None
        both = "select difference_margin(x, n, 2 * x, n), cluster_margin(x + (n = 1)::int * 1e-3, n) from d"
        nothing, little = con.execute(both).fetchone()
        assert nothing is None and 0 < little < 1e-3


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
    con = database({"models": models, "matches": matches})
    (row,) = con.execute(find("scaling_law").text).to_arrow_table().to_pylist()
    fit = stats.linregress(
        [np.log10(m["n_params"]) for m in models], [100 * memorized[m["model"]].mean() for m in models]
    )
    margin = stats.t.ppf(0.975, 5) * fit.stderr
    assert (row["slope"], row["intercept"], row["r2"]) == pytest.approx((fit.slope, fit.intercept, fit.rvalue**2))
    assert (row["slope_low"], row["slope_high"]) == pytest.approx((fit.slope - margin, fit.slope + margin))
    assert (row["models"], row["sequences"]) == (7, 560)


def test_the_sample_error_of_the_scaling_law_is_the_paired_bootstraps():
    rng = np.random.default_rng(11)
    sizes, domains, texts = np.array([1e6, 3e6, 1e7, 1e8]), 2, 150
    n = rng.integers(1, 4, (domains, texts))
    alike = rng.beta(0.6, 0.9, (domains, texts))
    k = np.array([rng.binomial(n, alike ** (1 / (i + 1))) for i in range(4)])
    at = [(i, d, t, s) for (i, d, t), of in np.ndenumerate(k) for s in range(n[d, t])]
    matches = [
        {
            "model": f"m{i}",
            "sequence_id": 1000 * (texts * d + t) + s,
            "corpus": "x",
            "domain": str(d),
            "condition": "c",
            "memorized": bool(s < k[i, d, t]),
        }
        for i, d, t, s in at
    ]
    ids = sorted({(m["sequence_id"], m["domain"]) for m in matches})
    con = database({
        "models": [
            {"model": f"m{i}", "family": "f", "n_params": int(p), "base_condition": "c", "miniature": True}
            for i, p in enumerate(sizes)
        ],
    })  # fmt: skip
    con.register("given", pa.Table.from_pylist(matches))
    con.execute("insert into stored.matches by name from given")
    given = [{"sequence_id": s, "document_id": s // 1000, "corpus": "x", "domain": d} for s, d in ids]
    con.register("cut", pa.Table.from_pylist(given))
    con.execute("insert into stored.sequences by name from cut")
    (row,) = answer(con, "scaling_law")
    assert row["documents"] == domains * texts

    x = np.log10(sizes) - np.log10(sizes).mean()
    rates, asked = np.zeros((3000, 4)), n.sum()
    for d in range(domains):
        drawn = rng.multinomial(texts, np.full(texts, 1 / texts), 3000)
        rates += drawn @ k[:, d].T / (drawn @ n[d])[:, None] / domains
    inside = (rates * asked + 0.5) / (asked + 1)
    for name, y in (("sample", 100 * rates), ("logit_sample", np.log(inside / (1 - inside)))):
        low, high = np.quantile(y @ x / (x @ x), [0.025, 0.975])
        assert (row[f"{name}_low"], row[f"{name}_high"]) == pytest.approx((low, high), abs=0.08 * (high - low))


def test_texts_that_are_all_alike_do_not_make_a_slope_certain():
    """Of six sequences of each of five texts the models memorize one, two and four."""
    about = {"corpus": "x", "domain": "d"}
    sequences = [about | {"sequence_id": i, "document_id": i // 6} for i in range(30)]
    con = database({
        "models": [
            {"model": f"m{k}", "family": "f", "n_params": 10**k, "base_condition": "c", "miniature": True}
            for k in (1, 2, 4)
        ],
        "sequences": sequences,
        "matches": [
            about | {"model": f"m{k}", "sequence_id": i, "condition": "c", "memorized": i % 6 < k}
            for k in (1, 2, 4)
            for i in range(30)
        ],
    })  # fmt: skip
    (row,) = answer(con, "scaling_law")
    assert row["documents"] == 5 and row["slope"] == pytest.approx(100 / 6) and row["logit_slope"] > 0
    assert all(row[f"{kind}_{end}"] is None for kind in ("sample", "logit_sample") for end in ("low", "high"))


@pytest.mark.parametrize(
    ("b", "c"),
    [(0, 0), (1, 0), (3, 3), (1, 7), (9, 2), (60, 40), (0, 200), (5200, 4900), (10**6, 10**6 + 3000), (10**6, 10**6)],
)
def test_mcnemar_is_scipys_exact_test(con, b, c):
    expected = stats.binomtest(b, b + c).pvalue if b + c else 1.0
    for pair in ((b, c), (c, b)):
        assert con.execute("select mcnemar_p(?, ?)", pair).fetchone()[0] == pytest.approx(expected, rel=1e-6)


def test_errors_of_paired_rates_correlate_as_in_newcombes_method(con):
    rng = np.random.default_rng(12)
    n = rng.integers(1, 5, 40)
    x = rng.binomial(n, 0.5)
    about = x * rng.binomial(1, 0.9, 40)
    ends = "cluster_low(x, n), cluster_high(x, n), cluster_low(y, n), cluster_high(y, n), error_correlation(x, y, n)"
    for y in (about, n - about, rng.binomial(n, 0.5), x, n * 0):
        con.register("drawn", pa.table({"x": x, "y": y, "n": n}))
        p, q = x.sum() / n.sum(), y.sum() / n.sum()
        a, b = x - p * n, y - q * n
        r = a @ b / np.sqrt((a @ a) * (b @ b)) if y.any() else 0
        if r > 0:
            r = max(0, r - 0.5 / (40 * np.sqrt(p * (1 - p) * q * (1 - q))))
        (p_low, p_high, q_low, q_high, got), *_ = con.execute(f"select {ends} from drawn").fetchall()
        assert got == pytest.approx(r)
        low = p - q - np.sqrt((p - p_low) ** 2 + (q_high - q) ** 2 - 2 * r * (p - p_low) * (q_high - q))
        high = p - q + np.sqrt((p_high - p) ** 2 + (q - q_low) ** 2 - 2 * r * (p_high - p) * (q - q_low))
        call = "select difference_low($1, $2, $3, $4, $5), difference_high($1, $6, $3, $7, $5)"
        assert con.execute(call, [p, p_low, q, q_high, r, p_high, q_low]).fetchone() == pytest.approx((low, high))
        assert low < p - q < high


def test_byte_rates_are_those_of_a_plain_loop():
    rng = np.random.default_rng(13)
    tokenizers, place = {"m0": "t", "m1": "t", "m2": "u"}, {"corpus": "x", "domain": "d"}
    sequences, matches = {}, []
    for model, tokenizer in tokenizers.items():
        for anchor in range(80):
            lengths = rng.integers(1, 6 if tokenizer == "t" else 8, 8)
            cut = 50 - (rng.random() < 0.1)
            key = anchor + 100 * (tokenizer == "u")
            ends = [cut - 1, cut, *(cut + np.cumsum(lengths)).tolist()]
            row = {"anchor_id": anchor, "tokenizer": tokenizer, "document_id": anchor // 2, "anchor": 50}
            row |= {"byte_cut": cut, "byte_ends": ends, "byte_end": ends[-1], "prefix_tokens": 2, "n_tokens": 8}
            sequence = sequences.setdefault(key, place | row | {"sequence_id": key})
            matched = int(rng.choice([0, sequence["byte_end"] - sequence["byte_cut"], rng.integers(0, 30)]))
            logprobs = (-rng.exponential(2, 8)).astype(np.float32).tolist()
            row = {"model": model, "sequence_id": key, "anchor_id": anchor, "condition": "c", "memorized": False}
            matches.append(place | row | {"n_tokens": 8, "matched_bytes": matched, "logprobs": logprobs})
    models = [{"model": m, "family": m, "base_condition": "c", "miniature": True} for m in tokenizers]
    con = database({"models": models, "sequences": list(sequences.values()), "matches": matches})
    rows = answer(con, "byte_rate", horizons=[8, 20], minimum_anchors=1)
    assert len(rows) == 6
    for row in rows:
        h = row["horizon"]
        reach = {k: (s["byte_end"] - 50) * (s["byte_cut"] == 50) for k, s in sequences.items()}
        shared = [a for a in range(80) if min(reach[a], reach[a + 100]) >= h]
        alone = [a for a in range(80) if reach[a] >= h > reach[a + 100]]
        own = [m for m in matches if m["model"] == row["model"] and m["anchor_id"] in shared]
        bits = size = 0
        for m in own:
            at = np.array(sequences[m["sequence_id"]]["byte_ends"][2:]) - 50
            k = next(i for i, end in enumerate(at) if end >= h)
            bits, size = bits - sum(m["logprobs"][: k + 1]) / np.log(2), size + at[k]
        assert 0 < row["n"] == len(own) < 80 and row["documents"] == len({a // 2 for a in shared})
        assert row["rate"] == np.mean([m["matched_bytes"] >= h for m in own])
        assert row["bits_per_byte"] == pytest.approx(bits / size)
        if row["model"] == "m2":
            assert row["left_out_alone"] == len(alone) / 80


def test_lists_add_up_element_by_element(con):
    got = con.execute("select sum_lists(list(x)) from (values ([1.0, 2.0]), ([0.5, -1.0])) t(x)")
    assert got.fetchone() == ([1.5, 1.0],)


def test_the_difference_of_two_rates_is_newcombes_where_documents_hold_one_sequence(con):
    for x, n, y, m in ((56, 70, 48, 80), (9, 10, 3, 10), (10, 10, 0, 20), (0, 10, 0, 20)):
        con.execute(
            "create or replace temp table d as select (range < $x)::int as x, 1 as n, 0 as y, 0 as m from range($n)"
            " union all select 0, 0, (range < $y)::int, 1 from range($m)",
            {"x": x, "n": n, "y": y, "m": m},
        )
        got = con.execute("select rate_difference_low(x, n, y, m), rate_difference_high(x, n, y, m) from d").fetchone()
        p, q = x / n, y / m
        # documents are independent here, but for the factor C / (C - 1) of the variance: n - 1 count for n
        a, b = (
            stats.binomtest(k, t).proportion_ci(0.95, method="wilson") if k in (0, t) else wilson(k / t, t - 1)
            for k, t in ((x, n), (y, m))
        )
        expected = p - q - np.hypot(p - a[0], b[1] - q), p - q + np.hypot(a[1] - p, q - b[0])
        assert got == pytest.approx(expected, abs=1e-9)


def wilson(p: float, n: float) -> tuple[float, float]:
    """The roots of (p - r)^2 = z^2 r (1 - r) / n."""
    z = stats.norm.ppf(0.975) ** 2 / n
    return tuple(sorted(np.roots([1 + z, -2 * p - z, p * p])))


def head_effects(drops: dict[str, np.ndarray], n: int = 5) -> list[dict]:
    """Rows of one cell a model from mean drops (layers x heads)."""
    about = {"corpus": "x", "domain": "d", "condition": "c", "method": "zero", "n": n}
    return [
        about | {"cell": name, "model": name, "layer": layer, "head": head, "mean_delta_logprob": -float(drop)}
        for name, of_model in drops.items()
        for (layer, head), drop in np.ndenumerate(of_model)
    ]


def head_models(families: dict[str, str]) -> list[dict]:
    return [{"model": m, "family": f, "base_condition": "c", "miniature": False} for m, f in families.items()]


def answer(con, finding: str, **parameters: object) -> list[dict]:
    return con.execute(find(finding).sql(**parameters)).to_arrow_table().to_pylist()


def test_pooled_variance_is_numpys(con):
    groups = [np.random.default_rng(k).normal(k, 1 + k, n) for k, n in enumerate((1, 2, 9, 40))]
    rows = [(len(g), float(g.mean()), float(g.var(ddof=1)) if len(g) > 1 else None) for g in groups]
    con.execute("create or replace temp table g (n bigint, mean double, variance double)")
    con.executemany("insert into g values (?, ?, ?)", rows)
    (got,) = con.execute("select pooled_variance(n, mean, variance) from g").fetchone()
    assert got == pytest.approx(np.concatenate(groups).var(ddof=1))
    assert con.execute("select pooled_variance(n, mean, variance) from g where n = 1").fetchone() == (None,)


@pytest.mark.parametrize(
    ("heads", "a", "b", "common"),
    [(8, 2, 2, 1), (8, 2, 2, 0), (16, 3, 1, 1), (10, 8, 7, 6), (5, 5, 2, 2), (144, 29, 29, 9), (2560, 512, 512, 130)],
)
def test_the_null_of_overlaps_is_scipys(con, heads, a, b, common):
    x = np.arange(max(0, a + b - heads), min(a, b) + 1)
    chance = stats.hypergeom.pmf(x, heads, a, b)
    expected = (chance * x / (a + b - x)).sum(), stats.hypergeom.sf(common - 1, heads, a, b)
    call = "select expected_jaccard($1, $2, $3), chance_of(common_chances($1, $2, $3), $4)"
    assert con.execute(call, [heads, a, b, common]).fetchone() == pytest.approx(expected, rel=1e-9)


def common(heads: int, sizes: list[int]) -> np.ndarray:
    """How many heads all random sets of these sizes have in common: the chance of each number from 0 to `heads`."""
    chances = np.eye(heads + 1)[sizes[0]]
    for size in sizes[1:]:
        chances = sum(c * stats.hypergeom.pmf(np.arange(heads + 1), heads, n, size) for n, c in enumerate(chances))
    return chances


@pytest.mark.parametrize(
    ("heads", "sizes"), [(8, [3, 4]), (8, [3, 0, 4]), (5, [5, 5, 5]), (1, [1, 1]), (40, [20, 8, 30, 2]), (9, [6, 7, 8])]
)
def test_what_several_sets_have_in_common_is_scipys_set_by_set(con, heads, sizes):
    (got,) = con.execute("select all_common(?, ?)", [heads, sizes]).fetchone()
    expected = common(heads, sizes)
    assert got == pytest.approx(expected[: len(got)], abs=1e-12) and sum(got) == pytest.approx(1)
    (mean,) = con.execute("select mean_of(?::double[])", [got]).fetchone()
    assert mean == pytest.approx(heads * np.prod([s / heads for s in sizes]))


def test_the_total_of_layers_is_numpys_convolution(con):
    parts = [common(heads, sizes).tolist() for heads, sizes in ((4, [2, 3]), (4, [1, 4]), (2, [0, 1]), (3, [3, 3]))]
    (got,) = con.execute("select total_chances(?::double[][])", [parts]).fetchone()
    expected = np.array([1.0])
    for part in parts:
        expected = np.convolve(expected, part)
    assert got == pytest.approx(expected, abs=1e-12)
    calls = "select chance_of(?::double[], ?), mean_jaccard(?::double[], 9, 7)"
    assert con.execute(calls, [got, 4, got]).fetchone() == pytest.approx(
        (expected[4:].sum(), sum(c * x / (16 - x) for x, c in enumerate(expected)))
    )
    assert con.execute("select chance_of(null::double[], 1)").fetchone() == (None,)


@pytest.mark.parametrize("df", [1, 2, 3, 2.5, 7.75, 30, 1000, 10**6])
def test_student_p_is_scipys_into_the_tail(con, df):
    t = np.array([0, 1e-6, 0.3, 1, 1.7, 1.73, 1.74, 2, 5, 12, 40])
    t = t[2 * stats.t.sf(t, df) > 1e-290]
    got = con.execute("select student_p(t, ?) from (select unnest(?::double[]) as t)", [df, t.tolist()]).fetchall()
    assert np.ravel(got) == pytest.approx(2 * stats.t.sf(t, df), rel=1e-7)


def test_student_p_where_there_is_none(con):
    call = "select student_p(2.0, 0.5), student_p(2.0, null), student_p(null, 3), student_p('nan'::double, 3)"
    assert con.execute(call).fetchone() == (None,) * 4
    call = "select student_p('-inf'::double, 3), student_p(-2.0, 3) - student_p(2.0, 3)"
    assert con.execute(call).fetchone() == (0, 0)


def holm(p: np.ndarray) -> np.ndarray:
    """As Holm describes it: from the least p on, times the number of those that are left, never falling."""
    adjusted, order = np.empty_like(p), np.argsort(p)
    for k, i in enumerate(order):
        adjusted[i] = min(1, max((len(p) - k) * p[i], adjusted[order[k - 1]] if k else 0))
    return adjusted


@pytest.mark.parametrize("n", [1, 2, 10, 11, 40, 300])
def test_adjusted_p_are_holms_up_to_10_and_scipys_beyond(con, n):
    p = np.round(np.random.default_rng(n).beta(0.3, 1, n), 2)  # with ties, some 0
    of = holm if n <= 10 else stats.false_discovery_control
    given = [("a", i, float(v)) for i, v in enumerate(p)] + [("a", -1, None), ("b", 0, 0.04), ("b", 1, 0.03)]
    con.execute("create or replace temp table g (family varchar, i int, p double)")
    con.executemany("insert into g values (?, ?, ?)", given)
    got = con.execute(
        "select adjusted_p(p, step, family) from (select *, adjusting(p, family) as step from g) order by family, i"
    ).fetchall()
    assert got[0] == (None,)
    assert np.ravel(got[1:]) == pytest.approx([*of(p), 0.06, 0.06])


@pytest.mark.parametrize(("layers", "points"), [(1, 5), (2, 2), (3, 11), (12, 11), (64, 11), (11, 11)])
def test_depths_are_numpys_interpolation(con, layers, points):
    values = np.random.default_rng(layers).normal(size=layers)
    depth = np.arange(layers) / max(layers - 1, 1)
    (got,) = con.execute("select at_depths(?::double[], ?)", [values.tolist(), points]).fetchone()
    assert got == pytest.approx(np.interp(np.linspace(0, 1, points), depth, values))


def test_correlation_is_pearsons(con):
    a, b = np.random.default_rng(4).normal(5, 1, (2, 11))
    call = "select list_inner_product(standard(?::double[]), standard(?::double[]))"
    assert con.execute(call, [a.tolist(), b.tolist()]).fetchone()[0] == pytest.approx(stats.pearsonr(a, b).statistic)
    assert con.execute(call, [a.tolist(), [7.0] * 11]).fetchone() == (None,)


def test_shuffled_layers_give_the_p_of_all_orders():
    rng = np.random.default_rng(5)
    drops = {"a": rng.normal(size=(5, 3)), "b": rng.normal(size=(4, 2))}
    drops["b"][:, :] += np.interp(np.arange(4) / 3, np.arange(5) / 4, drops["a"].mean(1))[:, None]
    grid = np.linspace(0, 1, 11)

    def profiles(of_model):
        means = of_model.mean(1)
        return [np.interp(grid, np.linspace(0, 1, len(means)), order) for order in permutations(means)]

    null = np.array([[np.corrcoef(a, b)[0, 1] for b in profiles(drops["b"])] for a in profiles(drops["a"])])
    con = database({"models": head_models({"a": "f", "b": "g"}), "head_effects": head_effects(drops)})
    (row,) = answer(con, "profile_similarity", permutations=3000)
    assert row["similarity"] == pytest.approx(null[0, 0])  # permutations() begins with the order as it is
    exact = (null >= null[0, 0] - 1e-9).mean()
    assert 0.005 < exact < 0.5
    assert row["p"] == pytest.approx(exact, abs=4 * np.sqrt(exact / 3000))
    assert [row] == answer(con, "profile_similarity", permutations=3000)


def test_shifted_profiles_give_the_p_of_all_shifts():
    rng = np.random.default_rng(8)
    profiles = {}
    for i in range(20):
        for model, layers in (("a", 24 + i % 9), ("b", 32 - i % 5)):
            steps = rng.normal(size=layers)
            profile = [steps[0]]
            for step in steps[1:]:  # each layer 0.95 of the one before
                profile.append(0.95 * profile[-1] + np.sqrt(1 - 0.95**2) * step)
            profiles[f"pair {i}", model] = np.array(profile)
    effects = pa.Table.from_pylist(
        [
            {"method": method, "model": model, "layer": layer, "mean_delta_logprob": -drop}
            for (method, model), profile in profiles.items()
            for layer, drop in enumerate(profile)
        ]
    )
    con = database({"models": head_models({"a": "f", "b": "f"})})
    con.register("given", effects)
    con.execute(
        "insert into stored.head_effects by name"
        " select *, 'x' as corpus, 'd' as domain, 'c' as condition, 5 as n, 0 as head, method || model as cell"
        " from given"
    )
    rows = answer(con, "profile_similarity", permutations=39)
    grid = np.linspace(0, 1, 11)

    def shifts(of_model):
        depths = np.linspace(0, 1, len(of_model))
        return np.array([np.interp(grid, depths, np.roll(of_model, -s)) for s in range(len(of_model))])

    for row in rows:
        a, b = (shifts(profiles[row["method"], model]) for model in "ab")
        null = np.corrcoef(a, b)[: len(a), len(a) :]
        assert row["similarity"] == pytest.approx(null[0, 0])
        assert row["p_shifted"] == pytest.approx((null >= null[0, 0] - 1e-9).mean())
    assert len(rows) == 20 and all(r["tests"] == 1 and r["p_shifted"] == r["p_shifted_adjusted"] for r in rows)


def dealt(of_f: int, of_g: int, noise: float, **parameters: int) -> Iterator[tuple[dict, float, int]]:
    """Rows of family_similarity for two families of so many models, each with p and the number of all deals."""
    rng = np.random.default_rng(6)
    shapes = {"f": rng.normal(size=6), "g": rng.normal(size=6)}
    families = {f"{f}{i}": f for f, n in (("f", of_f), ("g", of_g)) for i in range(n)}
    drops = {m: (shapes[f] + rng.normal(scale=noise, size=6))[:, None] for m, f in families.items()}
    n = len(drops)
    similarity = np.corrcoef([np.interp(np.linspace(0, 1, 11), np.linspace(0, 1, 6), d[:, 0]) for d in drops.values()])

    def difference(members):
        inside = np.isin(np.arange(n), members)
        above = np.triu(np.ones((n, n), bool), 1)
        within, across = np.outer(inside, inside) & above, (inside[:, None] != inside) & above
        return similarity[within].mean() - similarity[across].mean()

    con = database({"models": head_models(families), "head_effects": head_effects(drops)})
    rows = answer(con, "family_similarity", **parameters)
    for row, members in zip(rows, (range(of_f), range(of_f, n)), strict=True):
        null = np.array([difference(c) for c in combinations(range(n), len(members))])
        assert row["difference"] == pytest.approx(difference(members)) and row["ways"] == len(null)
        yield row, (null >= difference(members) - 1e-9).mean(), len(null)


def test_where_names_can_be_dealt_in_few_ways_all_are_counted():
    for parameters in ({}, {"permutations": 0}, {"exact": 35, "permutations": 1}):
        found = list(dealt(3, 4, 1.5, **parameters))
        assert [(r["models"], r["others"]) for r, *_ in found] == [(3, 4), (4, 3)]
        assert all(r["ways"] == r["deals"] == ways == 35 for r, _, ways in found)
        for row, exact, _ in found:
            assert row["p"] == pytest.approx(exact) and 1 / 35 <= exact < 0.9
        low, high = sorted(row["p"] for row, *_ in found)
        assert sorted(row["p_adjusted"] for row, *_ in found) == pytest.approx([min(1, 2 * low), max(high, 2 * low)])


def test_where_the_ways_are_many_the_deals_drawn_give_the_p_of_all():
    for row, exact, ways in dealt(7, 8, 4, exact=6434, permutations=3000):
        assert ways == 6435 and row["deals"] == 3001
        assert 0.001 < exact < 0.9
        assert row["p"] == pytest.approx(exact, abs=4 * np.sqrt(exact / 3000))


def test_split_halves_are_those_of_numpy_and_foretell_the_truth():
    rng = np.random.default_rng(7)
    documents, heads = 160, 400
    true = rng.normal(size=heads)
    deltas = -np.float32(true + rng.normal(scale=np.sqrt(documents), size=(documents, heads)))
    scored = {"cell": "m", "model": "m", "corpus": "x", "domain": "d", "condition": "c"}
    about = scored | {"method": "zero", "layer": 0}
    effects = head_effects({"m": -deltas.mean(0, dtype=float)[None]}, n=documents)
    for row, variance in zip(effects, deltas.var(0, ddof=1, dtype=float), strict=True):
        row["var_delta_logprob"] = float(variance)
    ids = [f"{i}" for i in range(documents)]
    con = database(
        {
            "models": head_models({"m": "f"}),
            "matches": [scored | {"sequence_id": int(i)} for i in ids],
            "head_effects": effects,
        }
    )
    table = pa.table(
        {
            "sequence_id": np.repeat(np.arange(documents), heads),
            "head": np.tile(np.arange(heads), documents),
            "delta_logprob": deltas.ravel(),
        }
    )
    constant = ", ".join(f"'{v}' as \"{k}\"" for k, v in about.items())
    con.register("given", table)
    con.execute(f"insert into stored.head_deltas by name select *, {constant} from given")

    def md5(text):
        return int.from_bytes(hashlib.md5(text.encode()).digest()[8:], "little")

    place = {d: i % 32 for i, d in enumerate(sorted(ids, key=md5), 1)}
    part = np.array([place[d] for d in ids])
    agree = []
    for split in range(20):
        first = sorted(range(32), key=lambda p: md5(f"{p}/{split}"))[1::2]
        halves = [deltas[np.isin(part, first) == side].mean(0) for side in (True, False)]
        agree.append(stats.spearmanr(*halves).statistic)
    rows = answer(con, "head_reliability", examples=[40])
    assert [(r["examples"], r["projected"], r["heads"]) for r in rows] == [(40, True, 400), (160, False, 400)]
    r = float(np.mean(agree))
    assert rows[1]["half_reliability"] == pytest.approx(r, abs=1e-6)
    assert rows[1]["reliability"] == pytest.approx(2 * r / (1 + r), abs=1e-6)
    assert rows[0]["reliability"] == pytest.approx(0.5 * r / (1 - 0.5 * r), abs=1e-6)
    # The drops' noise is as large as the spread between heads: half of the variance is true, of a quarter a fifth.
    assert rows[1]["reliability"] == pytest.approx(1 / 2, abs=0.1)
    assert rows[0]["reliability"] == pytest.approx(1 / 5, abs=0.08)
    assert rows[1]["detectable_drop"] == pytest.approx(
        2.8016 * np.median(deltas.std(0, ddof=1)) / np.sqrt(160), rel=1e-4
    )
