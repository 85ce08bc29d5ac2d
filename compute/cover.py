"""Which ranks of which samples a request wants, which of them are published, and which sequences an experiment takes.

A cell covers a range of ranks of one domain's sample. What is published is taken as it stands, and new cells fill the
gaps, so that a larger request computes only what is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from warehouse.cells import published
from warehouse.errors import BadInput, Conflict
from warehouse.lake import Lake
from warehouse.options import flag

if TYPE_CHECKING:
    import pyarrow as pa

    from .run import Request, Subject

AMONG = ("memorized", "contrast", "all")  # each holds the one before
COLUMNS = "tokens, prefix_tokens, n_tokens"


@dataclass(frozen=True)
class Ask:
    """One experiment's part of a request.

    same: settings that a published cell must share to count. levels: settings of which a published cell may hold more
    than is asked for: the value asked for, and all values, each of which holds those before it. items: a setting that
    is a list, and what is asked for of it (JSON values): what published cells hold of it is not asked for again.
    """

    experiment: str
    same: Mapping[str, object]
    levels: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    items: tuple[str, Sequence[object]] | None = None


def subject_settings(subject: Subject) -> dict[str, object]:
    """The settings that say which model runs, and how."""
    return {
        "model": subject.source.name,
        **subject.digest,
        "tokenizer_digest": subject.tokenizer_digest,
        "condition": subject.condition.name,
    }


def cover(lake: Lake, subject: Subject, request: Request, ask: Ask) -> Iterator[tuple[dict, int]]:
    """(settings, number of sequences in their ranks) of the cells that answer a request: those published before, and
    new ones for the ranks between them.

    Raises `Conflict` where published cells hold less of a level than is asked for.
    """
    done = [
        settings
        for _, settings in published(lake, ask.experiment)
        if all(settings.get(key) == value for key, value in ask.same.items())
    ]
    taken: Counter[tuple[str, ...]] = Counter()  # of each sample, whose shards come by their ranks
    for place, shard in _shards(lake, subject.tokenizer, request):
        sample = tuple(place.values())
        wanted = shard if request.limit is None else shard[: max(request.limit - taken[sample], 0)]
        taken[sample] += len(wanted)
        if not wanted:
            continue
        here = [s for s in done if all(s.get(key) == value for key, value in place.items())]
        here = [s for s in here if s["first_rank"] <= wanted[-1] and s["last_rank"] >= wanted[0]]
        key, items = ask.items or ("", [None])
        missing: dict[tuple, list] = {}  # items that are missing in the same ranks share cells
        used = []
        for item in items:
            covered = [s for s in here if item is None or item in s[key]]
            used += [s for s in covered if s not in used]
            missing.setdefault(tuple(gaps(wanted, covered)), []).append(item)
        for s in sorted(used, key=lambda s: s["first_rank"]):
            _check_levels(ask, s)
            yield s, sum(s["first_rank"] <= rank <= s["last_rank"] for rank in shard)
        asked = {name: value for name, (value, _) in ask.levels.items()}
        for ranges, group in missing.items():
            for first, last, count in ranges:
                own = {"first_rank": first, "last_rank": last, **asked, **({key: group} if key else {})}
                yield {**ask.same, **place, **own}, count


def _check_levels(ask: Ask, done: dict) -> None:
    for key, (asked, values) in ask.levels.items():
        if values.index(done[key]) < values.index(asked):
            given = flag(key) if done[key] is True else f"{flag(key)} {done[key]}"
            raise Conflict(
                f"{done['corpus']} {done['domain']} has been measured ({ask.experiment}, {done['model']}) with"
                f" {given} already: ask for the same again, or take those rows back with"
                " `memlake warehouse forget`"
            )


def _shards(lake: Lake, tokenizer: str, request: Request) -> Iterator[tuple[dict[str, str], list[int]]]:
    """(corpus, domain and sample, sorted ranks) of each shard with sequences that have tokens."""
    with lake.connect(["sequences"]) as con:
        shards = con.execute(
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
        while row := shards.fetchone():
            yield dict(zip(("corpus", "domain", "sample"), row, strict=False)), row[3]


def gaps(ranks: list[int], covered: list[dict]) -> Iterator[tuple[int, int, int]]:
    """(first rank, last rank, number of ranks) of each run of ranks that no range covers."""
    run: list[int] = []
    ranges = sorted((s["first_rank"], s["last_rank"]) for s in covered)
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


def left_out(settings: Mapping, tokenizer: str) -> str:
    """The `source` in `rejects` of sequences that a model cannot take under a condition; scoring writes them."""
    return "/".join([settings["domain"], tokenizer, *(settings[key] for key in ("sample", "model", "condition"))])


def chosen(lake: Lake, settings: Mapping, tokenizer: str, among: str, columns: str = "") -> pa.Table:
    """The sequences of a cell that an experiment measures, in the order of their ranks. Those that scoring left out, as
    the model cannot take them, are left out here too.

    settings: model, condition, corpus, domain, sample, first_rank and last_rank are used. among: 'memorized': those
    that the model memorized under the condition; 'contrast': these, as many others (the first by rank, which is by
    hash), and for each memorized one the other that is nearest in completion entropy (of equals the lowest
    sequence_id); 'all'. columns: of `sequences`, beside sequence_id, memorized and completion_entropy.

    Raises `BadInput` where a sequence is not scored yet.
    """
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
                **{key: s[key] for key in ("corpus", "domain", "sample", "model", "condition")},
                **{"tokenizer": tokenizer, "source": left_out(s, tokenizer), "among": among},
                **{"first": s["first_rank"], "last": s["last_rank"]},
            },
        ).to_arrow_table()
    if rows["memorized"].null_count:
        raise BadInput(
            f"{s['corpus']} ({s['domain']}) is not scored for {s['model']} under {s['condition']}: run"
            f" `memlake compute run scoring --corpus {s['corpus']} --model {s['model']}` with the same options first"
        )
    return rows.filter(_contrast(rows)) if among == "contrast" else rows


def _contrast(rows: pa.Table) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    memorized = rows["memorized"].to_numpy()
    entropy = rows["completion_entropy"].to_numpy()
    others = np.flatnonzero(~memorized)
    take = memorized.copy()
    take[others[: memorized.sum()]] = True
    if len(others):
        by_entropy = others[np.lexsort((rows["sequence_id"].to_numpy()[others], entropy[others]))]
        sorted_entropy = entropy[by_entropy]
        # Of equals the first in the order: `left` finds it above, a second `left` the first that equals the one below
        above = np.searchsorted(sorted_entropy, entropy[memorized], side="left")
        below = np.searchsorted(sorted_entropy, sorted_entropy[np.maximum(above - 1, 0)], side="left")
        above = np.minimum(above, len(by_entropy) - 1)
        gap_above, gap_below = (np.abs(sorted_entropy[at] - entropy[memorized]) for at in (above, below))
        ids = rows["sequence_id"].to_numpy()[by_entropy]
        lower = (gap_below < gap_above) | ((gap_below == gap_above) & (ids[below] < ids[above]))
        take[by_entropy[np.where(lower, below, above)]] = True
    return pa.array(take)


def select(
    lake: Lake, subject: Subject, request: Request, ask: Ask, among: str = "memorized", columns: str = ""
) -> Iterator[tuple[dict, pa.Table]]:
    """As `cover`, with the `chosen` sequences of each cell in place of their number. `among` is for cells whose
    settings do not tell."""
    for settings, _ in cover(lake, subject, request, ask):
        yield settings, chosen(lake, settings, subject.tokenizer, settings.get("among", among), columns)


def pieces(rows: pa.Table, size: int) -> Iterable[pa.RecordBatch]:
    """The rows in pieces of at most `size`."""
    return rows.combine_chunks().to_batches(max_chunksize=size)
