"""Samples of other rules and windows stand apart in every view and every finding, and can be asked for alone."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from memlake.ingest.run import ingest
from memlake.ingest.sampling.sample import sample
from memlake.queries import ask, catalog
from memlake.queries.ask import OpenLake
from memlake.queries.finding import find, names
from memlake.queries.only import Only
from memlake.tests.ingest import tokenizers
from memlake.tests.ingest.sampling.test_sample import fill, text
from memlake.tests.lakes import rows as selected
from memlake.tests.small import CONDITION, MODEL, N, match_rows
from memlake.warehouse import schema
from memlake.warehouse.errors import BadInput, UnknownName
from memlake.warehouse.lake import Lake

from .conftest import done, drawn, put
from .findings import cases, database, filled

CASES = [(name, case) for name in names() for case in cases(name)]
OF_SEQUENCES = {name for name in schema.names() if "sequence_id" in schema.table(name).schema.names}
SAMPLED = {name for name in schema.names() if catalog.sample_keys(name)}
APART = 10**9  # between the ids of two samples


def of_one_sample(given: dict[str, list[dict]]) -> dict[str, list[dict]]:
    """The rows, those that name no cell now of cells of the sample (space, 32+32)."""
    known = {row["cell"] for row in given.get("cells", ())}
    made = {name: [row | {"cell": row.get("cell") or "a cell"} for row in given[name]] for name in SAMPLED & set(given)}
    used = {row["cell"] for rows in made.values() for row in rows} - known
    cells = [
        *given.get("cells", ()),
        drawn("one", "space", "32+32"),
        *(done(cell, sample="one") for cell in sorted(used)),
    ]
    return given | made | {"cells": cells}


def with_others(given: dict[str, list[dict]], *rules: tuple[str, str]) -> dict[str, list[dict]]:
    """All of it, and for each rule and window once more as another sample of the same documents: in the first of them
    everything came out otherwise, in the second alike."""
    several = dict(given)
    used = sorted({row["cell"] for name in SAMPLED & set(given) for row in given[name]})
    for i, (rule, window) in enumerate(rules, 1):
        for name in (OF_SEQUENCES | SAMPLED) & set(given):
            several[name] = several[name] + [otherwise(row, i) for row in given[name]]
        own = [drawn(f"another {i}", rule, window), *(done(f"{cell} {i}", sample=f"another {i}") for cell in used)]
        several["cells"] = several["cells"] + own
    return several


def otherwise(row: dict[str, str | None], i: int) -> dict[str, str | None]:
    """The row of another sequence, of another cell, in sample 1 with other values."""
    new = dict(row)
    for name, value in row.items():
        if value is None:
            continue
        if name == "cell":
            new[name] = f"{value} {i}"
        elif name == "sequence_id":
            new[name] = str(int(value) + i * APART)
        elif i > 1:
            continue
        elif name in ("memorized", "memorized_after", "templated"):
            new[name] = str(value == "false").lower()
        elif name == "n_lost":
            new[name] = "0"
        elif name == "score":
            new[name] = str(1 - float(value))
        elif name in ("n_match", "forced_n_match") and row.get("n_tokens"):
            new[name] = str(int(row["n_tokens"]) - int(value))
        elif name in ("delta_logprob", "mean_delta_logprob", "sum_logprob", "log_p_z"):
            new[name] = str(2 * float(value) - 1)
    return new


def asked(con, finding: str, **parameters) -> list[dict]:
    return con.execute(find(finding).sql(**parameters)).to_arrow_table().to_pylist()


def close(rows: list[dict]) -> list[dict]:
    """Numbers that are the same whatever order they were added up in."""
    return [{k: pytest.approx(v, nan_ok=True) if isinstance(v, float) else v for k, v in row.items()} for row in rows]


@pytest.mark.parametrize("name", names())
def test_a_finding_says_of_which_sample_each_row_is(name):
    assert {"sample_rule", "sample_window"} <= set(find(name).columns)
    assert any(column.startswith("condition") for column in find(name).columns)


@pytest.mark.parametrize(("name", "case"), CASES, ids=lambda v: v if isinstance(v, str) else v["about"][:40])
def test_other_samples_change_nothing_in_the_answer_for_the_first(name, case):
    first, parameters = of_one_sample(filled(case["given"])), case.get("parameters", {})
    alone = asked(database(first), name, **parameters)
    others = ("space", "9+9"), ("elsewhere", "32+32")  # another window, and another rule
    given = with_others(first, *others)
    everything = asked(database(given), name, **parameters)
    rows = [row for row in everything if (row["sample_rule"], row["sample_window"]) not in others]
    assert rows == close(alone) and len(rows) > 0
    assert others[1] in {(row["sample_rule"], row["sample_window"]) for row in everything}
    only = database(given, Only(sample_rule="space", sample_window="32+32"))
    own = [row for row in alone if (row["sample_rule"], row["sample_window"]) == ("space", "32+32")]
    assert asked(only, name, **parameters) == close(own)


SPACE, START, FIVE, SOME = ("space", "8+6"), ("start", "3+4"), ("imported", "5+6"), ("imported", "?+6")
TRUTH = {SPACE: (8, 1), START: (12, 0), FIVE: (3, 3), SOME: (2, 0)}  # sequences, and how many are memorized


@pytest.fixture
def drawn_twice(new_lake, tmp_path) -> Lake:
    """Made by the commands: two samples of the same documents, 8 sequences and 12, under results of one file, which has
    five sequences of its own, cut in two ways."""
    fill(new_lake, tmp_path / "in", [text(i) for i in range(12)])
    source = tokenizers.saved(tokenizers.byte_level(nfc=True), tmp_path / "neox")
    sample(new_lake, ["mine"], [source], per_domain=8, window=SPACE[1])
    sample(new_lake, ["mine"], [source], per_domain=12, window=START[1], at="start")
    found = selected(new_lake, "select prefix_tokens, sequence_id from stored.sequences order by all")
    ids = {prefix: [i for p, i in found if p == prefix] for prefix in (8, 3)}
    record = {"model": "pythia-160m", "corpus": "mine", "domain": "d", "tokenizer": "neox"}
    records = [record | {"sequence_id": i, "n_tokens": 6, "match": [i == ids[8][0]] * 6} for i in ids[8]]
    records += [record | {"sequence_id": i, "n_tokens": 4, "match": [False] * 4} for i in ids[3]]
    records += [record | {"sequence_id": f"a{i}", "n_tokens": 6, "prefix_tokens": 5, "match": [True] * 6}
                for i in range(3)]  # fmt: skip
    records += [record | {"sequence_id": f"b{i}", "n_tokens": 6, "match": [False] * 6} for i in range(2)]
    (tmp_path / "results.jsonl").write_text("\n".join(map(json.dumps, records)))
    summary, _ = ingest(new_lake, "results", {"path": (str(tmp_path / "results.jsonl"),)})
    assert len(summary.done) == 2 and not summary.failed
    return new_lake


def test_samples_of_one_lake_are_never_added_up(drawn_twice):
    lake = OpenLake(drawn_twice.path)
    for finding in ("memorization_rate", "corpus_rate"):
        rates = [r for r in lake.query(finding).to_pyarrow().to_pylist() if r.get("weighted_by") != "bytes"]
        found = {(r["sample_rule"], r["sample_window"]): (r["n"], r["memorized"]) for r in rates}
        assert found == TRUTH and len(rates) == 4
    found = lake.sql("select sample_rule, sample_window, count(*) as n from sequences group by all").to_pyarrow()
    assert {(r["sample_rule"], r["sample_window"]): r["n"] for r in found.to_pylist()} == {
        key: n for key, (n, _) in TRUTH.items()
    }


def counted(frame) -> Counter:
    return Counter(map(repr, frame.itertuples(index=False, name=None)))


def assert_dask_is_sql(lake: OpenLake, table: str) -> int:
    """The number of rows, which are the same in both, as are the columns."""
    frame, view = lake.dask(table), lake.connection.execute(f"from {table}").to_arrow_table()
    assert list(frame.columns) == view.column_names
    rows = frame.compute(scheduler="synchronous")
    assert counted(rows) == counted(view.to_pandas(types_mapper=ask._pandas_type))
    return len(rows)


def test_dask_frames_are_the_views(drawn_twice):
    measured = ("matches", "matches_all", "sequences", "guessability", "ngram_counts", "head_effects")
    for only, n in (({}, 25), ({"sample_rule": "start"}, 12), ({"sample_window": "?+6"}, 2)):
        lake = OpenLake(drawn_twice.path, **only)
        assert [assert_dask_is_sql(lake, table) for table in measured] == [n, n, n, 20, 0, 0]


@pytest.mark.parametrize(("only", "n"), [({}, 80), ({"condition": "noisy"}, 40), ({"sample_rule": "space"}, 80)])
def test_a_condition_takes_the_place_of_the_base(lake, only, n):
    asked = OpenLake(lake.path, **only)
    assert assert_dask_is_sql(asked, "matches") == n
    assert assert_dask_is_sql(asked, "matches_all") == 120
    assert assert_dask_is_sql(asked, "models") == 1
    rows = asked.query("memorization_rate").to_pyarrow().to_pylist()
    assert {r["condition"] for r in rows} == {only.get("condition", "float32 sdpa")} and sum(r["n"] for r in rows) == n
    assert rows == OpenLake(lake.path).query("memorization_rate", **only).to_pyarrow().to_pylist()


def test_a_restriction_is_added_to_that_of_the_lake_or_takes_its_place(drawn_twice):
    lake = OpenLake(drawn_twice.path, sample_rule="imported")

    def found(**parameters: str | None) -> set[tuple[str, str]]:
        rows = lake.query("memorization_rate", **parameters).to_pyarrow().to_pylist()
        return {(r["sample_rule"], r["sample_window"]) for r in rows}

    assert found() == {FIVE, SOME}
    assert found(sample_window="5+6") == {FIVE}
    assert found(sample_window="8+6") == set()
    assert found(sample_rule="space") == {SPACE}
    assert found(sample_rule=None) == set(TRUTH)
    assert found() == {FIVE, SOME}


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ({"sample_window": "4+13"}, r"no sample_window '4\+13': did you mean '4\+12'\? \(there are: 4\+12\)"),
        ({"sample_rule": "spaces"}, "no sample_rule 'spaces': did you mean 'space'"),
        ({"condition": "nosy"}, "no condition 'nosy': did you mean 'noisy'"),
        ({"condition": ""}, "no condition ''"),
        ({"sample_window": "4+12' or 'a' = 'a"}, "no sample_window"),
        ({"models": "m,n"}, "no model 'n'"),
        ({"families": ["fam"]}, "no family 'fam'"),
        ({"corpora": "mines"}, "no corpus 'mines': did you mean 'mine'"),
        ({"domains": "c++,c+'"}, "no domain"),
    ],
)
def test_what_the_lake_does_not_hold_is_one_line(lake, only, message):
    for ask_for in (lambda: OpenLake(lake.path, **only), lambda: OpenLake(lake.path).query("corpus_rate", **only)):
        with pytest.raises(UnknownName, match=message) as raised:
            ask_for()
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("value", [7, [], "", ["m", 7], {"m": 1}])
def test_a_selection_is_names(lake, value):
    if value == "":
        with pytest.raises(UnknownName, match="no model ''"):
            OpenLake(lake.path, models=value)
    else:
        with pytest.raises(BadInput, match=r"models wants names like 'pythia-1b,pythia-1\.4b', not"):
            OpenLake(lake.path, models=value)


@pytest.mark.parametrize("name", ["matches", "sequences", "models", "documents"])
def test_dask_holds_what_is_selected(lake, name):
    for only in ({"domains": "c++"}, {"models": ["m"], "corpora": ("mine",)}):
        chosen = OpenLake(lake.path, **only)
        got = chosen.dask(name).compute()
        assert len(got) == len(chosen.table(name).to_pandas()) > 0
        if "domain" in got and "domains" in only:
            assert set(got.domain) == {"c++"} < set(OpenLake(lake.path).dask(name).compute().domain)


@pytest.mark.parametrize("value", [32, ["space"], True])
def test_a_restriction_is_a_text(lake, value):
    with pytest.raises(BadInput, match=r"sample_window wants a text like '32\+32', not"):
        OpenLake(lake.path, sample_window=value)


def test_an_old_lake_whose_cells_say_nothing_of_samples_has_answers(tmp_path):
    lake = Lake.create(tmp_path / "lake")
    put(lake, "models", [("models", [MODEL]), ("conditions", [CONDITION])])
    put(lake, "scoring", [("matches", match_rows("c++"))])
    asked = OpenLake(lake.path)
    (row,) = asked.query("memorization_rate").to_pyarrow().to_pylist()
    assert (row["sample_rule"], row["sample_window"], row["n"]) == (None, None, N)
    assert assert_dask_is_sql(asked, "matches") == N
    with pytest.raises(UnknownName, match="there is no sample_rule yet"):
        asked.query("memorization_rate", sample_rule="space")


def test_rows_of_a_model_that_is_not_registered_are_in_no_frame(tmp_path):
    lake = Lake.create(tmp_path / "lake")
    put(lake, "scoring", [("matches", match_rows("c++"))])
    assert assert_dask_is_sql(OpenLake(lake.path), "matches") == 0  # no base condition


def test_noise_is_compared_with_a_condition_without_noise_only(lake):
    asked = OpenLake(lake.path)
    assert asked.query("noise_rate").count().execute() > 0
    assert asked.query("noise_rate", condition="noisy").count().execute() == 0
