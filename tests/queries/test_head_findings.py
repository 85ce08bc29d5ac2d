"""The findings about attention heads on made-up lakes of copies, and against plain numpy."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats

from memlake.queries.finding import find
from memlake.tests.reports.made_up_heads import head_lake

from .findings import database


def asked(con, name: str, **parameters: object) -> pd.DataFrame:
    return con.execute(find(name).sql(**parameters)).to_arrow_table().to_pandas()


@pytest.mark.parametrize("name", ["head_importance", "head_reliability", "head_overlap"])
def test_exact_copies_of_a_document_are_one(name):
    def lake(same: str):
        con = head_lake({"olmo-a": 4}, {"mine": "trained"}, sequences=30)
        con.execute("insert into stored.sequences by name select sequence_id, corpus, domain,"
                    " sequence_id + 1 as document_id from stored.matches")  # fmt: skip
        if same == "document":  # sequences 0 and 1, 2 and 3, ... of one document
            con.execute("update stored.sequences set document_id = 7000 + sequence_id // 2")
        elif same == "text":
            con.execute("insert into stored.documents by name select document_id, corpus, domain,"
                        " 7000 + sequence_id // 2 as text_hash from stored.sequences")  # fmt: skip
        return con

    of_documents, of_texts, apart = (asked(lake(same), name) for same in ("document", "text", "none"))
    pd.testing.assert_frame_equal(of_documents, of_texts)
    assert not of_documents.equals(apart)
    if "documents" in apart:
        assert set(of_documents["documents"]) == {15} and set(apart["documents"]) == {30}
    else:
        assert of_documents["half_jaccard"].notna().all()


def test_overlaps_within_layers_are_those_of_numpys_draws():
    """Random sets with each domain's number of heads in each layer, drawn 4,000 times, and all heads permuted."""
    rng = np.random.default_rng(3)
    layers, heads, domains = 6, 8, ["a", "b", "c"]
    drops = {d: rng.gamma(1, 1, (layers, heads)) + np.array([3, 0, 2, 0, 0, 1])[:, None] for d in domains}
    drops["b"] += drops["a"]
    about = {"model": "m", "corpus": "x", "condition": "c", "method": "zero", "n": 4}
    con = database({"models": [{"model": "m", "family": "f", "base_condition": "c", "miniature": False}]})
    effects = [about | {"cell": d, "domain": d, "layer": i, "head": j, "mean_delta_logprob": -float(v)}
               for d, of in drops.items() for (i, j), v in np.ndenumerate(of)]  # fmt: skip
    con.register("given", pa.Table.from_pylist(effects))
    con.execute("insert into stored.head_effects by name from given")
    important = {d: of >= np.sort(of.ravel())[-10] for d, of in drops.items()}  # round(0.2 * 48)
    drawn = {
        "p": {d: rng.permuted(np.tile(of.ravel(), (4000, 1)), axis=1) for d, of in important.items()},
        "p_by_layer": {
            d: rng.permuted(np.tile(of, (4000, 1, 1)), axis=2).reshape(4000, -1) for d, of in important.items()
        },
    }
    expected = {"p": "expected_jaccard", "p_by_layer": "expected_jaccard_by_layer"}
    rows = asked(con, "head_overlap")
    assert list(zip(rows["domain_a"], rows["domain_b"], strict=True)) == list(combinations(domains, 2))
    for row in rows.to_dict("records"):
        a, b = row["domain_a"], row["domain_b"]
        observed = (important[a] & important[b]).sum()
        assert row["in_both"] == observed and row["tests"] == 3
        for p, mean in expected.items():
            common = (drawn[p][a] & drawn[p][b]).sum(1)
            assert row[p] == pytest.approx((common >= observed).mean(), abs=0.03)
            assert row[mean] == pytest.approx((common / (20 - common)).mean(), abs=0.01)
    assert rows["p"].min() < 0.01 and (rows["p_by_layer"] > 2 * rows["p"]).all()
    for p in expected:
        low, middle, high = np.sort(rows[p])
        holm = np.maximum.accumulate([3 * low, 2 * middle, high]).clip(max=1)
        assert np.sort(rows[f"{p}_adjusted"]) == pytest.approx(holm)

    (row,) = asked(con, "universal_heads").to_dict("records")
    everywhere = np.logical_and.reduce(list(important.values()))
    assert row["universal"] == everywhere.sum() > 0
    for p, mean in (("p", "expected"), ("p_by_layer", "expected_by_layer")):
        common = np.logical_and.reduce(list(drawn[p].values())).sum(1)
        assert row[p] == pytest.approx((common >= everywhere.sum()).mean(), abs=0.03)
        assert row[mean] == pytest.approx(common.mean(), abs=0.06)
        assert row[f"{mean}_share"] == row[mean] / 48


def test_beside_universal_heads_stands_how_well_the_sets_are_known():
    con = head_lake({"olmo-a": 4}, {"mine": "trained"}, sequences=30)
    known = asked(con, "head_reliability").query("not projected")["half_jaccard"]
    assert len(known) == 2 and 0 < known.min() < known.max()
    (row,) = asked(con, "universal_heads").to_dict("records")
    assert row["half_jaccard"] == pytest.approx(np.sqrt(known.prod()))
    con.execute("delete from stored.head_deltas where domain = 'code' and sequence_id >= 9")
    assert np.isnan(asked(con, "universal_heads")["half_jaccard"][0])


def test_a_model_of_2560_heads_is_answered_too():
    rng = np.random.default_rng(5)
    con = database({"models": [{"model": "m", "family": "f", "base_condition": "c", "miniature": False}]})
    layer, head = (x.ravel() for x in np.indices((64, 40)))
    for domain in "abcd":
        drops = rng.normal(size=2560) + np.sin(layer / 5)
        given = pa.table({"layer": layer, "head": head, "n": np.full(2560, 9), "mean_delta_logprob": -drops})
        con.register("given", given)
        con.execute("insert into stored.head_effects by name select *, $1 as domain, $1 as cell, 'm' as model,"
                    " 'x' as corpus, 'c' as condition, 'zero' as method from given", [domain])  # fmt: skip
    rows = asked(con, "head_overlap")
    assert len(rows) == 6 and set(rows["important_a"]) == {512} and rows["half_jaccard"].isna().all()
    assert np.ptp(rows["expected_jaccard"]) < 1e-12 and rows["expected_jaccard"][0] == pytest.approx(0.111, abs=1e-3)
    for row in rows.to_dict("records"):
        chance = stats.hypergeom.sf(row["in_both"] - 1, 2560, 512, 512)
        assert row["p"] == pytest.approx(chance, rel=1e-6)
    assert (rows["p"] < 1e-6).all() and (rows["p_by_layer"] > 1e-3).all()  # alike by layer alone
    (row,) = asked(con, "universal_heads").to_dict("records")
    assert row["expected"] == pytest.approx(2560 * 0.2**4) and row["p_by_layer"] > 1e-3 > row["p"]


def test_p_of_a_head_is_scipys_t_test_of_its_documents():
    con = head_lake({"olmo-a": 4}, {"mine": "trained"}, sequences=20)
    deltas = con.execute("select domain, layer, head, delta_logprob from stored.head_deltas").df()
    rows = asked(con, "head_importance").set_index(["domain", "layer", "head"])
    found = {key: stats.ttest_1samp(of["delta_logprob"].astype(float), 0).pvalue
             for key, of in deltas.groupby(["domain", "layer", "head"])}  # fmt: skip
    assert rows["p"].dropna().to_dict() == pytest.approx(found, rel=1e-4)
    for _, of in rows.dropna(subset=["p"]).groupby("domain"):
        tests = len(of)
        assert set(of["tests"]) == {tests} and tests in (8, 16)
        assert ((of["p"] < 0.05) == (of["drop_low"] * of["drop_high"] > 0)).all()
        if tests > 10:
            assert of["p_adjusted"].tolist() == pytest.approx(stats.false_discovery_control(of["p"]).tolist())


def test_a_profile_never_mixes_what_was_trained_on_with_what_is_not_known():
    roles = {"mine": "trained", "other": None, "held": "control"}
    con = head_lake({"olmo-a": 4}, roles)
    layers = asked(con, "layer_profile", points=4).query("corpus == 'mine'")["mean_drop"]
    (drops,) = con.execute("select drops from model_profiles").fetchone()
    assert drops == pytest.approx(layers.tolist())
    (drops,) = (
        head_lake({"olmo-a": 4}, {"other": None, "held": "control"})
        .execute("select drops from model_profiles")
        .fetchone()
    )
    assert len(drops) == 4


@pytest.mark.parametrize("known", [True, False])
def test_memorized_and_other_sequences_of_one_cell_are_never_pooled(known):
    """Cells of `--among all` answer as cells of the one kind alone would, rolled up by pandas."""

    def lake(among: str):
        sample = ("space", "32+32")
        con = head_lake({"olmo-a": 4, "olmo-b": 5}, {"mine": "trained"}, sequences=40, samples={sample: names})
        con.execute("update stored.cells set settings = json_merge_patch(settings, {among: $1}::json)"
                    " where experiment = 'head_ablation'", [among])  # fmt: skip
        return con

    names = ["olmo-a", "olmo-b"]
    mixed, apart = lake("all"), lake("memorized")
    apart.execute("delete from stored.head_deltas where sequence_id in"
                  " (select sequence_id from matches where memorized <> $1)", [known])  # fmt: skip
    effects = apart.execute("from stored.head_effects").df()
    deltas = apart.execute("select d.*, m.memorized from stored.head_deltas d"
                           " join stored.matches m using (model, sequence_id)").df()  # fmt: skip
    deltas["lost"] = deltas["memorized"] & ~deltas["memorized_after"].astype(bool)
    keys = ["cell", "layer", "head"]
    rolled = deltas.groupby(keys).agg(
        n=("delta_logprob", "size"), mean_delta_logprob=("delta_logprob", "mean"),
        var_delta_logprob=("delta_logprob", "var"), n_lost=("lost", "sum"),
    )  # fmt: skip
    given = effects.drop(columns=rolled.columns).join(rolled, on=keys).fillna({"n": 0})
    apart.register("rolled", pa.Table.from_pandas(given))
    apart.execute("delete from stored.head_effects")
    apart.execute("insert into stored.head_effects by name from rolled")
    for name in ("head_importance", "head_overlap", "universal_heads", "head_reliability"):
        rows = asked(mixed, name, known=known)
        pd.testing.assert_frame_equal(rows, asked(apart, name), rtol=1e-4, atol=1e-6, check_dtype=False)
        assert len(rows) and not rows.equals(asked(mixed, name, known=not known))
    # A dropped head's estimate is of both kinds, so that its domain is left out of the layers
    whole = given.groupby(["model", "domain"])["n"].transform("min") > 0
    means = (-given[whole].groupby(["model", "domain", "layer"])["mean_delta_logprob"].mean()).groupby(
        ["model", "layer"]).mean()  # fmt: skip
    assert 0 < whole.sum() < len(whole)
    found = mixed.execute("select model, layer, mean_drop from layer_drops where known = $1", [known]).df()
    assert found.set_index(["model", "layer"])["mean_drop"].to_dict() == pytest.approx(means.to_dict(), rel=1e-4)
    for name in ("layer_profile", "profile_similarity", "family_similarity"):
        asked(mixed, name, known=known)
