"""Into which cells a long range is divided, and that their rows are those of the whole."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import isclose

import pytest

from memlake.compute import run
from memlake.compute.planning import coverage
from memlake.compute.planning.coverage import LEAST, Shard, in_shard, parts
from memlake.compute.planning.request import Request
from memlake.compute.planning.settings import ChoiceSettings, RangeSettings
from memlake.compute.run import execute, plan
from memlake.tests.compute.small_lake import ROWS, scored
from memlake.warehouse.lake import Lake
from memlake.warehouse.work.cells import Cell

from .test_coverage import SUBJECT


@dataclass(frozen=True)
class Counted:
    """What of a cell decides whether it is divided."""

    settings: RangeSettings
    sequences: int


def cells(ranks: Sequence[int], most: int, asked: Sequence[int] | None = None, done: Sequence[RangeSettings] = ()):
    """The new cells of a shard where one of `most` sequences is as long as allowed."""
    shard = Shard("c", "d", "s", ranks, ranks if asked is None else asked)
    wanted = RangeSettings(**shard.settings(SUBJECT))
    return [
        cell
        for settings, n in in_shard(shard, wanted, done)
        if settings not in done
        for cell in parts(shard, settings, n, Counted, lambda cell: cell.sequences <= most)
    ]


def bounds(found: Sequence[Counted]) -> list[tuple[int, int, int]]:
    return [(c.settings.first_rank, c.settings.last_rank, c.sequences) for c in found]


@pytest.mark.parametrize(
    ("ranks", "most", "expected"),
    [
        (range(1000), 1000, [(0, 999, 1000)]),
        (range(1000), 999, [(0, 511, 512), (512, 999, 488)]),
        (range(1000), 511, [(0, 255, 256), (256, 511, 256), (512, 999, 488)]),
        (range(1000), 1, [(0, 255, 256), (256, 511, 256), (512, 767, 256), (768, 999, 232)]),  # not below LEAST
        (range(LEAST), 1, [(0, 255, 256)]),
        # a shard that begins later is divided at multiples counted from there
        (range(1000, 1600), 512, [(1000, 1511, 512), (1512, 1599, 88)]),
        # of ranks that gave no sequence a cell's bounds know nothing
        ([r for r in range(700) if r not in (511, 512)], 600, [(0, 510, 511), (513, 699, 187)]),
    ],
)
def test_a_long_range_is_divided_at_multiples_of_powers_of_two(ranks, most, expected):
    assert bounds(cells(list(ranks), most)) == expected


def test_a_limit_and_what_is_published_leave_the_bounds_where_they_are():
    assert bounds(cells(range(5000), 1024, asked=range(1500))) == [(0, 1023, 1024), (1024, 1499, 476)]
    (done,) = (c.settings for c in cells(range(300), 1024))
    assert bounds(cells(range(5000), 1024, range(2500), [done])) == [
        (300, 1023, 724),
        (1024, 2047, 1024),
        (2048, 2499, 452),
    ]


@pytest.mark.parametrize("seed", range(20))
def test_cells_nest_and_each_rank_is_in_one(seed):
    """Whatever the rates of runs that were killed, and whatever ranks gave no sequence."""
    draw = random.Random(seed)
    start = draw.choice([0, 1, 777])
    ranks = sorted(draw.sample(range(start, start + 6000), draw.randrange(1, 5000)))
    every = [bounds(cells(ranks, most)) for most in (256, 300, 512, 1000, 4096)]
    for small, large in pairwise(every):
        assert all(sum(a <= first and last <= b for a, b, _ in large) == 1 for first, last, _ in small)
    assert len(every[0]) > len(every[-1]) or len(ranks) <= LEAST
    done: list[RangeSettings] = []
    for _ in range(5):
        asked = ranks[: draw.randrange(1, len(ranks) + 1)]
        found = cells(ranks, draw.randrange(1, 3000), asked, done)
        done += [c.settings for c in draw.sample(found, draw.randrange(len(found) + 1))]
    found = cells(ranks, draw.randrange(1, 3000), ranks, done)
    assert sum(c.sequences for c in found) == sum(
        not any(s.first_rank <= rank <= s.last_rank for s in done) for rank in ranks
    )
    ranges = [(s.first_rank, s.last_rank) for s in [*done, *(c.settings for c in found)]]
    assert all(sum(first <= rank <= last for first, last in ranges) == 1 for rank in ranks)


def test_what_contrast_chooses_among_is_kept_over_kills_and_limits():
    shard = Shard("c", "d", "s", range(4000), range(4000))

    def new(asked: Sequence[int], most: int, done: Sequence[ChoiceSettings]) -> list[ChoiceSettings]:
        here = replace(shard, asked=asked)
        wanted = ChoiceSettings(**here.choice(SUBJECT, "contrast"))
        return [
            cell.settings
            for settings, n in in_shard(here, wanted, done)
            if settings not in done
            for cell in parts(here, settings, n, Counted, lambda cell: cell.sequences <= most)
        ]

    whole = new(range(1000), 1000, [])
    assert [s.within for s in whole] == [None]
    halves = new(range(1000), 600, [])
    assert [(s.first_rank, s.last_rank, s.within) for s in halves] == [(0, 511, (0, 999)), (512, 999, (0, 999))]
    # one of them was published, then more was asked for, at another rate
    more = new(range(3000), 1024, halves[1:])
    assert [(s.first_rank, s.last_rank, s.within) for s in more] == [
        (0, 511, (0, 999)),
        (1000, 1023, (1000, 2999)),
        (1024, 2047, (1000, 2999)),
        (2048, 2999, (1000, 2999)),
    ]
    assert more[0] == halves[0]
    # all of a range that `beyond` names is read, and a part names what it meets
    rest = replace(halves[0], among="all", caliper=None, within=None).beside(halves)
    assert (rest.reach, rest.part(0, 100).beyond) == ((0, 999), (halves[0].choice,))
    assert ChoiceSettings.from_json(rest.to_json()) == rest
    assert ChoiceSettings.from_json(halves[0].to_json()) == halves[0]


EXPERIMENTS = [
    ("scoring", {"decoding": "greedy"}, "matches"),
    ("prompt_compression", {}, "prompt_compression"),
    ("noise", {"strength": (0.1, 0.3)}, "matches_all layer_similarity"),
    ("noise", {"strength": (0.2,), "among": "all"}, "matches_all layer_similarity"),
    ("layer_tokens", {}, "layer_tokens"),
    ("layer_tokens", {"among": "memorized"}, "layer_tokens"),
    ("head_ablation", {}, "head_deltas head_effects"),
    ("head_ablation", {"among": "all", "method": "resample"}, "head_deltas head_effects"),
    ("short_circuit", {"among": "all"}, "block_deltas"),
    ("short_circuit", {"among": "contrast"}, "block_deltas"),
]


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    return scored(tmp_path_factory.mktemp("road"))


@pytest.mark.parametrize(("experiment", "options", "tables"), EXPERIMENTS)
def test_parts_have_the_rows_of_the_whole(road, tmp_path, monkeypatch, experiment, options, tables):
    """Also where a run was killed, and the next one took other parts."""
    lake, parted = (Lake.open(shutil.copytree(road[0].path, tmp_path / name)) for name in ("whole", "parted"))
    request = replace(road[1], options=options)
    if experiment == "scoring":
        request = replace(request, bos=True)  # it is scored without
    (whole,), _ = plan(lake, experiment, request)
    assert execute(lake, experiment, request).done == [whole.id]
    with monkeypatch.context() as patch:
        patch.setattr(coverage, "LEAST", 3)
        short = replace(request, cell_minutes=1e-9)
        found, _ = plan(parted, experiment, short)
        assert len(found) > 2
        stop_after(parted, experiment, short, found[1:2])
        patch.setattr(coverage, "LEAST", 6)
        summary = execute(parted, experiment, short)
        assert summary.done and not summary.failed, summary.failed
    assert plan(parted, experiment, request)[1] == set()  # whatever it had been cut into
    for table in tables.split():
        same(table_rows(lake, table), table_rows(parted, table))


def stop_after(lake: Lake, experiment: str, request: Request, some: Sequence[Cell]) -> None:
    """Only these of the cells, as a run that was killed leaves them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "plan", lambda *_: (some, {cell.id for cell in some}))
        assert execute(lake, experiment, request).done


def table_rows(lake: Lake, table: str) -> list[dict]:
    """The rows but for their cell, in order; of `head_effects`, which has one a cell, the sums over cells."""
    with lake.connect() as con:
        if table == "head_effects":
            sql = """
                select layer, head, sum(n)::bigint as n, sum(n_lost)::bigint as n_lost,
                    sum(n * mean_delta_logprob) as total from stored.head_effects group by all"""
        else:
            sql = f"select * exclude cell from stored.{table.removesuffix('_all')}"
        rows = con.execute(sql).to_arrow_table()
        keys = [name for name in rows.column_names if name in KEYS]
        return rows.sort_by([(key, "ascending") for key in keys]).to_pylist()


KEYS = ("sequence_id", "condition", "part", "position", "layer", "head", "first_block", "last_block")


def same(expected: list[dict], found: list[dict]) -> None:
    assert len(expected) == len(found) > 0
    for a, b in zip(expected, found, strict=True):
        assert a.keys() == b.keys()
        for name, value in a.items():
            assert alike(value, b[name]), (name, value, b[name])


def alike(a: object, b: object) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return isclose(a, b, rel_tol=1e-4, abs_tol=1e-5)
    return a == b


def test_screening_is_not_divided(road, monkeypatch):
    lake, request = road
    monkeypatch.setattr(coverage, "LEAST", 3)
    request = replace(request, cell_minutes=1e-9, options={"among": "all", "screen": True})
    (cell,), _ = plan(lake, "head_ablation", request)
    assert cell.sequences == ROWS
    pairs = plan(lake, "head_ablation", replace(request, options={"among": "all"}))[0]
    assert [cell.sequences for cell in pairs] == [2] * (ROWS // 2)  # four would be more than three
