"""What decides the rows of a cell that runs a model: the model and how it runs, and on which sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from memlake.warehouse.identity import canonical
from memlake.warehouse.work.cells import Settings

Range = tuple[int, int]  # the first rank and the last

AMONG = ("memorized", "contrast", "all")  # each holds the one before


@dataclass(frozen=True, kw_only=True)
class ModelSettings(Settings):
    """Which model runs, and how. Models that were registered when ids held no more than that have a weights_digest
    in the place of the checkpoint_digest."""

    model: str
    checkpoint_digest: str | None = None
    weights_digest: str | None = None
    tokenizer_digest: str
    condition: str

    @property
    def subject(self) -> tuple[object, ...]:
        """All of these, to be compared."""
        return self.model, self.checkpoint_digest, self.weights_digest, self.tokenizer_digest, self.condition


@dataclass(frozen=True, kw_only=True)
class RangeSettings(ModelSettings):
    """And on which sequences: a range of ranks of one domain's sample."""

    corpus: str
    domain: str
    sample: str
    first_rank: int
    last_rank: int

    @property
    def place(self) -> dict[str, str]:
        """The columns that are the same in all rows of a cell."""
        return {"model": self.model, "corpus": self.corpus, "domain": self.domain, "condition": self.condition}

    @property
    def question(self) -> tuple[object, ...]:
        """What is measured, whatever the ranks and however much of it: only cells of one question answer another."""
        return *self.subject, self.corpus, self.domain, self.sample

    @property
    def detail(self) -> int:
        """How much is measured of a sequence: who asks for more is not answered by less."""
        return 0

    @property
    def detail_option(self) -> str:
        """How this much is asked for on the command line."""
        return ""

    @property
    def items(self) -> tuple[object, ...]:
        """Things that are measured one beside the other on the same sequences, each of which may be published already;
        empty where an experiment knows no such things."""
        return ()

    @property
    def pace(self) -> Mapping[str, Any] | None:
        """The settings that decide how long it takes to make a row, beside the model and its condition; None where
        rows do not tell how long a cell takes."""
        return {}

    @property
    def divisible(self) -> bool:
        """Do several cells, of a part of the ranks each, give the same rows?"""
        return True

    def of(self, items: Sequence[Any]) -> Self:
        """The same with these items alone."""
        return self

    def meets(self, first: int, last: int) -> bool:
        """Does it take any of these ranks?"""
        return self.first_rank <= last and self.last_rank >= first

    def over(self, first: int, last: int) -> Self:
        """The same on other ranks."""
        return replace(self, first_rank=first, last_rank=last)

    def part(self, first: int, last: int) -> Self:
        """What it measures of some of its ranks."""
        return self.over(first, last)

    def begun(self, published: Sequence[Self]) -> list[Range]:
        """Ranges of ranks of which published cells measured parts, where it depends on the range what a part is."""
        return []

    def suffices(self, wanted: Self, published: Sequence[Self]) -> bool:
        """Are all sequences that are wanted of its ranks measured, by it or by published ones that it goes beyond?"""
        return True

    def beside(self, fewer: Sequence[Self]) -> Self:
        """The same, without the sequences that these take."""
        return self


@dataclass(frozen=True, kw_only=True)
class Choice(Settings):
    """Which sequences of a range are measured.

    among: of AMONG. caliper: of `contrast`, where among is contrast; None in cells of former versions. beyond: what
    these take is left out. within: the ranks that contrast is chosen among, where the range is a part of them.
    """

    first_rank: int
    last_rank: int
    among: str
    caliper: float | None = None
    beyond: tuple[Choice, ...] | None = None
    within: Range | None = None

    def to_json(self) -> dict[str, Any]:
        said = super().to_json()
        return said | ({"beyond": [part.to_json() for part in self.beyond]} if self.beyond else {})

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        parts = tuple(Choice.from_json(part) for part in stored.get("beyond", ()))
        return replace(super().from_json(stored), beyond=parts or None)

    @property
    def choice(self) -> Choice:
        """These fields alone."""
        return Choice(
            first_rank=self.first_rank,
            last_rank=self.last_rank,
            among=self.among,
            caliper=self.caliper,
            beyond=self.beyond,
            within=self.within,
        )

    @property
    def reach(self) -> Range:
        """The ranks on which it depends what is chosen."""
        ranges = [self.within or (self.first_rank, self.last_rank), *(part.reach for part in self.beyond or ())]
        return min(first for first, _ in ranges), max(last for _, last in ranges)


@dataclass(frozen=True, kw_only=True)
class ChoiceSettings(RangeSettings, Choice):
    """Of an experiment that measures a choice of the sequences: new cells take what published ones of the same ranks,
    which chose fewer, do not."""

    def part(self, first: int, last: int) -> Self:
        whole = self.first_rank, self.last_rank
        parts = tuple(p for p in self.beyond or () if p.first_rank <= last and p.last_rank >= first)
        within = (self.within or whole) if self.among == "contrast" and (first, last) != whole else self.within
        return replace(self.over(first, last), beyond=parts or None, within=within)

    def begun(self, published: Sequence[Self]) -> list[Range]:
        if self.among != "contrast":
            return []
        return sorted({s.within for s in published if s.within and (s.among, s.caliper) == (self.among, self.caliper)})

    def suffices(self, wanted: Self, published: Sequence[Self]) -> bool:
        enough = AMONG.index(self.among) >= AMONG.index(wanted.among)
        if not enough or not self.beyond:
            return enough
        there = [s.choice for s in published]
        return all(part in there for part in self.beyond)

    def beside(self, fewer: Sequence[Self]) -> Self:
        parts = sorted((s.choice for s in fewer), key=lambda part: canonical(part.to_json()))
        return replace(self, beyond=tuple(parts) or None)
