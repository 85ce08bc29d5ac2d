"""How much a screening of heads measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any


@dataclass(frozen=True)
class Screen:
    """Sequences are taken in their order, which is by hash: the first are a random sample.

    The defaults take a twelfth of the block passes of every head on every sequence (benchmarks/README.md).
    """

    estimated: float = 0.5  # share of the sequences that the estimates come from; 0: every head starts equal
    rounds: tuple[tuple[float, float], ...] = ((0.25, 0.12),)  # share of the heads, and of the sequences; ever narrower
    audited: float = 0.1  # share of the dropped heads
    least: int = 32  # sequences, of any share of them, if there are as many

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Screen:
        """As it stands in the settings of a cell."""
        return cls(**{**stored, "rounds": tuple((heads, sequences) for heads, sequences in stored["rounds"])})

    def sequences(self, share: float, n: int) -> int:
        """How many of n sequences such a share takes."""
        return min(n, max(self.least, ceil(share * n))) if share else 0


DEFAULT = Screen()
