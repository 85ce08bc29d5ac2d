"""What `ingest sample` has cut, as far as measuring depends on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from memlake.warehouse.lake import Lake
from memlake.warehouse.work.cells import Settings, published


@dataclass(frozen=True)
class Sampled(Settings):
    """A part of the settings of its cells."""

    corpus: str
    domain: str
    tokenizer: str
    sample: str
    first_rank: int
    last_rank: int
    rule: Mapping[str, Any]  # how places were drawn (`at`) and what was cut there (`window`)


def sampled(lake: Lake) -> Iterator[Sampled]:
    """All that was sampled."""
    return (settings for _, settings in published(lake, "sample", Sampled))
