"""Cells that are published together: as one after the other, in one file and one entry a table, whatever is killed."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memlake.tests.small import DOMAINS, MadeCell, N, ingested, made_cell, make_lake, match_rows, put_cell, stage_rows
from memlake.warehouse import schema
from memlake.warehouse.identity import hash63
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing import compact as compacting
from memlake.warehouse.publishing import forget as forgetting
from memlake.warehouse.publishing import publish as publish_module
from memlake.warehouse.publishing.check import check
from memlake.warehouse.publishing.forget import forget
from memlake.warehouse.publishing.publish import data_tables, publish
from memlake.warehouse.relation import relation
from memlake.warehouse.work.cells import plan
from memlake.warehouse.work.runner import recover

DOMAIN = DOMAINS[0]
Put = tuple[MadeCell, dict[str, list[dict[str, Any]]]]  # a cell, and its rows


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Lake:
    return make_lake(tmp_path_factory.mktemp("together") / "lake")


@pytest.fixture
def lake(prepared, tmp_path) -> Lake:
    return copy(prepared, tmp_path / "lake")


def copy(lake: Lake, path: Path) -> Lake:
    return Lake.open(shutil.copytree(lake.path, path))


def scores(part: int, first: int, last: int, domain: str = DOMAIN) -> Put:
    """A cell of some of a domain's rows of `matches`."""
    settings = {"model": "m", "corpus": "mine", "domain": domain, "condition": "float32 sdpa", "part": part}
    return made_cell("small", settings, "matches"), {"matches": match_rows(domain)[first:last]}


def texts(part: int, domain: str, class_: str = "structural", n: int = 3) -> Put:
    """A cell of some documents of a domain."""
    rows = {name: piece.to_pylist() for name, piece in ingested(domain, n)}
    for i, row in enumerate(rows["documents"]):
        row |= {"document_id": hash63(part, domain, i), "text": f"{part} {i}", "n_bytes": len(f"{part} {i}")}
        row |= {"text_hash": hash63(f"{part} {i}")}
    rows["domains"][0]["class"] = class_
    del rows["sequences"]
    return made_cell("read", {"corpus": "mine", "part": part}, *rows), rows


def published(lake: Lake) -> list[list[tuple]]:
    """All rows of all tables but when they were written."""
    with lake.connect() as con:
        return [
            sorted(
                con.execute(f"select columns(c -> c not like '%\\_at' escape '\\') from stored.{name}").fetchall(),
                key=repr,
            )
            for name in schema.names()
        ]


def nothing_lies_about(lake: Lake) -> None:
    """Every file is in a log, and nothing waits."""
    for name in schema.names():
        lying = {str(p) for p in (lake.path / name).rglob("*.parquet") if "_delta_log" not in p.parts}
        assert lying == set(lake.files(name)), name
    assert [p.name for p in lake.staging.iterdir() if p.is_dir()] == []


def put_together(lake: Lake, puts: list[Put]) -> list[str | None]:
    folders = [stage_rows(lake, *put) for put in puts]
    ended = publish(lake, folders)
    recover(lake)
    return [ended[folder] for folder in folders]


THREE = [scores(0, 0, 10), scores(1, 10, 25), scores(2, 25, N)]
MIXED = [*THREE, scores(3, 0, N, DOMAINS[1]), texts(4, DOMAIN), texts(5, DOMAIN), texts(6, "new"), texts(7, "new")]


def test_together_as_one_after_the_other(lake, prepared, tmp_path):
    alone = copy(prepared, tmp_path / "alone")
    assert [put_cell(alone, *put) for put in MIXED] == [None] * len(MIXED)
    versions = {name: lake.version(name) for name in schema.names()}
    assert put_together(lake, MIXED) == [None] * len(MIXED)
    assert published(lake) == published(alone)
    assert {n: lake.version(n) - versions[n] for n in ("matches", "documents", "domains")} == {
        "matches": 2,  # of two domains: other settings, judged apart
        "documents": 1,
        "domains": 1,
    }
    assert len(lake.files("matches", domain=DOMAIN)) == 1 and len(alone.files("matches", domain=DOMAIN)) == 3
    with lake.connect([]) as con:
        (merged,) = lake.files("matches", domain=DOMAIN)
        ids = [i for (i,) in con.execute(f"select sequence_id from '{merged}'").fetchall()]
        assert ids == sorted(ids) and len(ids) == N  # as the table is sorted
    assert list(check(lake)) == [] == list(check(alone))
    nothing_lies_about(lake)


def test_no_more_rows_than_fit_are_judged_at_once(lake, prepared, tmp_path, monkeypatch):
    alone = copy(prepared, tmp_path / "alone")
    assert [put_cell(alone, *put) for put in THREE] == [None] * 3
    monkeypatch.setattr(publish_module, "TOGETHER", 25)  # of cells of 10, 15 and N - 25 rows
    version = lake.version("matches")
    assert put_together(lake, THREE) == [None] * 3
    assert lake.version("matches") - version == 2
    assert published(lake) == published(alone)
    nothing_lies_about(lake)


def test_one_that_does_not_pass_takes_no_other_along(lake, prepared, tmp_path):
    spoiled = scores(1, 10, 25)
    spoiled[1]["matches"][4] |= {"n_match": 99}
    alone = copy(prepared, tmp_path / "alone")
    reasons = [put_cell(alone, *put) for put in (THREE[0], spoiled, THREE[2])]
    assert "matches.n_match_counts_bits (1)" in reasons[1]
    assert put_together(lake, [THREE[0], spoiled, THREE[2]]) == reasons
    assert published(lake) == published(alone)
    nothing_lies_about(lake)


def test_of_two_with_one_key_the_first_is_published(lake):
    reasons = put_together(lake, [scores(0, 0, 10), scores(1, 9, 20), scores(2, 20, N)])
    assert reasons[0] is None and reasons[2] is None
    assert "matches.key_not_published (1)" in reasons[1]
    with lake.connect(["matches"]) as con:
        assert (
            con.execute("select count(*), count(distinct sequence_id) from stored.matches").fetchone() == (N - 10,) * 2
        )


def test_they_are_judged_against_each_other(lake):
    """A domain that both bring, of two classes: nothing of it was published before."""
    reasons = put_together(lake, [texts(0, "new"), texts(1, "new", "free_text"), texts(2, "other", "free_text")])
    assert reasons[0] is None and reasons[2] is None
    assert "domains.one_class_a_domain (1)" in reasons[1]
    assert list(check(lake)) == []


def test_a_row_that_calls_itself_another_cells(lake):
    """It is told by the number of rows, for of many cells no one is named to the expectations."""
    first, second = scores(0, 0, 10), scores(1, 10, 20)
    second[1]["matches"][3]["cell"] = first[0].id
    for row in second[1]["matches"]:
        row.setdefault("cell", second[0].id)
    reasons = put_together(lake, [first, second])
    assert reasons[0] is None and "matches.cell_of_the_file (1)" in reasons[1]


@pytest.mark.parametrize("seed", range(3))
def test_any_cells_in_any_order(prepared, tmp_path, seed):
    """Windows that overlap, and rows with defects: the outcomes of one after the other."""
    chance = random.Random(seed)
    puts = []
    for part in range(7):
        first = chance.randrange(N - 5)
        put = scores(part, first, first + chance.randint(1, 8))
        if chance.random() < 0.3:
            put[1]["matches"][0] |= {"score": 0.123}
        puts.append(put)
    lakes = [copy(prepared, tmp_path / way) for way in ("alone", "together")]
    alone = [put_cell(lakes[0], *put) for put in puts]
    together = put_together(lakes[1], puts)
    kept = [
        [r["sequence_id"] for r in put[1]["matches"]] for put, reason in zip(puts, together, strict=True) if not reason
    ]
    assert len({i for ids in kept for i in ids}) == sum(map(len, kept))  # no key twice
    defects = ["score_is_share" in (reason or "") for reason in alone]
    assert ["score_is_share" in (reason or "") for reason in together] == defects
    # One that shares a key with none that is published is published
    for put, reason, defect in zip(puts, together, defects, strict=True):
        if reason and not defect:
            assert {r["sequence_id"] for r in put[1]["matches"]} & {i for ids in kept for i in ids}


class Killed(BaseException):
    pass


def kill_before(patch: pytest.MonkeyPatch, step: int) -> list[int]:
    """What changes files does so until the step of this number, and nothing from then on; the steps taken."""
    taken: list[int] = []

    def stepping(original: Callable) -> Callable:
        def call(*args: Any, **kwargs: Any) -> Any:
            if len(taken) >= step:
                raise Killed
            taken.append(len(taken))
            return original(*args, **kwargs)

        return call

    for owner, name in ((os, "replace"), (os, "link"), (shutil, "rmtree"), (Path, "unlink")):
        patch.setattr(owner, name, stepping(getattr(owner, name)))
    return taken


def test_killed_between_any_two_steps(prepared, tmp_path, monkeypatch):
    """Two cells of one file, one with a defect, and one of files of its own; whoever comes next goes on, and the lake
    is that of an undisturbed publication."""

    def staged(path: Path) -> tuple[Lake, list[Path]]:
        lake = copy(prepared, path)
        spoiled = scores(9, 0, 5, DOMAINS[1])
        spoiled[1]["matches"][2] |= {"score": 0.123}
        return lake, [stage_rows(lake, *put) for put in (*THREE[:2], spoiled, texts(4, DOMAIN))]

    undisturbed, folders = staged(tmp_path / "undisturbed")
    with monkeypatch.context() as patch:
        taken = kill_before(patch, 10**6)
        publish(undisturbed, folders)
    recover(undisturbed)
    steps = len(taken)
    assert steps > 30
    for step in range(steps):
        lake, folders = staged(tmp_path / f"killed {step}")
        with monkeypatch.context() as patch, pytest.raises(Killed):
            kill_before(patch, step)
            publish(lake, folders)
        lake = Lake.open(lake.path)
        recover(lake)
        found = published(lake)
        quarantined = schema.names().index("cells"), schema.names().index("checks")
        for i, (some, all_) in enumerate(zip(found, published(undisturbed), strict=True)):
            # What was quarantined is judged again, and that written down again, unless the kill came after it
            assert (sorted(set(some), key=repr) if i in quarantined else some) == all_, (step, schema.names()[i])
        nothing_lies_about(lake)
        shutil.rmtree(lake.path)


def test_one_of_a_file_is_forgotten_exactly(lake):
    put_together(lake, THREE)
    assert forget(lake, cell=THREE[1][0].id) == [THREE[1][0].id]
    with lake.connect(["matches"]) as con:
        left = con.execute("select cell, count(*) from stored.matches group by cell").fetchall()
    assert dict(left) == {THREE[0][0].id: 10, THREE[2][0].id: N - 25}
    assert list(check(lake)) == []
    assert put_together(lake, [THREE[1]]) == [None]
    assert list(check(lake)) == []


def test_many_are_forgotten_in_one_entry_a_table(lake):
    """Of two merged files in each table only what they hold of these goes, and a file that holds nothing of them stays
    as it is."""
    other = [texts(8, "apart"), texts(9, "apart")]
    gone = [texts(4, DOMAIN), texts(5, DOMAIN), texts(6, "new")]
    put_together(lake, [*gone, texts(7, "new"), *other])
    before = published(lake)
    versions = {name: lake.version(name) for name in schema.names()}
    apart = lake.files("documents", domain="apart")
    known = forgetting._published_cells(lake)
    forgetting._forget(lake, [known[cell.id] for cell, _ in gone])
    assert {n: v - versions[n] for n in schema.names() if (v := lake.version(n)) != versions[n]} == {
        "documents": 1,
        "domains": 1,
        "checks": 1,
        "cells": 2,  # that they were forgotten, and that they may come again
    }
    assert lake.files("documents", domain="apart") == apart
    ids = {cell.id for cell, _ in gone}
    place = {n: schema.table(n).schema.names.index("cell") for n in ("documents", "domains")}
    for name, old, new in zip(schema.names(), before, published(lake), strict=True):
        if name in place:
            assert new == [row for row in old if row[place[name]] not in ids]
    assert plan(lake, [cell for cell, _ in gone]) == [cell for cell, _ in gone]
    assert put_together(lake, gone) == [None] * 3 and list(check(lake)) == []


def test_a_table_of_which_a_cell_has_no_rows_is_not_written(lake):
    """It need not know of the cell; where it has given it back, it is told that it is published again."""
    cell = made_cell("read", {"corpus": "mine", "part": 1}, "documents", "domains", "rejects")
    rows = texts(1, DOMAIN)[1]
    rejected = {"corpus": "mine", "source": "s", "position": 0, "reason": "r", "head": b""}
    version = lake.version("rejects")
    assert put_together(lake, [(cell, rows)]) == [None] and plan(lake, [cell]) == []
    assert lake.version("rejects") == version and not lake.log("rejects").holds(cell.id)
    forget(lake, cell=cell.id)
    assert lake.version("rejects") == version and plan(lake, [cell]) == [cell]
    assert put_together(lake, [(cell, rows | {"rejects": [rejected]})]) == [None]
    forget(lake, cell=cell.id)
    assert lake.log("rejects").gave_back(cell.id)
    assert put_together(lake, [(cell, rows)]) == [None] and plan(lake, [cell]) == []
    assert lake.log("rejects").holds(cell.id) and list(check(lake)) == []


def test_a_row_that_has_the_key_of_another_cells(lake):
    """The cell is a part of the key of `domains`: files of others are read where a row calls itself theirs."""
    first, second = texts(1, "new"), texts(2, "new")
    assert put_together(lake, [first]) == [None]
    second[1]["domains"][0]["cell"] = first[0].id
    assert "domains.key_not_published (1)" in put_together(lake, [second])[0]


def test_the_rows_of_a_small_table_are_those_of_its_files(lake, monkeypatch):
    """After each publication, and after files were merged and rows deleted."""

    def agree() -> None:
        with lake.connect([]) as con:
            held = sorted(lake.rows("domains", con).to_pylist(), key=repr)
            files = con.execute(relation("domains", lake.snapshot("domains"))).to_arrow_table().to_pylist()
        assert held == sorted(files, key=repr)

    monkeypatch.setattr(compacting, "ALIKE", 3)
    agree()
    for part in range(5):
        put_together(lake, [texts(part, f"domain {part % 2}")])
        agree()
    forget(lake, cell=texts(3, "domain 1")[0].id)
    agree()
    assert len(lake.files("domains")) < 5


def test_check_judges_the_cells_of_a_file(lake):
    put_together(lake, THREE)
    lake.delta("matches").update(
        {"score": "0.123"}, predicate=f"sequence_id = {THREE[1][1]['matches'][0]['sequence_id']}"
    )
    assert [(d.table_name, d.what) for d in check(lake)] == [
        ("matches", f"score_is_share: 1 in cell {THREE[1][0].id}"),
    ]
    assert "matches" in data_tables()


def test_what_a_killed_register_leaves_is_removed(lake):
    for kind in ("register", "record"):
        (lake.staging / f"{kind}-0123456789ab" / "models").mkdir(parents=True)
    recover(lake)
    nothing_lies_about(lake)
