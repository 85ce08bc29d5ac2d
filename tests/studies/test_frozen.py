"""A lake that stays as it was first seen."""

from __future__ import annotations

from memlake.studies.frozen import FrozenLake
from memlake.tests.small import CONDITION
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.register import register


def conditions(lake: Lake) -> tuple[int, int, int]:
    with lake.connect(["conditions"]) as con:
        ((n,),) = con.execute("select count(*) from stored.conditions").fetchall()
    return lake.version("conditions"), sum(file.rows for file in lake.snapshot("conditions")), n


def test_what_is_published_later_is_not_seen(tmp_path):
    lake = Lake.create(tmp_path / "lake")
    register(lake, "conditions", [CONDITION])
    frozen, other = FrozenLake.open(lake.path), FrozenLake.open(lake.path)
    assert conditions(frozen) == conditions(lake)
    assert other.version("cells") == 0  # one look at any table fixes all
    seen = conditions(frozen)
    register(lake, "conditions", [CONDITION | {"condition": "other"}])
    assert conditions(frozen) == seen == conditions(other) and seen[1:] == (1, 1)
    assert conditions(lake)[1:] == (2, 2)
