"""What cells cost, by what was done before."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from memlake.compute.experiments.head_ablation import HeadAblationCell, HeadAblationSettings
from memlake.compute.experiments.layer_tokens import LayerTokensCell
from memlake.compute.experiments.noise import NoiseCell
from memlake.compute.experiments.scoring import ScoringCell
from memlake.compute.experiments.short_circuit import TaskCell, TaskSettings
from memlake.compute.planning.cost import Rates, Sizes, row_count, summary
from memlake.compute.planning.request import Execution, Request
from memlake.compute.planning.settings import ChoiceSettings
from memlake.tests.compute.miniatures.test_cells import put
from memlake.warehouse.lake import Lake

from .test_coverage import SHARD, SUBJECT, noise, scoring

START = datetime(2026, 1, 1, tzinfo=UTC)
CPU = Request(models=("m",), corpora=("c",), device="cpu")
GPU = replace(CPU, device="cuda")


@pytest.fixture
def lake(tmp_path):
    """Three models of 1000, 2000 and 64,000 parameters."""
    lake = Lake.create(tmp_path / "lake")
    put(lake, "models", pa.Table.from_pylist(
        [{"model": name, "n_params": n, "base_condition": "float32-sdpa"}
         for name, n in (("m", 1000), ("twice", 2000), ("large", 64_000))]))  # fmt: skip
    put(lake, "conditions", pa.Table.from_pylist(
        [{"condition": f"{dtype}-sdpa{bos}", "dtype": dtype} for dtype in ("float32", "bfloat16")
         for bos in ("", "-bos")]))  # fmt: skip
    return lake


def ran(lake: Lake, *attempts: tuple[int, float], device: str = "cpu x86_64", experiment: str = "scoring", **said):
    """Cells of so many rows and seconds that were done."""
    settings = {"model": "m", "condition": "float32-sdpa", "decoding": "greedy"} | said
    put(lake, "cells", pa.Table.from_pylist([
        {
            **{"cell": f"{said} {device} {i}", "experiment": experiment, "settings": json.dumps(settings)},
            **{"rows": rows, "seconds": seconds, "device": device, "outcome": "done"},
            "finished_at": START + timedelta(seconds=lake.version("cells")),
        }
        for i, (rows, seconds) in enumerate(attempts)
    ]))  # fmt: skip


def cell(n: int = 100, decoding: str = "greedy") -> ScoringCell:
    return ScoringCell(scoring(decoding), SUBJECT, Execution(), n, 0)


def seconds(lake: Lake, of, request: Request = CPU, experiment: str = "scoring") -> tuple[float, str]:
    rates = Rates(lake, experiment, request)
    return pytest.approx(rates.seconds(of)), rates.of(of).source


def test_nothing_was_done(lake):
    paper = 100 * 64 * 2 * 1000 * 2
    assert seconds(lake, cell()) == (paper / 2e10, "on paper, 2e+10 FLOP/s")
    assert seconds(lake, cell(decoding="forced")) == (paper / 2 / 2e10, "on paper, 2e+10 FLOP/s")
    assert seconds(lake, cell(), GPU)[1] == "on paper, 1e+13 FLOP/s"
    assert seconds(lake, cell(), replace(CPU, flops=3e14)) == (paper / 3e14, "on paper, 3e+14 FLOP/s")


def test_small_cells_do_not_tell(lake):
    """Most of their time a model is loaded. Of the three large ones one loaded it, too."""
    ran(lake, (5, 10), (7, 10), (500, 50), (400, 40), (450, 95))
    assert seconds(lake, cell()) == (10, "3 cells of 450 rows on cpu x86_64")


def test_only_what_is_alike_tells(lake):
    ran(lake, (100, 1), decoding="forced")
    ran(lake, (100, 2), device="NVIDIA H200")
    ran(lake, (100, 3), condition="bfloat16-sdpa")
    ran(lake, (100, 4), experiment="noise")
    forced = seconds(lake, cell())  # what these reach, and twice the forwards
    assert forced == (2, "1.3e+07 FLOP/s as scoring had, 1 cell of 100 rows on cpu x86_64")
    ran(lake, (100, 5), condition="float32-sdpa-bos")
    assert seconds(lake, cell()) == (5, "1 cell of 100 rows on cpu x86_64, float32-sdpa-bos")
    ran(lake, (100, 6))
    assert seconds(lake, cell()) == (6, "1 cell of 100 rows on cpu x86_64")
    assert seconds(lake, cell(), GPU) == (2, "1 cell of 100 rows on NVIDIA H200")
    assert seconds(lake, cell(), replace(CPU, flops=1e6))[1] == "on paper, 1e+06 FLOP/s"
    ran(lake, (100, 7), device="NVIDIA L4")  # the last device
    assert seconds(lake, cell(), GPU) == (7, "1 cell of 100 rows on NVIDIA L4")


def test_other_models_tell_by_their_parameters(lake):
    ran(lake, (100, 64), model="large")
    assert seconds(lake, cell()) == (1, "1 cell of 100 rows on cpu x86_64, large")
    ran(lake, (100, 8), (100, 8), model="twice")  # it is nearer
    assert seconds(lake, cell()) == (4, "2 cells of 100 rows on cpu x86_64, twice")


def test_another_experiment_goes_as_scoring_did(lake):
    """By its forwards; once it was done, as it went itself."""
    ran(lake, (100, 8), model="twice")
    settings = noise((0.1, 0.2))
    of = NoiseCell(settings, SUBJECT, Execution(), 10, 9)
    assert row_count(of) == 2 * 10 + 2 * 19
    # twice as large: 0.08 s for 2 forwards; here 7 forwards of 10 sequences
    source = "6.4e+06 FLOP/s as scoring had, 1 cell of 100 rows on cpu x86_64, twice"
    assert seconds(lake, of, experiment="noise") == (0.02 * 7 * 10, source)
    ran(lake, (58, 3), experiment="noise", strengths=[0.5])
    assert seconds(lake, of, experiment="noise") == (3, "1 cell of 58 rows on cpu x86_64")
    layers = LayerTokensCell(ChoiceSettings(**SHARD.choice(SUBJECT, "all")), SUBJECT, Execution(), 10, 320)
    ran(lake, (640, 5), experiment="layer_tokens")
    assert seconds(lake, layers, experiment="layer_tokens") == (2.5, "1 cell of 640 rows on cpu x86_64")


def test_screening_is_not_told_by_rows(lake):
    """How many it measures is seen on the way."""
    ran(lake, (100, 2))
    for screen in (False, True):
        ran(lake, (90, 1), experiment="head_ablation", screen=screen)
    settings = HeadAblationSettings(**SHARD.choice(SUBJECT, "all"), method="zero", screen=False)
    of = HeadAblationCell(settings, SUBJECT, Execution(), 10, 8)
    assert row_count(of) == 8 + 80 + 0 and seconds(lake, of, experiment="head_ablation")[0] == 88 / 90
    screened = HeadAblationCell(replace(settings, screen=True), SUBJECT, Execution(), 10, 8)
    assert row_count(screened) is None
    assert seconds(lake, screened, experiment="head_ablation")[0] == 10 * 0.01 * (1 + 8 / 2) / 12
    (row,) = summary(lake, "head_ablation", CPU, [of, screened])
    assert (row["cells"], row["sequences"], row["rows"], row["bytes"]) == (2, 20, None, None)


def test_a_task_takes_as_long_on_any_device(lake):
    settings = TaskSettings(**SUBJECT.settings, task="t", task_digest=None, blocks=(None, (0, 0)))
    of = TaskCell(settings, SUBJECT, Execution(), 0, "t")
    assert row_count(of) is None
    assert [seconds(lake, of, asked, "short_circuit")[0] for asked in (CPU, GPU)] == [1200, 1200]


def test_bytes(lake):
    sizes = Sizes(lake)
    paper = sizes.of(cell(1000))
    assert 200_000 < paper < 1_000_000  # each row has two lists of 32 numbers, besides
    rows = [{"cell": "a", "model": "m", "corpus": "c", "domain": "d", "sequence_id": i} for i in range(5000)]
    put(lake, "matches", pa.Table.from_pylist(rows))
    put(lake, "matches", pa.Table.from_pylist([{**rows[0], "cell": "b", "sequence_id": 5001}]))  # all frame
    (large,) = (file for file in lake.snapshot("matches") if file.rows == 5000)
    assert Sizes(lake).of(cell(1000)) == round(large.size / 5)
    (row,) = summary(lake, "scoring", CPU, [cell(1000), cell(500)])
    assert (row["cells"], row["sequences"], row["rows"]) == (2, 1500, 1500)
    assert row["bytes"] == pytest.approx(1500 * large.size / 5000, abs=2)
    assert row["hours"] == pytest.approx(1500 * 64 * 2 * 1000 * 2 / 2e10 / 3600)
    assert row["rate"] == "on paper, 2e+10 FLOP/s"
