"""Which sequences an experiment takes."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from memlake.compute.planning import coverage as cover
from memlake.compute.planning.coverage import AMONG, Ask, chosen
from memlake.compute.planning.request import Request
from memlake.compute.run import execute, plan
from memlake.tests.compute.small_lake import ROWS, scored
from memlake.tests.ingest.here import run_here
from memlake.warehouse.errors import Conflict
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.forget import forget

PLACE = {"corpus": "c", "domain": "d", "sample": "s"}


def covered(monkeypatch, ask: Ask, *done: dict, limit: int | None = None) -> list[tuple]:
    """What `cover` gives for ten ranks: (first rank, last rank, number, the list, published)."""
    cells = [PLACE | {"model": "m"} | d for d in done]
    monkeypatch.setattr(cover, "published", lambda lake, experiment: [("cell", c) for c in cells])
    monkeypatch.setattr(cover, "_shards", lambda *_: [(PLACE, list(range(10)))])

    class Subject:
        tokenizer = "t"

    found = cover.cover(None, Subject(), Request(models=("m",), corpora=("c",), limit=limit), ask)
    return [(s["first_rank"], s["last_rank"], n, s.get("strengths"), s in cells) for s, n in found]


def ranks(first: int, last: int, **more) -> dict:
    return {"first_rank": first, "last_rank": last, **more}


def test_items_that_are_missing_in_the_same_ranks_share_a_cell(monkeypatch):
    ask = Ask("noise", {"model": "m"}, items=("strengths", [0.1, 0.2, 0.3, 0.4]))
    done = ranks(0, 9, strengths=[0.1]), ranks(0, 4, strengths=[0.2, 0.5])
    assert covered(monkeypatch, ask, *done) == [
        (0, 9, 10, [0.1], True),
        (0, 4, 5, [0.2, 0.5], True),
        (5, 9, 5, [0.2], False),
        (0, 9, 10, [0.3, 0.4], False),
    ]
    other = Ask("noise", {"model": "other"}, items=("strengths", [0.1]))
    assert covered(monkeypatch, other, *done, limit=3) == [(0, 2, 3, [0.1], False)]


def test_published_cells_that_hold_less_of_a_level_are_a_conflict(monkeypatch):
    def ask(decoding):
        return Ask("x", {"model": "m"}, levels={"decoding": (decoding, ("forced", "greedy"))})

    done = ranks(0, 4, decoding="greedy")
    assert covered(monkeypatch, ask("forced"), done) == [(0, 4, 5, None, True), (5, 9, 5, None, False)]
    with pytest.raises(Conflict, match="with --decoding forced already"):
        covered(monkeypatch, ask("greedy"), ranks(0, 4, decoding="forced"))


@pytest.mark.parametrize(
    ("limit", "expected"), [(3, [(0, 4, 3)]), (4, [(0, 4, 3), (9, 9, 1)]), (9, [(0, 4, 3), (9, 12, 2)])]
)
def test_a_limit_takes_the_first_sequences_of_a_sample(monkeypatch, limit, expected):
    """Not its first ranks: those that gave no sequence are missing, and others stand at the end in their place."""
    monkeypatch.setattr(cover, "published", lambda lake, experiment: [])
    shards = [(PLACE, [0, 2, 4]), (PLACE, [9, 12]), (PLACE | {"sample": "other"}, [7])]
    monkeypatch.setattr(cover, "_shards", lambda *_: shards)

    class Subject:
        tokenizer = "t"

    asked = Request(models=("m",), corpora=("c",), limit=limit)
    found = [
        (s["sample"], (s["first_rank"], s["last_rank"], n))
        for s, n in cover.cover(None, Subject(), asked, Ask("x", {}))
    ]
    assert [place for sample, place in found if sample == "s"] == expected
    assert [place for sample, place in found if sample == "other"] == [(7, 7, 1)]


def planned(monkeypatch, among: str, *done: dict, item: float | None = None) -> list[dict]:
    """Of the cells that `cover` plans anew for ten ranks: which sequences they take."""
    cells = [PLACE | {"model": "m"} | d for d in done]
    monkeypatch.setattr(cover, "published", lambda lake, experiment: [("cell", c) for c in cells])
    monkeypatch.setattr(cover, "_shards", lambda *_: [(PLACE, list(range(10)))])

    class Subject:
        tokenizer = "t"

    ask = Ask("x", {"model": "m"}, items=None if item is None else ("strengths", [item]), among=among)
    found = cover.cover(None, Subject(), Request(models=("m",), corpora=("c",)), ask)
    return [{key: s[key] for key in cover.OWN if key in s} for s, _ in found if s not in cells]


def test_a_wider_among_goes_beyond_what_is_measured(monkeypatch):
    few, contrast = ranks(0, 9, among="memorized"), ranks(0, 9, among="contrast", caliper=0.2)
    assert planned(monkeypatch, "contrast") == [contrast]
    assert planned(monkeypatch, "all") == [ranks(0, 9, among="all")]  # as before, so that ids stay
    rest = ranks(0, 9, among="all", beyond=[few])
    assert planned(monkeypatch, "all", few) == [rest]
    assert planned(monkeypatch, "all", few, rest) == planned(monkeypatch, "contrast", few, rest) == []
    assert planned(monkeypatch, "all", few | {"strengths": [0.1]}, item=0.2) == [ranks(0, 9, among="all")]
    # what former versions took as contrast is not asked for again
    assert planned(monkeypatch, "contrast", ranks(0, 9, among="contrast")) == []
    # cells that hold fewer, of other ranks each
    done = ranks(0, 3, among="memorized"), ranks(4, 5, among="all"), ranks(6, 7, among="contrast")
    assert planned(monkeypatch, "all", *done) == [
        ranks(0, 3, among="all", beyond=[done[0]]),
        ranks(6, 9, among="all", beyond=[done[2]]),
    ]
    # the cell that another went beyond was taken back: the other is not all of its ranks
    assert planned(monkeypatch, "memorized", rest) == [few | {"beyond": [rest]}]


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("memlake.compute.run.run", run_here)
        yield scored(tmp_path_factory.mktemp("road"))


@pytest.fixture
def lake(road, tmp_path, monkeypatch):
    """A scored lake of one's own, partly memorized, and a request."""
    monkeypatch.setattr("memlake.compute.run.run", run_here)
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
        patch.setattr("memlake.compute.experiments.noise.held", lambda *_: pytest.fail("a model is loaded for nothing"))
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
    assert [c.task["sequences"] for c in cells if c.id in todo] == [ROWS]
    summary = execute(lake, experiment, asked(request, among="all"))
    assert (len(summary.done), summary.skipped) == (1, 1), summary.failed
    assert "none is memorized" not in capsys.readouterr().err


def test_what_is_memorized_is_not_said_to_be_nothing(lake, capsys):
    lake, request = lake
    execute(lake, "layer_tokens", request)
    assert "none is memorized" not in capsys.readouterr().err
    (cell,) = plan(lake, "layer_tokens", request)[0]
    assert cell.settings["caliper"] == 0.2
    for among in AMONG:
        assert chosen(lake, cell.settings, cell.task["tokenizer"], among).num_rows
