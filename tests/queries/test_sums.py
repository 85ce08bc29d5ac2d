"""Sums that are kept beside the lake: the same as those that are not, made anew where what they are of has changed."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest

from memlake.benchmarks.scale_inside import Size, cells, registered
from memlake.queries import sums
from memlake.queries.ask import OpenLake
from memlake.queries.finding import find
from memlake.tests.small import CONDITION, DOMAINS, MODEL, ingested, match_rows
from memlake.warehouse import schema
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.stage import conform
from memlake.warehouse.relation import File

from . import random_lake
from .conftest import done, drawn, put


@pytest.fixture
def two_models(tmp_path) -> Lake:
    lake = Lake.create(tmp_path / "lake")
    put(lake, "models", [("models", [MODEL, MODEL | {"model": "n"}]), ("conditions", [CONDITION])])
    put(lake, "ingest", ingested(DOMAINS[0]))
    for model in "mn":
        put(lake, f"of {model}", [("matches", [row | {"model": model} for row in match_rows(DOMAINS[0])])])
    said = [done(f"of {model}", sample="s") for model in "mn"]
    put(lake, "cells", [("cells", [drawn("s", "space", "4+12"), done("ingest", sample="s"), *said])])
    return lake


def shown(lake: Lake, name: str, **only: str) -> list[tuple]:
    """The rows of a table of sums, as the lake opened anew has them."""
    return sorted(OpenLake(lake.path, **only).sql(f"from {name}").to_pyarrow().to_pylist(), key=repr)


def computed(lake: Lake, name: str, **only: str) -> list[tuple]:
    """The same by the view itself."""
    return sorted(OpenLake(lake.path, **only).connection.execute(f"from {name}").to_arrow_table().to_pylist(), key=repr)


@pytest.mark.parametrize("name", ["match_sums", "match_sums_all", "position_sums", "position_sums_all"])
def test_what_is_kept_is_what_the_view_gives(two_models, name):
    for only in ({}, {"sample_window": "4+12"}, {"condition": CONDITION["condition"]}):
        assert shown(two_models, name, **only) == computed(two_models, name, **only) != []
    assert (two_models.path / "kept" / "sums").is_dir()
    put(two_models, "cells 2", [("cells", [drawn("t", "start", "4+12")])])
    assert shown(two_models, name, sample_rule="start") == []


def test_models_are_added_up_together_as_memory_allows(two_models, monkeypatch):
    together = shown(two_models, "position_sums")
    units, matches = [("m", "a"), ("n", "a"), ("o", "a"), ("m", "b")], []
    for (model, corpus), rows in zip([*units, units[0]], (2, 1, 3, 9, 1), strict=True):
        matches.append(File(f"{model}{len(matches)}", {"model": model, "corpus": corpus}, rows, 1))
    for limit, batches in {4: ["mn", "o", "m"], 3: ["m", "n", "o", "m"], 9: ["mno", "m"]}.items():
        monkeypatch.setattr(sums, "BATCH", limit)
        assert ["".join(model for model, _ in batch) for batch in sums._batches(units, matches)] == batches
    monkeypatch.setattr(sums, "BATCH", 1)
    shutil.rmtree(two_models.path / "kept")
    assert shown(two_models, "position_sums") == together != []


def test_only_what_changed_is_computed_again(two_models, monkeypatch):
    made: list[str] = []
    put_one = sums.Kept.put
    monkeypatch.setattr(
        sums.Kept, "put", lambda kept, key, rows: made.append(rows["model"][0].as_py()) or put_one(kept, key, rows)
    )
    assert len(shown(two_models, "match_sums")) > 0 and made == ["m", "n"]
    shown(two_models, "match_sums")
    assert made == ["m", "n"]
    put(two_models, "more", [("matches", [r | {"model": "n", "condition": "noisy"} for r in match_rows(DOMAINS[0])])])
    assert shown(two_models, "match_sums_all") == computed(two_models, "match_sums_all")
    assert made == ["m", "n", "n"]
    put(two_models, "ingest 2", ingested(DOMAINS[1]))  # other texts of the corpus: theirs could be the same
    shown(two_models, "match_sums")
    assert made == ["m", "n", "n", "m", "n"]
    put(two_models, "cells 2", [("cells", [drawn("s2", "start", "4+12"), done("more", sample="s2")])])
    assert shown(two_models, "match_sums_all") == computed(two_models, "match_sums_all")
    assert made[5:] == ["m", "n"]


def test_rubbish_is_computed_again(two_models):
    before = shown(two_models, "position_sums")
    for file in (two_models.path / "kept" / "sums").iterdir():
        file.write_bytes(b"rubbish")
    assert shown(two_models, "position_sums") == before


INSIDE = ("pythia-0", "gpt-neo-0")  # the second's heads are taken away on whatever was scored
OF_INSIDE = ["layer_means", "depth_means", "output_means", "head_drops", "part_sums", "frequency_means"]


@pytest.fixture(scope="module")
def inside(tmp_path_factory) -> Lake:
    """Layers, heads and blocks of two models on two domains, and counts; blocks also on text of no role."""
    lake = Lake.create(tmp_path_factory.mktemp("inside") / "lake")
    put(lake, "models", [(n, rows) for n, rows in registered(INSIDE).items() if n != "model_corpora"])
    said = []
    for cell in cells(Size(0.0001), INSIDE):
        told = cell.settings.to_json()
        if cell.kind not in ("noise", "training") and told.get("domain", "law") in ("law", "web"):
            put(lake, cell.id, [(n, conform(schema.table(n), rows, cell.id)) for n, rows in cell.rows(lake)])
            said.append(done(cell.id, cell.experiment, **told))
    put(lake, "cells", [("cells", said)])
    return lake


def assert_alike(some: list[dict], others: list[dict]) -> None:
    """Floats but for their last digits: what is added up stands in no order."""
    assert [r.keys() for r in some] == [r.keys() for r in others]
    for row, other in zip(some, others, strict=True):
        for column, value in row.items():
            if column not in ("parts", "heads") or not isinstance(value, list):
                assert other[column] == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value), column
            else:
                assert_alike(value, other[column])


@pytest.mark.parametrize("name", OF_INSIDE)
def test_what_is_kept_of_the_inside_is_what_the_view_gives(inside, name):
    for only in ({}, {"sample_window": "32+32"}):
        got = shown(inside, name, **only)
        assert {row["model"] for row in got} == set(INSIDE)
        assert_alike(got, computed(inside, name, **only))


def test_a_threshold_that_is_not_kept_is_counted_anew(inside):
    lake, column = OpenLake(inside.path), "confident"
    rows = lake.query("layer_probability", threshold=0.5).to_pyarrow().to_pylist()
    half = lake.sql("from layer_means_above(0.5)").to_pyarrow().to_pylist()
    assert sorted(r[column] for r in rows) == pytest.approx(sorted(r[column] for r in half))
    fewer = lake.query("layer_probability", threshold=0.9).to_pyarrow().to_pylist()
    assert len(fewer) == len(rows) and sum(r[column] for r in fewer) < sum(r[column] for r in rows)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("layer_probability", {"threshold": 0.9}),
        ("decoding_depth", {"threshold": 0.9}),
        ("output_difference", {"tolerance": 0.1}),
        ("byte_rate", {"horizons": [8, 16]}),
        ("byte_rate", {"minimum_share": 0.1}),
        ("guessability", {"rouge_l": 0.5}),
        ("shared_memorization", {"horizon": 8}),
        *(("frequency_by_bucket", other) for other in ({"half_from": 0.1}, {"half_to": 0.9}, {"listed": 9})),
    ],
)
def test_what_is_kept_is_at_the_defaults(inside, name, other):
    """It is read where they are given, and then alone."""

    def scans(**parameters: object) -> int:
        lake._sums.fill_for(sql := find(name).sql(**parameters))
        return lake.connection.execute(f"explain {sql}").fetchall()[0][1].count("READ_PARQUET")

    lake = OpenLake(inside.path)
    ((kept,),) = lake.connection.execute("select kept_at()").fetchall()
    defaults = {p.name: json.loads(p.literal) for p in find(name).parameters.values() if p.name in kept}
    assert (
        defaults.keys() >= other.keys()
        and {name: json.loads(json.dumps(kept[name], default=float)) for name in defaults} == defaults
    )
    assert scans() < scans(**other)


def test_other_counts_have_sums_of_their_own(inside):
    before = shown(inside, "frequency_means")
    counts = next(rows for cell in cells(Size(0.0001), INSIDE) if cell.kind == "count" for _, rows in cell.rows(inside))
    elsewhere = counts.set_column(
        counts.column_names.index("counted_corpus"), "counted_corpus", pa.repeat("elsewhere", len(counts))
    )
    put(inside, "elsewhere", [("ngram_counts", conform(schema.table("ngram_counts"), elsewhere, "elsewhere"))])
    after = shown(inside, "frequency_means")
    assert_alike(after, computed(inside, "frequency_means"))
    assert {row["counted_corpus"] for row in before} == {"mine"} < {row["counted_corpus"] for row in after}


def test_another_role_has_sums_of_its_own(inside):
    """Of control text all counts that was measured, not only what the model has memorized."""

    def n() -> int:
        return sum(row["n"] for row in shown(inside, "output_means") if row["corpus"] == "apart")

    some = n()
    put(inside, "roles", [("model_corpora", registered(INSIDE)["model_corpora"])])
    assert 0 < some < n() == sum(row["n"] for row in computed(inside, "output_means") if row["corpus"] == "apart")


def test_another_base_condition_has_sums_of_its_own(inside):
    put(inside, "bf16", [("conditions", [{"condition": "bf16", "dtype": "bfloat16", "noise": 0.0, "bos": False}])])
    assert shown(inside, "layer_means") != []
    assert shown(inside, "layer_means", condition="bf16") == shown(inside, "head_drops", condition="bf16") == []


OF_MATCHES = {
    "guess_means": "guess_means_above(match_sums, 2.0)",
    "byte_sums": "byte_sums_over(match_sums, [16, 32, 48, 64, 96], 0.5)",
    "sharing_sums": "sharing_sums_over(match_sums, 32)",
    "control_sums": "control_sums_over(match_sums, 32)",
}


@pytest.fixture(scope="module")
def several(tmp_path_factory) -> Lake:
    """Six models on two corpora, under two conditions and in two samples; guesses of most sequences."""
    rng, made = np.random.default_rng(4), random_lake.rows(4, 12)
    made["guessability"] = [
        {c: row[c] for c in ("cell", "sequence_id", "corpus", "domain")} | guessed(rng)
        for row in made["sequences"]
        if rng.random() < 0.9
    ]
    lake = Lake.create(tmp_path_factory.mktemp("several") / "lake")
    put(lake, "models", [(name, made[name]) for name in ("models", "conditions", "model_corpora")])
    for cell in ("of s", "of t"):
        own = {name: [row for row in some if row.get("cell") == cell] for name, some in made.items() if name != "cells"}
        put(lake, cell, [(name, some) for name, some in own.items() if some])
    put(lake, "cells", [("cells", made["cells"])])
    return lake


def guessed(rng: np.random.Generator) -> dict[str, object]:
    return {
        "templated": rng.random() < 0.3, "incrementing": False, "repeating": False,
        "huffman_length": rng.uniform(2, 6), "rouge_l": rng.random() if rng.random() < 0.9 else None,
    }  # fmt: skip


@pytest.mark.parametrize("name", OF_MATCHES)
def test_what_is_kept_of_models_side_by_side_is_what_the_view_gives(several, name):
    for only in ({}, {"sample_rule": "start"}, {"condition": "other"}):
        got = shown(several, name, **only)
        assert {row["corpus"] for row in got} == {"x", "y"}
        assert_same(got, computed(several, name, **only))
        lake = OpenLake(several.path, **only)
        assert_same(got, lake.sql(f"from {OF_MATCHES[name]}").to_pyarrow().to_pylist())


def assert_same(some: list[dict], others: list[dict]) -> None:
    """Rows in any order, floats but for their last digits."""

    def plain(value: object) -> object:
        if isinstance(value, dict):
            return {key: plain(v) for key, v in value.items()}
        if isinstance(value, list):
            return sorted(map(plain, value), key=repr)
        return float(f"{value:.8e}") if isinstance(value, float) else value

    assert plain(some) == plain(others)


def test_what_is_published_of_one_corpus_leaves_the_sums_of_others(several, tmp_path, monkeypatch):
    shutil.copytree(several.path, tmp_path / "lake")
    lake, made = Lake.open(tmp_path / "lake"), []
    put_one = sums.Kept.put
    monkeypatch.setattr(
        sums.Kept, "put", lambda kept, key, rows: made.append(rows["corpus"][0].as_py()) or put_one(kept, key, rows)
    )
    shutil.rmtree(lake.path / "kept", ignore_errors=True)
    before = shown(lake, "byte_sums")
    assert made == ["x", "y"]
    own = {row["sequence_id"]: row for row in random_lake.rows(4, 12)["matches"] if row["corpus"] == "y"}
    put(lake, "more", [("matches", [row | {"model": "d1", "condition": "base"} for row in own.values()])])
    model = {"family": "d", "tokenizer": "ta", "base_condition": "base", "miniature": False, "n_params": 5}
    put(lake, "a model", [("models", [model | {"model": "d1"}])])
    after = shown(lake, "byte_sums")
    assert made == ["x", "y", "y"]
    assert [row for row in after if row["corpus"] == "x"] == [row for row in before if row["corpus"] == "x"] != []
    assert "d1" in {row["model"] for row in after} - {row["model"] for row in before}
    put(lake, "roles", [("model_corpora", [{"model": "d1", "corpus": "y", "role": "control"}])])
    assert shown(lake, "byte_sums") == after and made == ["x", "y", "y"]  # of which roles are no part
    shown(lake, "control_sums")
    assert made[3:] == ["x", "y"]
    put(lake, "other roles", [("model_corpora", [{"model": "a1", "corpus": "y", "role": "control"}])])
    shown(lake, "control_sums")
    assert made[5:] == ["y"]


def test_sums_are_computed_within_the_limits_of_who_asks(several, tmp_path, monkeypatch):
    seen = []
    asked = "select current_setting('threads')"
    prepare = sums.prepare
    monkeypatch.setattr(
        sums, "prepare", lambda con, *of: seen.append(con.execute(asked).fetchall()) or prepare(con, *of)
    )
    shutil.copytree(several.path, tmp_path / "lake", ignore=shutil.ignore_patterns("kept"))
    lake = OpenLake(tmp_path / "lake")
    lake.connection.execute("set threads = 1")
    lake.sql("from match_sums")
    assert seen == [[(1,)]] * 2
