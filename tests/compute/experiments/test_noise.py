"""The noise itself, and the rows that are published under it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from memlake.compute.engine.noise import Noise, draw
from memlake.compute.experiments.noise import Options
from memlake.compute.interventions.similarity import measure
from memlake.compute.run import execute, plan, planned
from memlake.tests.compute.small_lake import ROWS, scored
from memlake.tests.compute.tiny import LAYERS, WIDTH, checkpoint
from memlake.warehouse.errors import BadInput
from memlake.warehouse.lake import Lake
from memlake.warehouse.options import make

SEED = 3


def test_z_is_of_the_seed_the_sequence_the_layer_and_the_position_alone():
    ids = np.array([11, 12])
    z = draw(0, 0, ids, 6, WIDTH)
    np.testing.assert_array_equal(draw(0, 0, ids[::-1], 9, WIDTH)[::-1, :6], z)
    others = [draw(1, 0, ids, 6, WIDTH), draw(0, 1, ids, 6, WIDTH), draw(0, 0, ids + 2, 6, WIDTH)]
    drawn = [vector.tobytes() for one in (z, *others) for row in one for vector in row]
    assert len(set(drawn)) == len(drawn) == 4 * 2 * 6


@pytest.mark.parametrize("scope", ["token", "row"])
def test_noise_has_mean_0_and_the_standard_deviation_asked_for(scope):
    # Row 0: vectors of RMS 1 and 7, over the row 5 (and padding, which does not count); row 1: all of RMS 2
    z = torch.from_numpy(draw(0, 0, np.arange(2), 3, 40_000))
    hidden = torch.tensor([[1.0, 7.0, 99.0], [2.0, 2.0, 2.0]])[..., None] * torch.ones(40_000)
    real = torch.tensor([[True, True, False], [True, True, True]])
    noise = Noise(torch.nn.Identity(), z, 0.3, real if scope == "row" else None)
    e = (noise.on(hidden, z) - hidden)[real]
    expected = [1, 7, 2, 2, 2] if scope == "token" else [5, 5, 2, 2, 2]
    # 4 standard errors: sd / sqrt(40,000) of the mean, sd / sqrt(2 x 40,000) of the standard deviation
    for vector, rms in zip(e, expected, strict=True):
        assert abs(float(vector.mean())) < 4 * 0.3 * rms / 200
        assert float(vector.std()) == pytest.approx(0.3 * rms, rel=4 / np.sqrt(80_000))
    correlation = torch.corrcoef(e) - torch.eye(5)
    assert correlation.abs().max() < 5 / 200


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    return scored(tmp_path_factory.mktemp("road"))


@pytest.fixture
def lake(road, tmp_path, monkeypatch):
    """A scored lake of one's own, and the request for all of it."""
    monkeypatch.setattr("memlake.compute.experiments.noise.PIECE", 7)
    scored_lake, request = road
    shutil.copytree(scored_lake.path, tmp_path / "lake")
    return Lake.open(tmp_path / "lake"), request


def noisy(request, **options):
    return replace(request, options={"among": "all", **options})


def test_published_rows(lake):
    lake, request = lake
    request = noisy(replace(request, batch_size=3), strength=(0.3, 0.02), seed=(SEED,), layer=1)
    summary = execute(lake, "noise", request)
    assert len(summary.done) == 1, summary.failed
    with lake.connect() as con:
        rows = con.execute(
            "select noise, noise_seed, noise_layer, noise_scope, tokens, m.*"
            " from stored.matches m join stored.conditions using (condition) join stored.sequences using (sequence_id)"
            " where noise > 0 order by noise, rank"
        ).to_arrow_table()
        near = con.execute(
            "select noise, part, cosine, relative_l2 from stored.layer_similarity join stored.conditions"
            " using (condition) join stored.sequences using (sequence_id) order by noise, part desc, rank"
        ).to_arrow_table()
    assert rows.num_rows == 2 * ROWS
    assert near.num_rows == 2 * 2 * ROWS
    first = rows.slice(0, ROWS)
    expected = measure(
        checkpoint("pythia"),
        [np.array(t) for t in first["tokens"].to_pylist()],
        first["prefix_tokens"].to_numpy(),
        first["sequence_id"].to_numpy(),
        strengths=(0.02, 0.3),
        seed=SEED,
        layer=1,
        scope="token",
    )
    for i, (strength, (scores, similarity)) in enumerate(zip((0.02, 0.3), expected, strict=True)):
        for row, got in enumerate(rows.slice(i * ROWS, ROWS).to_pylist()):
            n = got["n_tokens"]
            assert (got["noise"], got["noise_seed"], got["noise_layer"]) == (strength, SEED, 1)
            assert got["condition"] == f"float32-sdpa-noise{strength}-token-layer1-seed3"
            assert got["generated"] == scores.generated[row, :n].tolist()
            assert got["logprobs"] == pytest.approx(scores.logprob[row, :n].tolist(), abs=1e-4)
        for part, name in enumerate(("prefix", "continuation")):
            stored = near.slice((2 * i + part) * ROWS, ROWS).to_pylist()
            assert {row["part"] for row in stored} == {name}
            for row, got in enumerate(stored):
                assert got["cosine"] == pytest.approx(similarity.cosine[part, row].tolist(), abs=1e-5)
                assert got["relative_l2"] == pytest.approx(similarity.relative_l2[part, row].tolist(), abs=1e-5)


def test_a_second_run_measures_only_what_is_missing(lake):
    lake, request = lake
    first = execute(lake, "noise", noisy(replace(request, limit=6), strength=(0.1, 0.3)))
    assert len(first.done) == 1, first.failed
    more = noisy(request, strength=(0.1, 0.2, 0.3), seed=(0, 4))
    cells, missing = plan(lake, "noise", more)
    asked = {
        (c.id in missing, c.settings.seed, *c.settings.strengths, c.settings.first_rank): c.expected for c in cells
    }
    rest = ROWS - 6
    assert asked == {
        (False, 0, 0.1, 0.3, 0): {"matches": 12, "layer_similarity": 24},
        (True, 0, 0.1, 0.3, 6): {"matches": 2 * rest, "layer_similarity": 4 * rest},
        (True, 0, 0.2, 0): {"matches": ROWS, "layer_similarity": 2 * ROWS},
        (True, 4, 0.1, 0.2, 0.3, 0): {"matches": 3 * ROWS, "layer_similarity": 6 * ROWS},
    }
    second = execute(lake, "noise", more)
    assert (len(second.done), second.skipped, second.failed) == (3, 1, [])
    with lake.connect() as con:
        rows = con.execute(
            "select noise, noise_seed, count(*), count(distinct sequence_id) from stored.matches"
            " join stored.conditions using (condition) where noise > 0 group by all order by all"
        ).fetchall()
    assert rows == [(strength, seed, ROWS, ROWS) for strength in (0.1, 0.2, 0.3) for seed in (0, 4)]
    assert {row["state"] for row in planned(lake, "noise", more).to_pylist()} == {"done"}


def test_scope_row_is_forced_only(lake):
    lake, request = lake
    summary = execute(lake, "noise", noisy(request, strength=(0.1,), scope="row"))
    assert len(summary.done) == 1, summary.failed
    with lake.connect() as con:
        rows = con.execute(
            "select noise_scope, match is null, score is null, forced_match is null, count(*) from stored.matches"
            " join stored.conditions using (condition) where noise > 0 group by all"
        ).fetchall()
        (settings,) = con.execute("select settings from stored.cells where experiment = 'noise'").fetchone()
    assert rows == [("row", True, True, False, ROWS)]
    assert json.loads(settings)["decoding"] == "forced"


def test_memorized_sequences_are_measured_beside_others(lake):
    lake, request = lake
    summary = execute(lake, "noise", replace(request, options={"strength": (0.1,)}))
    assert len(summary.done) == 1, summary.failed
    with lake.connect() as con:
        rows = con.execute(
            "select clean.memorized, count(*), count(*) filter (noisy.condition is not null)"
            " from stored.matches clean left join stored.matches noisy"
            " on noisy.sequence_id = clean.sequence_id and noisy.condition = 'float32-sdpa-noise0.1-token-layer0-seed0'"
            " where clean.condition = 'float32-sdpa' group by all order by all"
        ).fetchall()
    (_, others, taken), (_, memorized, all_of_them) = rows
    assert all_of_them == memorized > 0
    assert memorized <= taken < others


def test_a_cell_in_which_nothing_is_memorized(lake):
    lake, request = lake
    request = replace(request, bos=True)  # what was generated without a BOS token is not with it
    assert execute(lake, "scoring", request).done
    summary = execute(lake, "noise", replace(request, options={"among": "memorized"}))
    assert len(summary.done) == 1, summary.failed
    with lake.connect() as con:
        assert con.execute("select rows from stored.cells where experiment = 'noise'").fetchall() == [(0,)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": (0.1, 0.0)}, "strength 0 is the base row"),
        ({"strength": (-0.1,)}, "no strength -0.1: it is a positive number"),
        ({"seed": (0, 2**63)}, f"no seed {2**63}: it is a whole number of 64 bits"),
        ({"strength": (float("nan"),)}, "no strength nan"),
        ({"strength": (float("inf"),)}, "no strength inf"),
        ({"scope": "layer"}, "no --scope .layer.: it is token or row"),
        ({"scope": "row", "decoding": "greedy"}, "forced only"),
        ({"decoding": "beam"}, "it is forced or greedy"),
        ({"among": "some"}, "memorized, contrast or all"),
    ],
)
def test_options_that_a_user_can_mend(options, message):
    with pytest.raises(BadInput, match=message) as raised:
        make(Options, options, "experiment 'noise'")
    assert "\n" not in str(raised.value)


def test_strengths_and_seeds_are_sets():
    options = Options(strength=(1, 0.5, 0.5), seed=(2, 0, 2))
    assert (options.strength, options.seed, options.chosen_decoding) == ((0.5, 1.0), (0, 2), "greedy")
    assert Options(scope="row").chosen_decoding == "forced"


def test_a_layer_that_the_model_has_not(lake):
    lake, request = lake
    for layer in (-1, LAYERS):
        with pytest.raises(BadInput, match=f"tiny has no layer {layer}: it is 0 to {LAYERS - 1}"):
            plan(lake, "noise", noisy(request, layer=layer))
    with pytest.raises(BadInput, match="is not scored for tiny under float32-eager"):
        plan(lake, "noise", noisy(replace(request, attention="eager")))
