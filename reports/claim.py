"""A claim: what a finding says of the families, in sentences that are computed from its rows.

One file of the shelf `claims/`, with the name of the finding. It is a SELECT over the rows of findings, by their names,
that gives one row an estimate: the fields of `Estimate`. Its opening comment has the words, with {} for the numbers:

    -- says: ...              of a level, which is told from the least family to the largest
    -- whether: ...           of an effect: what is in question
    -- more: ... less: ...    what holds of families whose interval lies above no effect, and below it
    -- unit: %                or percentage points (both of shares), or times

Nothing is said that no row supports: an effect only of families whose interval does not hold `none`, that a family
stands apart only where its interval meets no other's, and levels are compared only on one corpus and sample.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import duckdb
import pyarrow as pa

from memlake.queries import finding
from memlake.queries.catalog import macros
from memlake.warehouse import shelf

SHELF = "memlake.reports.claims"
SHARED = Path(__file__).parent / "claims" / "_macros.sql"
HEAD = re.compile(r"^-- (\w+): (.*)\n", re.MULTILINE)
LEVEL = 0.05  # of p, as the intervals are of 95 %
SCALE = {"%": 100, "percentage points": 100}
NAN = math.nan


@dataclass(frozen=True)
class Estimate:
    """What one family shows. model: of which of its models; low, high: the 95 % interval, or p in their place, where a
    permutation tells an effect from chance; none: the value of no effect, if there is such a thing; note: why there is
    no value. A number that is not there is NaN."""

    family: str
    model: str
    corpus: str | None
    sample: str
    value: float = NAN
    low: float = NAN
    high: float = NAN
    p: float = NAN
    none: float = NAN
    note: str | None = None

    @property
    def is_told(self) -> bool:
        """It has a value, and how sure that is."""
        return math.isfinite(self.value) and (self.has_p or not (math.isnan(self.low) or math.isnan(self.high)))

    @property
    def has_p(self) -> bool:
        return not math.isnan(self.p)

    @property
    def side(self) -> int:
        """1: it lies above no effect, -1: below, 0: that cannot be told."""
        if self.has_p:
            return (self.p < LEVEL) * ((self.value > self.none) - (self.value < self.none))
        return (self.low > self.none) - (self.high < self.none)


@dataclass(frozen=True)
class Claim:
    """What the claim of a finding says of a lake: sentences, none where no row supports any, and the rows."""

    finding: str
    sentences: list[str]
    estimates: list[Estimate]


def names() -> list[str]:
    """The findings that have a claim."""
    return shelf.names(SHELF, ".sql")


def read(
    answers: Mapping[str, pa.Table], names: Iterable[str], families: Collection[str] = (), published: bool = False
) -> Iterator[Claim]:
    """The claims of these findings. answers: the rows of findings, by name; families: those of which something should
    be said, if only that they were not measured; published: there are published models, so that what is of miniatures
    says so."""
    with duckdb.connect() as con:
        con.execute(macros() + SHARED.read_text(encoding="utf-8"))
        for name in names:
            text = shelf.text(SHELF, name, ".sql")
            for word in set(re.findall(r"\w+", text)) & set(finding.names()):
                con.register(word, answers[word])
            rows = con.execute(text).to_arrow_table().to_pylist()
            estimates = [Estimate(**{k: v for k, v in row.items() if v is not None or k == "corpus"}) for row in rows]
            estimates.sort(key=lambda e: (e.family, e.model, e.corpus or ""))  # the same rows, the same sentences
            said = list(Words(dict(HEAD.findall(text)), estimates).sentences(families))
            if said and published and _of_miniatures(answers[name]):
                said.insert(0, "Of miniatures:")
            yield Claim(name, said, estimates)


def _of_miniatures(rows: pa.Table) -> bool:
    """The finding tells models apart by that, and no row is of a published one that trained on the text."""
    if "miniature" not in rows.column_names:
        return False
    role = rows["role"].to_pylist() if "role" in rows.column_names else ["trained"] * rows.num_rows
    return all(mini for mini, of in zip(rows["miniature"].to_pylist(), role, strict=True) if of == "trained")


@dataclass(frozen=True)
class Words:
    """How a claim says what its rows support. words: its opening comment."""

    words: Mapping[str, str]
    estimates: Sequence[Estimate]

    def sentences(self, families: Collection[str] = ()) -> Iterator[str]:
        if self._told and "says" in self.words:
            yield f"{self._among(self._told, 'Across')}, {self.words['says'].format(self._spread(self._told))}."
            yield from self._apart()
        elif self._told:
            yield from self._effects()
            yield from self._apart()
        elif self.estimates and "whether" in self.words:
            yield f"Whether {self.words['whether']} cannot be told."
        if self.estimates:
            yield from self._missing(families)

    @cached_property
    def _told(self) -> list[Estimate]:
        """The estimates that say something, the least first."""
        return sorted((e for e in self.estimates if e.is_told), key=lambda e: (e.value, e.family))

    @cached_property
    def _several(self) -> set[str]:
        """Families of several rows, of which the corpus must be named."""
        return {family for family, n in Counter(e.family for e in self.estimates).items() if n > 1}

    def _name(self, e: Estimate) -> str:
        return f"{e.family} on {e.corpus}" if e.family in self._several else e.family

    def _among(self, some: Sequence[Estimate], word: str = "In all") -> str:
        """`In all 7 families`, `In 2 of 7 families`, `In pythia`."""
        what = "families and corpora" if self._several else "families"
        if len(self._told) == 1:
            return f"In {self._name(some[0])}"
        if len(some) < len(self._told):
            return f"In {len(some)} of {len(self._told)} {what}"
        if (word, len(some), what) == ("In all", 2, "families"):
            return "In both families"
        return f"{word} {len(some)} {what}"

    def _effects(self) -> Iterator[str]:
        """Of families that show an effect which it is, and of which that cannot be told."""
        for side, word in ((1, "more"), (-1, "less")):
            if some := [e for e in self._told if e.side == side]:
                yield f"{self._among(some)} {self.words[word].format(self._spread(some, turned=side < 0))}."
        if unknown := [e for e in self._told if e.side == 0]:
            if len(unknown) == len(self._told):
                yield f"Whether {self.words['whether']} cannot be told."
            why = "chance does as much" if unknown[0].has_p else "the interval includes no effect"
            yield f"{self._among(unknown)} {why}: {self._spread(unknown)}."

    def _apart(self) -> Iterator[str]:
        """Families whose interval lies above or below those of all others, where there are others to compare with."""
        if len({(e.corpus, e.sample) for e in self._told}) > 1:
            if "says" in self.words:
                of: dict[str, list[str]] = defaultdict(list)
                for e in self._told:
                    of[", ".join(filter(None, (e.corpus, e.sample)))].append(e.family)
                where = "; ".join(f"{', '.join(some)} ({text})" for text, some in of.items())
                yield f"These are not of one text and measurement, and not compared with one another: {where}."
        elif len(self._told) > 2 and not self._told[0].has_p:
            least, largest = self._told[0], self._told[-1]
            if least.high < min(e.low for e in self._told[1:]):
                yield f"{self._name(least)} stands apart, below all others."
            if largest.low > max(e.high for e in self._told[:-1]):
                yield f"{self._name(largest)} stands apart, above all others."

    def _missing(self, families: Collection[str]) -> Iterator[str]:
        """Of which families there is no estimate, and why."""
        why: dict[str, list[str]] = defaultdict(list)
        for e in self.estimates:
            if not e.is_told:
                why[e.note or "no interval"].append(self._name(e))
        if absent := sorted(set(families) - {e.family for e in self.estimates}):
            why["not measured"] = absent
        if why:
            yield "No estimate: " + "; ".join(f"{', '.join(some)} ({note})" for note, some in why.items()) + "."

    def _spread(self, some: Sequence[Estimate], turned: bool = False) -> str:
        """The least and the largest of some estimates. turned: of the sizes of differences below 0."""
        if turned and all(e.none == 0 for e in some):
            some = [replace(e, value=-e.value, low=-e.high, high=-e.low) for e in reversed(some)]
        return " to ".join(self._number(e) for e in (some if len(some) == 1 else (some[0], some[-1])))

    def _number(self, e: Estimate) -> str:
        """`31 % (pythia: 26 to 37)`, in as many digits as the interval lets one tell."""
        unit = self.words.get("unit", "")
        value, low, high, none = (v * SCALE.get(unit, 1) for v in (e.value, e.low, e.high, e.none))
        if e.has_p:
            digits, sure = 2, f"p = {e.p:.2g}" + (f", {none:.2g} {unit} by chance" if none > 0 else "")
        else:
            width = high - low if math.isfinite(high) else value - low
            digits = min(3, max(0, 1 - math.floor(math.log10(width)))) if width > 0 else 2
            upper = f"to {_written(high, digits)}" if math.isfinite(high) else "or more"
            sure = f"{_written(low, digits)} {upper}"
        text = " ".join(filter(None, (_written(value, digits), unit)))
        return f"{text} ({self._name(e)}: {sure})"


def _written(number: float, digits: int) -> str:
    """So many digits after the point, and no zero below zero."""
    return f"{round(number, digits) + 0.0:.{digits}f}".replace("-", "\N{MINUS SIGN}")
