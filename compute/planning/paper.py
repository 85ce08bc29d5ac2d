"""A domain's sample that is not there yet, or not scored, as cells of it would be reckoned."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

from .contrast import CALIPER
from .coverage import LEAST
from .request import Subject


@dataclass(frozen=True)
class Paper:
    """sequences: of the domain, of which so many are supposed to be memorized. continuation: tokens of each.
    role: of the model on the corpus, where it is known."""

    corpus: str
    sequences: int
    memorized: int
    continuation: int
    role: str | None = None

    def chosen(self, among: str) -> int:
        """How many an experiment measures; of `contrast` the most: to each memorized one two others."""
        return {"memorized": self.memorized, "contrast": min(3 * self.memorized, self.sequences)}.get(
            among, self.sequences
        )

    def settings(self, subject: Subject) -> dict[str, Any]:
        """The fields of `RangeSettings`."""
        ranks = {"first_rank": 0, "last_rank": self.sequences - 1}
        return {**subject.settings, "corpus": self.corpus, "domain": "", "sample": "", **ranks}

    def choice(self, subject: Subject, among: str) -> dict[str, Any]:
        """The fields of `ChoiceSettings`."""
        return self.settings(subject) | {"among": among, "caliper": CALIPER if among == "contrast" else None}


def parts(seconds: float, sequences: int, minutes: float) -> int:
    """In about how many cells a sample is cut that takes so long: it is halved until each takes no more minutes."""
    n = 1
    while seconds / n > 60 * minutes and ceil(sequences / n) > LEAST:
        n *= 2
    return n
