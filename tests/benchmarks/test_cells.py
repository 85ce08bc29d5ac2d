"""The numbers that `benchmarks.cells` prints, on a few cells; never how long they take."""

from __future__ import annotations

import pytest

from memlake.benchmarks import cells as benchmark
from memlake.warehouse.lake import Lake
from memlake.warehouse.work.cells import plan


@pytest.mark.parametrize(("way", "documents", "files"), [("all", 5, 5 + 1 + 2 + 1), ("each", 15, 15 + 3 + 6 + 3)])
def test_cells(tmp_path, way, documents, files):
    found = benchmark.many(tmp_path, 3, way)
    lake = Lake.open(tmp_path / f"lake-{way}")
    assert found["cells"] == 3 and len(benchmark.CLOCK.begun) == len(benchmark.CLOCK.reading) == 3
    assert len(lake.files("documents")) == documents  # five domains: one run merges what it publishes together
    assert found["files"] == files == sum(len(lake.files(n)) for n in ("documents", "domains", "checks", "cells"))
    assert found["MB"] * 1e6 == sum(
        f.size for n in ("documents", "domains", "checks", "cells") for f in lake.snapshot(n)
    )
    with lake.connect() as con:
        assert con.execute(
            "select count(*), count(distinct text), count(distinct cell) from stored.documents"
        ).fetchone() == (15, 15, 3)
        assert con.execute("select count(*) from stored.cells where outcome = 'done'").fetchone() == (3,)
    benchmark.write(tmp_path / "texts", 3)
    assert plan(lake, benchmark.cells(tmp_path / "texts", lake)) == []


def test_tenths():
    assert benchmark.tenths([1.0] * 10 + [2.0] * 80 + [4.0] * 10) == (2.1, 1.0, 4.0)
    clock = benchmark.Clock([1.0, 3.0, 7.0], [0.5, 1.0, 0.25])
    assert clock.beyond(8.0) == [1.5, 3.0, 0.75]
