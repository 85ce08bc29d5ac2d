"""Which sequences a request asks for, which of them are measured already, and which an experiment takes.

A cell covers a range of ranks of one domain's sample. What is published is taken as it stands, and new cells fill the
gaps, so that a larger request computes only what is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from memlake.warehouse.errors import BadInput, Conflict
from memlake.warehouse.lake import Lake
from memlake.warehouse.work.cells import published

from .cells import ModelCell, RangeCell
from .contrast import CALIPER, contrast
from .settings import Choice, ChoiceSettings, RangeSettings
from .unfit import rejected

if TYPE_CHECKING:
    import pyarrow as pa

    from .request import Request, Subject

COLUMNS = "tokens, prefix_tokens, n_tokens"

S = TypeVar("S", bound=RangeSettings)


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


def published_and_missing(
    lake: Lake, subject: Subject, request: Request, experiment: str, done: Sequence[S], want: Callable[[Shard], S]
) -> Iterator[tuple[S, int]]:
    """(settings, number of sequences in their ranks) of the cells that answer a request: those published before, and
    new ones for the ranks between them.

    done: settings of the experiment's published cells. want: those of a cell that takes all that is asked for of a
    shard. Raises `Conflict` where published cells hold less of a sequence.
    """
    for shard in shards(lake, subject.tokenizer, request):
        wanted = want(shard)
        for settings, n in in_shard(shard, wanted, done):
            if settings.detail < wanted.detail:
                raise Conflict(
                    f"{settings.corpus} {settings.domain} has been measured ({experiment}, {settings.model}) with"
                    f" {settings.detail_option} already: ask for the same again, or take those rows back with"
                    " `memlake warehouse forget`"
                )
            yield settings, n


def published_settings(lake: Lake, experiment: str, kind: type[S]) -> list[S]:
    """Settings of an experiment's published cells."""
    return [settings for _, settings in published(lake, experiment, kind)]


def in_shard(shard: Shard, wanted: S, done: Iterable[S]) -> Iterator[tuple[S, int]]:
    """The part of `published_and_missing` for one shard."""
    here = [s for s in done if s.question == wanted.question and s.meets(wanted.first_rank, wanted.last_rank)]
    used: list[S] = []
    missing: list[tuple[list[tuple[S, int]], list[object]]] = []  # new cells, and the items that they all lack
    for item in wanted.items or (None,):
        holding = [s for s in here if item is None or item in s.items]
        used += [s for s in holding if s not in used]
        new = list(_new(wanted, shard, holding))
        lacking = next((items for cells, items in missing if cells == new), None)
        if lacking is None:
            missing.append((new, lacking := []))
        lacking.append(item)
    for s in sorted(used, key=lambda s: s.first_rank):
        yield s, sum(s.first_rank <= rank <= s.last_rank for rank in shard.ranks)
    for cells, items in missing:
        for settings, n in cells:
            yield settings.of(items), n


def _new(wanted: S, shard: Shard, holding: Sequence[S]) -> Iterator[tuple[S, int]]:
    """Settings and number of ranks of the cells that are missing beside those that hold something."""
    whole = [s for s in holding if s.suffices(wanted, holding)]
    for first, last, n in gaps(shard.asked, whole):
        fewer = [s for s in holding if s not in whole and s.meets(first, last)]
        yield wanted.over(first, last).beside(fewer), n


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


def chosen(lake: Lake, settings: RangeSettings, choice: Choice, tokenizer: str, columns: str = "") -> pa.Table:
    """The sequences of a cell that an experiment measures, in the order of their ranks. Those that scoring left out, as
    the model cannot take them, are left out here too.

    settings: say which model, condition and sample; choice: which of its ranks, and of these by its `among`:
    'memorized': those that the model memorized under the condition; 'contrast': these, as many others (the first by
    rank, which is by hash), and those that `pairs` sets beside them; 'all'. columns: of `sequences`, beside
    sequence_id, memorized and completion_entropy.

    Raises `BadInput` where a sequence is not scored yet.
    """
    import pyarrow.compute as pc

    s = settings
    with lake.connect(["sequences", "matches", "rejects"]) as con:
        rows = con.execute(
            f"""
            select sequence_id, memorized, completion_entropy {columns and "," + columns}
            from (from stored.sequences where corpus = $corpus and domain = $domain and tokenizer = $tokenizer
                and sample = $sample and rank between $first and $last and len(tokens) > 0
                and rank not in (select position from stored.rejects where corpus = $corpus and source = $source))
            left join (select sequence_id, memorized, completion_entropy from stored.matches
                where model = $model and condition = $condition and corpus = $corpus and domain = $domain)
                using (sequence_id)
            where $among <> 'memorized' or memorized is distinct from false
            order by rank
            """,
            {
                **{"corpus": s.corpus, "domain": s.domain, "sample": s.sample},
                **{"model": s.model, "condition": s.condition},
                **{"tokenizer": tokenizer, "source": rejected(s, tokenizer), "among": choice.among},
                **{"first": choice.first_rank, "last": choice.last_rank},
            },
        ).to_arrow_table()
    if rows["memorized"].null_count:
        raise BadInput(
            f"{s.corpus} ({s.domain}) is not scored for {s.model} under {s.condition}: run"
            f" `memlake compute run scoring --corpus {s.corpus} --model {s.model}` with the same options first"
        )
    if choice.among == "contrast":
        rows = rows.filter(contrast(rows, choice.caliper))
    for part in choice.beyond or ():
        fewer = chosen(lake, s, part, tokenizer)
        rows = rows.filter(pc.invert(pc.is_in(rows["sequence_id"], fewer["sequence_id"])))
    return rows


def nothing_memorized(lake: Lake, cells: Iterable[ModelCell]) -> Iterator[str]:
    """A line for each model and corpus of which the cells measure nothing, since nothing is memorized."""
    import pyarrow.compute as pc

    places: dict[tuple[str, str], list[RangeCell]] = {}
    for cell in cells:
        if isinstance(cell, RangeCell):
            places.setdefault((cell.settings.model, cell.settings.corpus), []).append(cell)
    for (model, corpus), here in places.items():
        if any(cell.sequences for cell in here):
            continue
        ranges = {(c.settings.domain, c.settings.sample, c.settings.first_rank): c for c in here}.values()
        scored = [chosen(lake, c.settings, whole_range(c.settings), c.subject.tokenizer) for c in ranges]
        if not any(pc.any(rows["memorized"]).as_py() for rows in scored):
            other = (
                "--among all measures what is not memorized"
                if isinstance(here[0].settings, ChoiceSettings)
                else "`memlake query run score_distribution` tells how near they came"
            )
            n = sum(rows.num_rows for rows in scored)
            yield f"{model} on {corpus}: of {n} scored sequences none is memorized, nothing to measure: {other}"


def whole_range(settings: RangeSettings, among: str = "all") -> Choice:
    """All sequences of a range, or all the memorized ones."""
    return Choice(first_rank=settings.first_rank, last_rank=settings.last_rank, among=among)


def pieces(rows: pa.Table, size: int) -> Iterable[pa.RecordBatch]:
    """The rows in pieces of at most `size`."""
    return rows.combine_chunks().to_batches(max_chunksize=size)
