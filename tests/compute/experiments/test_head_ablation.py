"""Head ablation from a request to published rows."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from memlake.compute.models.checkpoint import known_model
from memlake.compute.run import execute, plan
from memlake.tests.compute.interventions.test_ablation import ALL, Plain
from memlake.tests.compute.small_lake import ROWS, save, scored
from memlake.tests.compute.tiny import build, windows
from memlake.warehouse.errors import BadInput, Conflict
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import resolve
from memlake.warehouse.tables.head_deltas import METHODS

FIRST = 9  # ranks of the first of two cells


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A function that gives a new lake with scores, and the request for all of them."""
    origin = tmp_path_factory.mktemp("scored")
    lake, request = scored(origin)

    def copy(folder):
        shutil.copytree(lake.path, folder / "lake")
        return Lake.open(folder / "lake"), request

    return copy


def rows(lake: Lake, sql: str) -> list[tuple]:
    with lake.connect() as con:
        return con.sql(sql).fetchall()


def measure(lake, request, **options):
    summary = execute(lake, "head_ablation", replace(request, options=options))
    assert not summary.failed, summary.failed
    return summary


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A lake in which every method was run on the first ranks, then on all, with other batches; the plain model."""
    folder = tmp_path_factory.mktemp("heads")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("memlake.compute.experiments.head_ablation.PIECE", 3 * len(ALL))
        patch.setattr("memlake.compute.experiments.head_ablation.REFERENCE", 3)
        lake, request = scored(folder, "gpt_neo")
        for method in METHODS:
            measure(lake, replace(request, limit=FIRST, batch_size=2), method=method, among="all")
            measure(lake, request, method=method, among="all")
    model = build("gpt_neo")
    tokens, prefix, _ = windows(model, ROWS, (8, 16), (12, 20))
    ids = [i for (i,) in rows(lake, "select sequence_id from stored.sequences order by rank")]
    return lake, request, Plain("gpt_neo", model, tokens, prefix, ids)


@pytest.mark.parametrize("method", METHODS)
def test_rows_equal_the_plain_definition(measured, method):
    lake, _, plain = measured
    clean = np.array([plain.read(row)[:2] for row in range(ROWS)]).T
    logprob, n_match, memorized = plain.effects(method)
    got = rows(
        lake,
        "select layer, head, rank, delta_logprob, delta_n_match, memorized_after from stored.head_deltas"
        f" join stored.sequences using (sequence_id) where method = '{method}' order by layer, head, rank",
    )
    assert [row[:3] for row in got] == [(*head, rank) for head in ALL for rank in range(ROWS)]
    _, _, _, deltas, matches, after = (np.array(column).reshape(len(ALL), ROWS) for column in zip(*got, strict=True))
    np.testing.assert_allclose(deltas, logprob - clean[0], rtol=1e-5, atol=2e-4)
    np.testing.assert_array_equal(matches, n_match - clean[1])
    np.testing.assert_array_equal(after, memorized)
    assert np.median(np.abs(deltas)) > 1


def test_effects_roll_the_deltas_up(measured):
    lake, *_ = measured
    got = rows(
        lake,
        "select cell, method, layer, head, n, mean_delta_logprob, var_delta_logprob, n_lost, estimate"
        " from stored.head_effects",
    )
    expected = {
        key: values
        for *key, values in rows(
            lake,
            "select d.cell, method, layer, head, (count(*), avg(delta_logprob::double),"
            " var_samp(delta_logprob::double), count_if(memorized and not memorized_after))"
            " from stored.head_deltas d join stored.matches using (sequence_id) group by all",
        )
        for key in [tuple(key)]
    }
    assert len(got) == 2 * len(METHODS) * len(ALL)
    assert {row[4] for row in got} == {FIRST, ROWS - FIRST}
    assert sum(row[7] for row in got) > 0
    for *key, n, mean, variance, lost, estimate in got:
        assert (n, lost, estimate) == (*(expected[tuple(key)][i] for i in (0, 3)), None)
        assert (mean, variance) == pytest.approx(expected[tuple(key)][1:3], rel=1e-9)
    assert rows(lake, "from stored.head_screens") == []


def table(lake) -> list[tuple]:
    return rows(
        lake,
        "select sequence_id, method, layer, head, delta_n_match, memorized_after, delta_logprob from stored.head_deltas"
        " order by all",
    )


def test_rows_do_not_depend_on_batches(fresh, tmp_path):
    found = []
    for batch_size in (1, 3, None):
        lake, request = fresh(tmp_path / str(batch_size))
        for method in ("peer_mean", "resample"):
            measure(lake, replace(request, batch_size=batch_size), method=method)
        found.append(table(lake))
    memorized = rows(lake, "select sequence_id from stored.matches where memorized")
    assert 1 < len(memorized) < ROWS
    assert {row[:1] for row in found[0]} == set(memorized)
    for other in found[1:]:
        assert [row[:-1] for row in other] == [row[:-1] for row in found[0]]
        np.testing.assert_allclose([row[-1] for row in other], [row[-1] for row in found[0]], rtol=1e-5, atol=1e-4)
    assert measure(lake, request).skipped == 1


def test_a_head_alone_in_its_layer_has_no_deltas(tmp_path, monkeypatch):
    monkeypatch.setattr("memlake.tests.compute.tiny.HEADS", 1)
    lake, request = scored(tmp_path, seed=3)  # other weights than those that a worker may still hold
    measure(lake, request)
    measure(lake, request, method="zero")
    missing = "delta_logprob is null and delta_n_match is null and memorized_after is null"
    n = 2 * len(rows(lake, "from stored.matches where memorized"))
    assert sorted(rows(lake, f"select method, {missing}, count(*) from stored.head_deltas group by all")) == [
        ("peer_mean", True, n),
        ("zero", False, n),
    ]
    effects = "select layer, head, n, mean_delta_logprob, var_delta_logprob, n_lost from stored.head_effects"
    assert rows(lake, f"{effects} where method = 'peer_mean' order by layer") == [
        (0, 0, 0, None, None, None),
        (1, 0, 0, None, None, None),
    ]


def test_a_cell_of_which_nothing_is_memorized(fresh, tmp_path):
    lake, request = fresh(tmp_path)
    measure(lake, replace(request, limit=1))
    measure(lake, replace(request, limit=2))  # its cell holds rank 1 alone
    known = (
        "select memorized from stored.matches join stored.sequences using (sequence_id) where rank < 2 order by rank"
    )
    assert rows(lake, known) == [(True,), (False,)]
    assert rows(lake, "select n, n_lost is null, count(*) from stored.head_effects group by all") == [
        (1, False, len(ALL))
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "noise"}, "it is peer_mean, zero, mean or resample"),
        ({"among": "some"}, "memorized, contrast or all"),
    ],
)
def test_options_are_checked(measured, options, message):
    lake, request, _ = measured
    with pytest.raises(BadInput, match=message):
        plan(lake, "head_ablation", replace(request, options=options))


def test_what_was_measured_is_not_measured_again(measured):
    lake, request, _ = measured
    assert len(plan(lake, "head_ablation", replace(request, options={"screen": True}))[0]) == 2
    for options in ({}, {"among": "contrast"}, {"screen": True}, {"method": "mean"}):
        assert plan(lake, "head_ablation", replace(request, options=options))[1] == set()


def test_screening_measures_some_heads_and_they_equal_the_exact_ones(fresh, tmp_path):
    lake, request = fresh(tmp_path / "screened")
    exact, _ = fresh(tmp_path / "exact")
    measure(lake, request, screen=True)
    measure(exact, request)
    got, every = table(lake), {row[:4]: row for row in table(exact)}
    assert 0 < len(got) < len(every)
    for row in got:
        assert row[:-1] == every[row[:4]][:-1]
        assert row[-1] == pytest.approx(every[row[:4]][-1], abs=1e-4)
    effects = rows(
        lake, "select layer, head, n, n_lost is null, estimate is null from stored.head_effects order by all"
    )
    assert [tuple(row[:2]) for row in effects] == ALL
    assert [n for _, _, n, *_ in effects] == [sum(row[2:4] == head for row in got) for head in ALL]
    assert {(n == 0, lost, estimate) for _, _, n, lost, estimate in effects} == {
        (True, True, False),
        (False, False, False),
    }
    ((heads, sequences),) = rows(lake, "select heads, sequences from stored.head_screens")
    assert (heads, sequences) == (len(ALL), len({row[0] for row in every.values()}))
    assert measure(lake, request, screen=True).skipped == 1
    with pytest.raises(Conflict, match="with --screen already"):
        plan(lake, "head_ablation", request)


def test_heads_without_peers_are_not_screened(tmp_path, monkeypatch):
    monkeypatch.setattr("memlake.tests.compute.tiny.HEADS", 1)
    lake, request = scored(tmp_path, seed=4)
    with pytest.raises(BadInput, match="heads of tiny have no peers"):
        plan(lake, "head_ablation", replace(request, options={"screen": True}))


def test_it_wants_scores(measured, tmp_path):
    lake, request, _ = measured
    save(tmp_path / "another", "gpt_neo", seed=1)
    with pytest.raises(BadInput, match=r"is not scored for another .*run scoring"):
        plan(lake, "head_ablation", replace(request, models=(str(tmp_path / "another"),)))


def test_scores_that_were_imported_do_not_tell_which_heads_there_are(measured, monkeypatch):
    lake, request, _ = measured
    imported = replace(known_model(lake, resolve(request.models[0])), n_layers=None, n_heads=None)
    monkeypatch.setattr("memlake.compute.run.known_model", lambda *_: imported)
    with pytest.raises(BadInput, match="not scored yet: run `memlake compute run scoring --model"):
        plan(lake, "head_ablation", request)
