"""The findings about heads and layers over the lake of `benchmarks/scale_inside.py`, in small, against plain loops."""

from __future__ import annotations

from hashlib import md5

import duckdb
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from memlake.benchmarks.scale_inside import FINDINGS, MODELS, Size, cells, registered
from memlake.queries.catalog import prepare
from memlake.queries.finding import find
from memlake.warehouse import schema
from memlake.warehouse.publishing.stage import conform

from .conftest import done
from .findings import satterthwaite

ASKED = ("pythia-1", "gpt-neo-0")  # the second's heads are taken away on whatever was scored
OF = ["model", "corpus", "domain"]


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute("create schema stored")
    for name in schema.names():
        columns = ", ".join(f'"{c.name}" {c.sql_type}' for c in schema.table(name).columns)
        con.execute(f"create table stored.{name} ({columns})")

    def put(name: str, rows: object) -> None:
        con.register("given", rows)
        con.execute(f"insert into stored.{name} by name from given")
        con.unregister("given")

    for name, rows in registered(ASKED).items():
        put(name, pd.DataFrame(rows))
    for cell in cells(Size(0.0001), ASKED):
        for name, rows in cell.rows(None):
            put(name, conform(schema.table(name), rows, cell.id))
        put("cells", pd.DataFrame([done(cell.id, cell.experiment, **cell.settings.to_json())]))
    return prepare(con)


def table(con, sql: str) -> pd.DataFrame:
    return con.execute(sql).to_arrow_table().to_pandas()


def test_every_finding_answers(con):
    assert {name for name in FINDINGS if not table(con, find(name).text).empty} == {*FINDINGS} - {"head_screening"}


def by_group(con) -> pd.DataFrame:
    """The rows of `layer_tokens`, each with the groups of its sequence."""
    tokens = table(con, "select * exclude (entropy), entropy as of_layers from stored.layer_tokens")
    groups = table(con, 'select model, domain, sequence_id, text, "group", pair, entropy from layer_groups')
    return tokens.merge(groups, on=["model", "domain", "sequence_id"])


def margin(x: np.ndarray, n: np.ndarray) -> float:
    """Half the width of the interval of sum(x) / sum(n) over documents."""
    count, rest = len(n), x - x.sum() / n.sum() * n
    return stats.t.ppf(0.975, satterthwaite(n)) * np.sqrt((rest**2).sum() * count / (count - 1)) / n.sum()


def stacked(values: pd.Series) -> np.ndarray:
    return np.array(values.tolist(), float)


def test_layer_findings_are_what_a_loop_over_groups_gives(con):
    rows = by_group(con)
    keys = ["model", "group"]
    probability, agreement, depth = (
        table(con, find(f).text).set_index(keys) for f in ("layer_probability", "layer_agreement", "decoding_depth")
    )
    assert set(probability.index) == set(agreement.index) == set(depth.index) == set(rows.groupby(keys).groups)
    for key, group in rows.groupby(keys):
        blocks, documents = MODELS[key[0]].layers, group["text"].to_numpy()
        target, top1 = stacked(group["target_probability"]), stacked(group["top1"])
        first = group["first_layer"].to_numpy() / blocks
        passing = [np.flatnonzero(p > 0.5)[0] / blocks if (p > 0.5).any() else np.nan for p in target]
        got = probability.loc[key].sort_values("layer")
        assert got["probability"].to_numpy() == pytest.approx(target.mean(0), abs=1e-6)
        assert got["confident"].to_numpy() == pytest.approx((target > 0.5).mean(0))
        assert got["depth"].to_numpy() == pytest.approx(np.arange(blocks + 1) / blocks)
        sequences = group.drop_duplicates("sequence_id")
        for answer in (probability, agreement):
            assert set(answer.loc[key, "n"]) == {len(sequences)}
            assert set(answer.loc[key, "documents"]) == {len(set(documents))}
            assert set(answer.loc[key, "positions"]) == {len(group)}
        assert got["entropy"].to_numpy() == pytest.approx(sequences["entropy"].mean())
        of_texts = pd.DataFrame(target).groupby(documents).agg(["sum", "count"]).to_numpy().reshape(-1, blocks + 1, 2)
        margins = [margin(*layer.T) for layer in of_texts.transpose(1, 0, 2)]
        assert (got["high"] - got["probability"]).to_numpy() == pytest.approx(margins, rel=1e-3)
        got = agreement.loc[key].sort_values("layer")
        assert got["agreement"].to_numpy() == pytest.approx((top1 == top1[:, -1:]).mean(0))
        assert got["rank_1"].to_numpy() == pytest.approx((top1 == group[["target"]].to_numpy()).mean(0))
        assert got["kl"].to_numpy() == pytest.approx(stacked(group["kl_to_final"]).mean(0), abs=1e-6)
        assert got["entropy"].to_numpy() == pytest.approx(stacked(group["of_layers"]).mean(0), abs=1e-6)
        got = depth.loc[key]
        assert (got["n"], got["documents"], got["positions"]) == (len(sequences), len(set(documents)), len(group))
        assert got["depth"] == pytest.approx(first.mean())
        quartiles = np.quantile(first, [0.25, 0.5, 0.75], method="inverted_cdf")
        assert [got[f"quartile_{i}"] for i in (1, 2, 3)] == pytest.approx(quartiles)
        assert got["never_passes"] == pytest.approx(np.isnan(passing).mean())
        assert got["passing_depth"] == pytest.approx(np.nanmean(passing))


def test_differences_between_layers_are_those_of_the_pairs(con):
    rows = by_group(con)
    rows = rows[rows["pair"].notna()]
    for finding, value in (
        ("layer_probability", lambda of: stacked(of["target_probability"]).mean(0)),
        ("layer_agreement", lambda of: (stacked(of["top1"]) == stacked(of["top1"])[:, -1:]).mean(0)),
        ("decoding_depth", lambda of: of["first_layer"].mean() / MODELS[of["model"].iloc[0]].layers),
    ):
        answer = table(con, find(finding).text)
        answer = answer[answer["group"] == "memorized"].set_index("model")
        for model, of in rows.groupby("model"):
            pairs = of["pair"].nunique()
            assert pairs > 20 and set(np.atleast_1d(answer.loc[model, "pairs"])) == {pairs}
            expected = value(of[of["group"] == "memorized"]) - value(of[of["group"] == "matched"])
            assert np.atleast_1d(answer.loc[model, "difference"]) == pytest.approx(np.atleast_1d(expected), abs=1e-6)


@pytest.mark.parametrize("known", [True, False])
def test_halves_rank_heads_as_a_loop_over_splits_finds(con, known):
    """Documents are dealt to parts, and parts to halves, by the last 64 bits of an MD5."""

    def dealt(text: object) -> int:
        return int.from_bytes(md5(str(text).encode()).digest()[8:], "little")

    deltas = table(
        con,
        f"""
        select d.model, d.domain, coalesce(text_hash, document_id) as text, layer, head, delta_logprob::double as delta,
            d.sequence_id
        from stored.head_deltas d
        join stored.matches m on m.model = d.model and m.sequence_id = d.sequence_id and m.condition = d.condition
        join stored.sequences s on s.sequence_id = d.sequence_id
        join stored.documents using (document_id)
        where m.memorized = {known}
    """,
    )
    got = table(con, find("head_reliability").sql(known=known, splits=4, examples=[100]))
    got = got[got["examples"] == 100].set_index(["model", "domain"])
    assert len(got) == (10 if known else 5) and set(deltas["model"]) == {model for model, _ in got.index}
    for key, of in deltas.groupby(["model", "domain"]):
        texts = sorted(set(of["text"]), key=lambda text: (dealt(text), text))
        part = {text: i % 32 for i, text in enumerate(texts, 1)}
        table_ = of.assign(part=of["text"].map(part)).pivot_table(
            index=["layer", "head"], columns="part", values="delta", aggfunc="sum"
        )
        n = of.drop_duplicates("sequence_id")["text"].map(part).value_counts()
        found = []
        for split in range(4):
            order = sorted(set(part.values()), key=lambda p: dealt(f"{p}/{split}"))
            halves = order[1::2], order[::2]
            means = [table_[half].sum(axis=1) / n[half].sum() for half in map(list, halves)]
            ranks = [mean.rank(method="first") for mean in means]
            k = max(1, round(0.2 * len(table_)))
            a, b = (set(r.index[r <= k]) for r in ranks)
            found.append((np.corrcoef(*ranks)[0, 1], len(a & b) / len(a | b)))
        row = got.loc[key]
        assert (row["documents"], row["n"]) == (len(texts), n.sum())
        if len(texts) < 10:
            assert row["note"] == "too few" and np.isnan(row["half_reliability"])
            continue
        assert (row["half_reliability"], row["half_jaccard"]) == pytest.approx(np.mean(found, axis=0))
