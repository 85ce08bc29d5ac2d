"""Which sequences an experiment takes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pyarrow as pa
import pytest

from memlake.compute.experiments import head_ablation
from memlake.compute.experiments.noise import NoiseSettings
from memlake.compute.experiments.scoring import ScoringSettings
from memlake.compute.experiments.short_circuit import TaskSettings
from memlake.compute.interventions.screen import Screen
from memlake.compute.models.conditions import Condition
from memlake.compute.planning import coverage
from memlake.compute.planning.cells import ModelCell
from memlake.compute.planning.chosen import chosen, whole_range
from memlake.compute.planning.coverage import Coverage, Shard, in_shard, shards
from memlake.compute.planning.request import Limits, Request, Subject
from memlake.compute.planning.settings import AMONG, ChoiceSettings
from memlake.compute.run import execute, plan
from memlake.tests.compute.miniatures.test_cells import put
from memlake.tests.compute.small_lake import ROWS, scored
from memlake.warehouse.errors import Conflict
from memlake.warehouse.identity import canonical
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import ModelSpec
from memlake.warehouse.publishing.forget import forget

SUBJECT = Subject(
    spec=ModelSpec("m", "/m"),
    condition=Condition("float32", "sdpa"),
    checkpoint_digest="sha256:1",
    weights_digest=None,
    tokenizer_digest="sha256:2",
    tokenizer="t",
    limits=Limits(vocabulary=100, positions=100, bos=0),
    parameters=1000,
)
SHARD = Shard("c", "d", "s", range(10), range(10))


def noise(strengths: tuple[float, ...], first: int = 0, last: int = 9, shard: Shard = SHARD, **other) -> NoiseSettings:
    own = {"decoding": "greedy", "layer": 0, "scope": "token", "seed": 0, "strengths": strengths}
    return NoiseSettings(**shard.choice(SUBJECT, "all") | {"first_rank": first, "last_rank": last} | own | other)


def scoring(decoding: str, first: int = 0, last: int = 9) -> ScoringSettings:
    place = SHARD.settings(SUBJECT) | {"first_rank": first, "last_rank": last}
    return ScoringSettings(**place, decoding=decoding)


def layers(first: int, last: int, among: str, caliper: float | None = None, beyond: tuple = ()) -> ChoiceSettings:
    place = SHARD.settings(SUBJECT) | {"first_rank": first, "last_rank": last}
    return ChoiceSettings(**place, among=among, caliper=caliper, beyond=tuple(s.choice for s in beyond) or None)


def test_items_that_are_missing_in_the_same_ranks_share_a_cell():
    done = [noise((0.1,)), noise((0.2, 0.5), last=4)]
    assert list(in_shard(SHARD, noise((0.1, 0.2, 0.3, 0.4)), done)) == [
        (done[0], 10),
        (done[1], 5),
        (noise((0.2,), first=5), 5),
        (noise((0.3, 0.4)), 10),
    ]
    other = Shard("c", "d", "s", range(10), range(3))
    assert list(in_shard(other, noise((0.1,), last=2, seed=1), done)) == [(noise((0.1,), last=2, seed=1), 3)]


def test_published_cells_that_hold_less_are_a_conflict(monkeypatch):
    monkeypatch.setattr(coverage, "shards", lambda *_: [SHARD])

    def covered(decoding: str, done: ScoringSettings) -> list[tuple[ScoringSettings, int]]:
        request = Request(models=("m",), corpora=("c",))
        planned = Coverage(None, SUBJECT, request, "scoring", [done])
        return list(planned.cells(lambda shard: scoring(decoding), lambda *made: made))

    done = scoring("greedy", last=4)
    assert covered("forced", done) == [(done, 5), (scoring("forced", first=5), 5)]
    with pytest.raises(Conflict, match=r"c d has been measured \(scoring, m\) with --decoding forced already"):
        covered("greedy", scoring("forced", last=4))


@pytest.mark.parametrize(
    ("limit", "expected"), [(3, [(0, 4, 3)]), (4, [(0, 4, 3), (9, 9, 1)]), (9, [(0, 4, 3), (9, 12, 2)])]
)
def test_a_limit_takes_the_first_sequences_of_a_sample(tmp_path, limit, expected):
    """Not its first ranks: those that gave no sequence are missing, and others stand at the end in their place."""
    lake = Lake.create(tmp_path / "lake")
    ranks = [("s", 0, r) for r in (0, 2, 4)] + [("s", 1, r) for r in (9, 12)] + [("other", 0, 7)]
    same = {"corpus": "c", "domain": "d", "tokenizer": "t", "tokens": [1, 2]}
    put(lake, "sequences", pa.Table.from_pylist([
        same | {"sequence_id": i, "sample": sample, "shard": shard, "rank": rank}
        for i, (sample, shard, rank) in enumerate(ranks)
    ]))  # fmt: skip
    asked = Request(models=("m",), corpora=("c",), limit=limit)
    found = {"s": [], "other": []}
    for shard in shards(lake, "t", asked):
        for settings, n in in_shard(shard, ScoringSettings(**shard.settings(SUBJECT), decoding="greedy"), []):
            found[shard.sample].append((settings.first_rank, settings.last_rank, n))
    assert found == {"s": expected, "other": [(7, 7, 1)]}


def new(wanted: ChoiceSettings, *done: ChoiceSettings) -> list[ChoiceSettings]:
    """The cells that are planned anew for ten ranks."""
    return [settings for settings, _ in in_shard(SHARD, wanted, done) if settings not in done]


def test_a_wider_among_goes_beyond_what_is_measured():
    few, contrast, every = layers(0, 9, "memorized"), layers(0, 9, "contrast", 0.2), layers(0, 9, "all")
    assert new(contrast) == [contrast]
    assert new(every) == [every]
    rest = layers(0, 9, "all", beyond=(few,))
    assert new(every, few) == [rest]
    assert new(every, few, rest) == new(contrast, few, rest) == []
    assert new(noise((0.2,)), noise((0.1,), among="memorized")) == [noise((0.2,))]
    # what former versions took as contrast is not asked for again
    assert new(contrast, layers(0, 9, "contrast")) == []
    # cells that hold fewer, of other ranks each
    done = layers(0, 3, "memorized"), layers(4, 5, "all"), layers(6, 7, "contrast")
    assert new(every, *done) == [layers(0, 3, "all", beyond=done[:1]), layers(6, 9, "all", beyond=done[2:])]
    # the cell that another went beyond was taken back: the other is not all of its ranks
    assert new(few, rest) == [layers(0, 9, "memorized", beyond=(rest,))]


def test_settings_are_stored_as_ever():
    """What ids are hashed from: lists, no key of what is not set, and parts that are left out as they were stored."""
    rest = layers(0, 9, "all", beyond=(layers(0, 3, "contrast", 0.2), layers(4, 9, "memorized")))
    same = {"model": "m", "checkpoint_digest": "sha256:1", "tokenizer_digest": "sha256:2", "condition": "float32-sdpa"}
    same |= {"corpus": "c", "domain": "d", "sample": "s", "first_rank": 0, "last_rank": 9, "among": "all"}
    parts = [{"first_rank": 0, "last_rank": 3, "among": "contrast", "caliper": 0.2}]
    parts += [{"first_rank": 4, "last_rank": 9, "among": "memorized"}]
    assert json.loads(canonical(rest.to_json())) == same | {"beyond": parts}
    assert ChoiceSettings.from_json(rest.to_json()) == rest
    task = TaskSettings(**SUBJECT.settings, task="arc_easy", task_digest=None, blocks=(None, (0, 1)))
    stored = {key: same[key] for key in ("model", "checkpoint_digest", "tokenizer_digest", "condition")}
    stored |= {"task": "arc_easy", "task_digest": None, "blocks": [None, [0, 1]]}
    assert json.loads(canonical(task.to_json())) == stored
    assert TaskSettings.from_json(stored) == task
    screened = head_ablation.HeadAblationSettings(
        **SHARD.choice(SUBJECT, "all"), method="mean", screen=True, screening=Screen(), reference=64
    )
    screening = {"estimated": 0.5, "rounds": [[0.25, 0.12]], "audited": 0.1, "least": 32}
    assert json.loads(canonical(screened.to_json()))["screening"] == screening
    assert head_ablation.HeadAblationSettings.from_json(json.loads(canonical(screened.to_json()))) == screened


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    return scored(tmp_path_factory.mktemp("road"))


@pytest.fixture
def lake(road, tmp_path):
    """A scored lake of one's own, partly memorized, and a request."""
    shutil.copytree(road[0].path, tmp_path / "lake")
    return Lake.open(tmp_path / "lake"), road[1]


def asked(request: Request, **options) -> Request:
    return replace(request, options=options)


def ids(lake: Lake, sql: str) -> list[int]:
    with lake.connect() as con:
        return [i for (i,) in con.execute(sql).fetchall()]


MEMORIZED = "select sequence_id from stored.matches where memorized"


def test_each_sequence_is_measured_once_however_among_grew(lake):
    lake, request = lake
    execute(lake, "short_circuit", asked(replace(request, limit=8), among="contrast", blocks=("0",)))
    for among in AMONG:
        summary = execute(lake, "short_circuit", asked(request, among=among, blocks=("0",)))
        assert not summary.failed, summary.failed
        assert plan(lake, "short_circuit", asked(request, among=among, blocks=("0",)))[1] == set()
        rows = ids(lake, "select sequence_id from stored.block_deltas")
        assert len(rows) == len(set(rows)) and set(rows) >= set(ids(lake, MEMORIZED))
    assert len(rows) == ROWS
    cells = ids(lake, "select cell from stored.cells where experiment = 'short_circuit' order by finished_at")
    assert len(cells) == 4
    # the first is taken back: it alone is measured again, whatever is asked for first
    gone = set(ids(lake, f"select sequence_id from stored.block_deltas where cell = '{cells[0]}'"))
    forget(lake, cell=cells[0])
    for among in ("memorized", "all"):
        execute(lake, "short_circuit", asked(request, among=among, blocks=("0",)))
        again = ids(lake, "select sequence_id from stored.block_deltas")
        assert len(again) == len(set(again)) and set(again) >= set(ids(lake, MEMORIZED))
    assert gone and set(again) == set(rows)


WITHOUT = {"prompt_compression": "score_distribution", "head_ablation": "--among all", "short_circuit": "--among all",
           "layer_tokens": "--among all", "noise": "--among all"}  # fmt: skip


@pytest.mark.parametrize("experiment", WITHOUT)
def test_where_nothing_is_memorized_it_is_said_and_all_can_be_asked_for(lake, experiment, capsys, monkeypatch):
    lake, request = lake
    request = replace(request, bos=True)  # what was generated without a BOS token is not with it
    assert execute(lake, "scoring", request).done
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(ModelCell, "load", lambda *_: pytest.fail("a model is loaded for nothing"))
        summary = execute(lake, experiment, request)
    assert len(summary.done) == 1, summary.failed
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "memorized" in line)
    assert line.startswith(f"tiny on mine: of {ROWS} scored sequences none is memorized")
    assert WITHOUT[experiment] in line
    with lake.connect() as con:
        (rows,) = con.execute("select rows from stored.cells where experiment = ?", [experiment]).fetchone()
    assert rows == 0
    if experiment == "prompt_compression":
        return
    cells, todo = plan(lake, experiment, asked(request, among="all"))
    assert (len(cells), len(todo)) == (2, 1)
    assert [c.sequences for c in cells if c.id in todo] == [ROWS]
    summary = execute(lake, experiment, asked(request, among="all"))
    assert (len(summary.done), summary.skipped) == (1, 1), summary.failed
    assert "none is memorized" not in capsys.readouterr().err


def test_what_is_memorized_is_not_said_to_be_nothing(lake, capsys):
    lake, request = lake
    execute(lake, "layer_tokens", request)
    assert "none is memorized" not in capsys.readouterr().err
    (cell,) = plan(lake, "layer_tokens", request)[0]
    assert cell.settings.caliper == 0.2
    for among in AMONG:
        assert chosen(lake, cell.settings, whole_range(cell.settings, among), "words").num_rows
