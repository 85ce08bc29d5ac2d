"""Which sequences a request asks for, which of them are measured already, and in which cells the others are.

A cell covers a range of ranks of one domain's sample. What is published is taken as it stands, and new cells fill the
gaps, so that a larger request computes only what is missing. A gap that would take too long is halved, and its halves,
until each part is short enough: a kill takes no more than that. It is halved at the multiples of powers of two, counted
from the shard's first rank, so that whoever reckons with another rate halves once more or once less at the same ranks.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from memlake.warehouse.errors import Conflict
from memlake.warehouse.lake import Lake
from memlake.warehouse.work.cells import published

from .cells import RangeCell
from .contrast import CALIPER
from .cost import Rates
from .settings import Range, RangeSettings

if TYPE_CHECKING:
    from .request import Request, Subject

LEAST = 256  # sequences: a cell of no more is not divided, however slow it seems. What starts it must not be most of it

S = TypeVar("S", bound=RangeSettings)
C = TypeVar("C", bound=RangeCell)


@dataclass(frozen=True)
class Shard:
    """The sequences with tokens of a part of a sample, by their ranks, in order.

    asked: those of them that a request wants, at least one.
    """

    corpus: str
    domain: str
    sample: str
    ranks: Sequence[int]
    asked: Sequence[int]

    def settings(self, subject: Subject) -> dict[str, Any]:
        """The fields of `RangeSettings` of a cell that takes all that is asked for."""
        return {
            **subject.settings,
            "corpus": self.corpus,
            "domain": self.domain,
            "sample": self.sample,
            "first_rank": self.asked[0],
            "last_rank": self.asked[-1],
        }

    def choice(self, subject: Subject, among: str) -> dict[str, Any]:
        """The fields of `ChoiceSettings` of such a cell."""
        return self.settings(subject) | {"among": among, "caliper": CALIPER if among == "contrast" else None}


def shards(lake: Lake, tokenizer: str, request: Request) -> Iterator[Shard]:
    """The shards that a request asks sequences of, those of a sample by their ranks."""
    taken: Counter[tuple[str, ...]] = Counter()  # of each sample
    with lake.connect(["sequences"]) as con:
        found = con.execute(
            """
            select corpus, domain, sample, list(rank order by rank)
            from stored.sequences
            where tokenizer = $tokenizer and list_contains($corpora, corpus)
              and (len($domains) = 0 or list_contains($domains, domain))
              and len(tokens) > 0
            group by corpus, domain, sample, shard
            order by corpus, domain, sample, shard
            """,
            {"tokenizer": tokenizer, "corpora": list(request.corpora), "domains": list(request.domains)},
        )
        while row := found.fetchone():
            corpus, domain, sample, ranks = row
            one = (corpus, domain, sample)
            asked = ranks if request.limit is None else ranks[: max(request.limit - taken[one], 0)]
            taken[one] += len(asked)
            if asked:
                yield Shard(corpus, domain, sample, ranks, asked)


class Coverage(Generic[S]):
    """The cells of one experiment that answer a request to one model. done: settings of its published cells."""

    def __init__(self, lake: Lake, subject: Subject, request: Request, experiment: str, done: Sequence[S]):
        self.lake, self.subject, self.request, self.experiment = lake, subject, request, experiment
        self._done: dict[object, list[S]] = defaultdict(list)
        for settings in done:
            self._done[settings.question].append(settings)
        self._rates = Rates(lake, experiment, request)

    def cells(
        self, want: Callable[[Shard], S], make: Callable[[S, int], C], corpora: tuple[str, ...] | None = None
    ) -> Iterator[C]:
        """Those published before, and new ones for the ranks between them, none longer than the request says.

        want: settings of a cell that takes all that is asked for of a shard. make: the cell of some settings, which
        have so many sequences in their ranks. corpora: of those of the request; None: all. Raises `Conflict` where
        published cells hold less of a sequence.
        """
        request = replace(self.request, corpora=corpora or self.request.corpora)
        for shard in shards(self.lake, self.subject.tokenizer, request):
            wanted = want(shard)
            done = self._done[wanted.question]
            old = set(done)
            for settings, n in in_shard(shard, wanted, done):
                if settings.detail < wanted.detail:
                    raise Conflict(
                        f"{settings.corpus} {settings.domain} has been measured ({self.experiment}, {settings.model})"
                        f" with {settings.detail_option} already: ask for the same again, or take those rows back with"
                        " `memlake warehouse forget`"
                    )
                if settings in old:
                    if not self.request.missing:
                        yield make(settings, n)
                else:
                    yield from parts(shard, settings, n, make, self._is_short)

    def _is_short(self, cell: RangeCell) -> bool:
        return self._rates.seconds(cell) <= 60 * self.request.cell_minutes


def parts(shard: Shard, settings: S, n: int, make: Callable[[S, int], C], is_short: Callable[[C], bool]) -> Iterator[C]:
    """The cells that take n ranks of a shard: one if it is short, or has no more than LEAST sequences to measure, or
    cannot be divided; else those of its two halves."""
    cell = make(settings, n)
    if n <= LEAST or cell.sequences <= LEAST or not settings.divisible or is_short(cell):
        yield cell
        return
    first, last = settings.first_rank - shard.ranks[0], settings.last_rank - shard.ranks[0]
    half = 1 << ((first ^ last).bit_length() - 1)  # of the least power of two whose multiples have no bound between
    middle = bisect_left(shard.asked, shard.ranks[0] + last // half * half)
    start, end = bisect_left(shard.asked, settings.first_rank), bisect_right(shard.asked, settings.last_rank)
    for ranks in (shard.asked[start:middle], shard.asked[middle:end]):
        yield from parts(shard, settings.part(ranks[0], ranks[-1]), len(ranks), make, is_short)


def published_settings(lake: Lake, experiment: str, kind: type[S]) -> list[S]:
    """Settings of an experiment's published cells."""
    return [settings for _, settings in published(lake, experiment, kind)]


def in_shard(shard: Shard, wanted: S, done: Iterable[S]) -> Iterator[tuple[S, int]]:
    """(settings, number of sequences in their ranks) of the published cells that answer what is wanted of a shard, and
    of new ones for what is missing, however long they are."""
    here = [s for s in done if s.question == wanted.question and s.meets(wanted.first_rank, wanted.last_rank)]
    used: dict[S, None] = {}
    missing: list[tuple[list[tuple[S, int]], list[object]]] = []  # new cells, and the items that they all lack
    for item in wanted.items or (None,):
        holding = [s for s in here if item is None or item in s.items]
        used |= dict.fromkeys(holding)
        new = list(_new(wanted, shard, holding))
        lacking = next((items for cells, items in missing if cells == new), None)
        if lacking is None:
            missing.append((new, lacking := []))
        lacking.append(item)
    for s in sorted(used, key=lambda s: s.first_rank):
        yield s, count(shard.ranks, s.first_rank, s.last_rank)
    for cells, items in missing:
        for settings, n in cells:
            yield settings.of(items), n


def _new(wanted: S, shard: Shard, holding: Sequence[S]) -> Iterator[tuple[S, int]]:
    """Settings and number of ranks of the cells that are missing beside those that hold something."""
    suffices = {id(s): s.suffices(wanted, holding) for s in holding}
    whole, fewer = ([s for s in holding if suffices[id(s)] is enough] for enough in (True, False))
    begun = wanted.begun(holding)
    for start, end, _ in gaps(shard.asked, whole):
        asked = shard.asked[bisect_left(shard.asked, start) : bisect_right(shard.asked, end)]
        for of, ranks in _by_range(asked, begun):
            first, last = ranks[0], ranks[-1]
            beside = [s for s in fewer if s.meets(first, last)]
            yield wanted.over(*of or (first, last)).part(first, last).beside(beside), len(ranks)


def _by_range(ranks: Sequence[int], ranges: Sequence[Range]) -> Iterator[tuple[Range | None, Sequence[int]]]:
    """Runs of the ranks that lie in one of the ranges, in the first of several, or in none."""
    if not ranges:
        yield None, ranks
        return
    for of, run in groupby(ranks, lambda rank: next((r for r in ranges if r[0] <= rank <= r[1]), None)):
        yield of, list(run)


def count(ranks: Sequence[int], first: int, last: int) -> int:
    """How many of the ranks, which are in order, lie from the first to the last."""
    return bisect_right(ranks, last) - bisect_left(ranks, first)


def gaps(ranks: Sequence[int], covered: Iterable[RangeSettings]) -> Iterator[tuple[int, int, int]]:
    """(first rank, last rank, number of ranks) of each run of ranks that no range covers."""
    run: list[int] = []
    ranges = sorted((s.first_rank, s.last_rank) for s in covered)
    at = 0
    for rank in ranks:
        while at < len(ranges) and ranges[at][1] < rank:
            at += 1
            if run:
                yield run[0], run[-1], len(run)
                run = []
        if at == len(ranges) or rank < ranges[at][0]:
            run.append(rank)
    if run:
        yield run[0], run[-1], len(run)
