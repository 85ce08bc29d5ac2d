"""The large lake of benchmarks/scale.py, in small: it passes the audit, and its findings have rows."""

from __future__ import annotations

import pytest

from memlake.benchmarks import scale
from memlake.queries.ask import OpenLake
from memlake.warehouse.lake import Lake

N = 60


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> OpenLake:
    lake = Lake.create(tmp_path_factory.mktemp("scale") / "lake")
    scale.build(lake, 8, 1, N)
    return OpenLake(lake.path)


def test_it_is_whole(lake):
    counted = lake.sql("select model, corpus, count(*) as n from matches group by all").to_pyarrow().to_pylist()
    assert len(counted) == 8 * 2 and {row["n"] for row in counted} == {N}
    said = lake.sql("select outcome, count(*) as n from cells group by all").to_pyarrow().to_pylist()
    assert said == [{"outcome": "done", "n": 2 + 2 * 7 + 2 * 8}]


@pytest.mark.parametrize(
    "name", ["memorization_rate", "position_curve", "shared_memorization", "byte_rate", "guessability"]
)
def test_findings_have_rows(lake, name):
    assert name in scale.of_matches()
    assert lake.query(name).count().execute() > 0


def test_a_finding_is_measured(lake):
    row = scale.asking(str(lake._lake.path), "memorization_rate", 1, {"threads": 2})
    name, most, *figures, rows = row.strip("| ").split(" | ")
    assert (name, most, rows) == ("memorization_rate", f"{16 * N} of matches", "16")
    kept, cpu, wall, peak = map(float, figures)
    assert min(kept, cpu, wall) >= 0 and peak > 10
