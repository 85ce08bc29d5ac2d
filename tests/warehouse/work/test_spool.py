"""Files between two stages: whole or missing, and what is lost is made again."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pytest

from memlake.tests.lakes import rows
from memlake.warehouse.errors import BadInput
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.check import check
from memlake.warehouse.work.cells import Cell, CellRows, Settings, plan
from memlake.warehouse.work.runner import run_cells
from memlake.warehouse.work.spool import Spool


@dataclass(frozen=True)
class File(Settings):
    corpus: str
    file: str


@dataclass(frozen=True)
class First(Cell):
    EXPERIMENT = "first"
    TABLES = ("domains",)
    settings: File

    def rows(self, lake: Lake) -> CellRows:
        with Spool(lake, "pair").writing(self.id) as path:
            path.write_text(self.settings.file)
        row = {"corpus": "mine", "domain": "d", "class": "free_text", "n_documents": 1, "n_bytes": 1}
        yield "domains", pa.Table.from_pylist([row | {"kept_documents": 1}])


@dataclass(frozen=True)
class Corpus(Settings):
    corpus: str


class Second(Cell):
    EXPERIMENT = "second"

    def rows(self, lake: Lake) -> CellRows:
        yield from ()


FIRST = [First(File("mine", f"{i}.jsonl")) for i in range(3)]
SECOND = [Second(Corpus("mine"))]


def test_files_are_listed_by_their_cell_and_removed(lake):
    run_cells(lake, FIRST)
    spool = Spool(lake, "pair")
    assert set(spool.files()) == {c.id for c in FIRST}
    assert [p.read_text() for p in spool.take([c.id for c in FIRST])] == ["0.jsonl", "1.jsonl", "2.jsonl"]
    assert not list(check(lake))
    spool.remove()
    spool.remove()
    assert spool.files() == {}


def test_a_folder_that_held_nothing_else_goes_too(lake):
    one, other = Spool(lake, "corpus/one"), Spool(lake, "corpus/other")
    for spool in (one, other):
        with spool.writing("c1-x") as path:
            path.write_text("x")
    one.remove()
    assert set(other.files()) == {"c1-x"} and not one.folder.exists()
    other.remove()
    assert list((lake.path / "spool").iterdir()) == []


def test_a_file_that_was_not_ended_is_missing(lake):
    spool = Spool(lake, "pair")
    with pytest.raises(ZeroDivisionError), spool.writing("c1-x") as path:
        path.write_text("half")
        raise ZeroDivisionError
    assert spool.files() == {} and not list(spool.folder.iterdir())
    (spool.folder / "c1-y-1.part").write_text("left by a kill")
    assert spool.files() == {}
    with pytest.raises(BadInput, match="1 file of spool/pair is gone: run the command again"):
        spool.take(["c1-y"])


def test_a_cell_whose_file_is_lost_is_run_again(lake):
    run_cells(lake, FIRST)
    spool = Spool(lake, "pair")
    spool.files()[FIRST[1].id].unlink()
    spool.replan(FIRST, SECOND)
    assert plan(lake, FIRST) == [FIRST[1]]
    assert rows(lake, "select count(*) from stored.domains") == [(2,)]
    run_cells(lake, FIRST)
    assert len(spool.files()) == 3
    assert rows(lake, "select count(*) from stored.domains") == [(3,)]


def test_cells_whose_files_are_lost_are_taken_back_at_once(lake):
    run_cells(lake, FIRST)
    spool = Spool(lake, "pair")
    for cell in FIRST[:2]:
        spool.files()[cell.id].unlink()
    before = lake.version("domains")
    spool.replan(FIRST, SECOND)
    assert plan(lake, FIRST) == FIRST[:2]
    assert lake.version("domains") == before + 1
    told = "select cell from stored.cells where outcome = 'forgotten' order by cell"
    assert rows(lake, told) == [(cell,) for cell in sorted(c.id for c in FIRST[:2])]


def test_when_the_second_stage_is_published_nothing_is_left_and_nothing_run_again(lake):
    run_cells(lake, FIRST)
    run_cells(lake, SECOND)
    spool = Spool(lake, "pair")
    spool.replan(FIRST, SECOND)
    assert spool.files() == {} and not spool.folder.exists()
    spool.replan(FIRST, SECOND)
    assert plan(lake, FIRST) == []
