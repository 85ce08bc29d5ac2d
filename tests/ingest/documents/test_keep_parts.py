"""--keep N, its parts: the smallest hashes, and the expectation that no more is kept than was seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from memlake.ingest.documents.keep import Smallest
from memlake.ingest.documents.pieces import domain_rows
from memlake.warehouse.lake import Lake
from memlake.warehouse.work.cells import Cell, CellRows, Settings
from memlake.warehouse.work.runner import run_cells


def test_the_smallest_in_bounded_memory():
    values = [int(v) for v in np.random.default_rng(0).integers(0, 2**63 - 1, 20_000)]
    smallest = Smallest(100)
    taken = sum(smallest.add(v) for v in values)
    assert smallest.trim() == sorted(values)[99]
    assert len(smallest._candidates) == 100 and 100 < taken < 2000
    rest = Smallest(100)
    rest.extend(np.array(values[:50]))
    assert rest.trim() == 2**63 - 1
    rest.extend(np.array(values[50:]))
    assert rest.trim() == sorted(values)[99]


def test_hashes_that_are_shown_twice_count_once():
    smallest = Smallest(3)
    for value in (7, 5, 7, 5):
        smallest.add(value)
    smallest.extend(np.array([5, 7]))
    assert smallest.trim() == 2**63 - 1
    smallest.extend(np.array([9, 5]))
    assert smallest.trim() == 9 and not smallest.add(10) and smallest.add(9)


@dataclass(frozen=True)
class Counts(Settings):
    corpus: str
    n: int
    counts: tuple[int, int, int]


class SeenAndKept(Cell):
    EXPERIMENT = "made up"
    TABLES = ("domains",)
    settings: Counts

    def rows(self, lake: Lake) -> CellRows:
        yield "domains", domain_rows("mine", lambda domain: "free_text", {"d": self.settings.counts})


def test_never_more_is_kept_than_was_seen(lake):
    counts = [(3, 9, 0), (2, 9, 0), (0, 0, 4), (0, 0, 1), (0, 0, 1)]
    cells = [SeenAndKept(Counts("mine", i, given)) for i, given in enumerate(counts)]
    summary = run_cells(lake, cells)
    assert [c.id for c in cells[:4]] == summary.done  # 5 were seen, 4 and 1 kept
    ((_, reason),) = summary.failed
    assert reason.startswith("quarantined: domains.kept_of_seen (1)")
