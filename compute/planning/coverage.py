"""Which ranks of which samples a request wants, which of them are published, and which sequences an experiment takes.

A cell covers a range of ranks of one domain's sample. What is published is taken as it stands, and new cells fill the
gaps, so that a larger request computes only what is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from memlake.warehouse.errors import BadInput, Conflict
from memlake.warehouse.identity import canonical
from memlake.warehouse.lake import Lake
from memlake.warehouse.options import flag
from memlake.warehouse.work.cells import published

from .contrast import CALIPER, contrast
from .unfit import rejected

if TYPE_CHECKING:
    import pyarrow as pa

    from memlake.compute.planning.request import Request, Subject
    from memlake.warehouse.work.cells import Cell

AMONG = ("memorized", "contrast", "all")  # each holds the one before
OWN = ("first_rank", "last_rank", "among", "caliper", "beyond")  # settings that say which of a sample a cell takes
COLUMNS = "tokens, prefix_tokens, n_tokens"


@dataclass(frozen=True)
class Ask:
    """One experiment's part of a request.

    same: settings that a published cell must share to count. levels: settings of which a published cell may hold more
    than is asked for: the value asked for, and all values, each of which holds those before it. items: a setting that
    is a list, and what is asked for of it (JSON values): what published cells hold of it is not asked for again.
    among: of AMONG; where published cells hold fewer sequences, new ones take the rest.
    """

    experiment: str
    same: Mapping[str, object]
    levels: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    items: tuple[str, Sequence[object]] | None = None
    among: str | None = None


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

    A new cell goes `beyond` published ones that take fewer of its ranks: they stand in its settings, and it takes what
    they do not. Raises `Conflict` where published cells hold less of a level than is asked for.
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
        here = [s for s in here if _meets(s, wanted[0], wanted[-1])]
        key, items = ask.items or ("", [None])
        missing: list[tuple[list, list]] = []  # new cells but for their items, and the items that they all lack
        used = []
        for item in items:
            holding = [s for s in here if item is None or item in s[key]]
            used += [s for s in holding if s not in used]
            new = list(_new(ask, wanted, holding))
            lacking = next((group for cells, group in missing if cells == new), None)
            if lacking is None:
                missing.append((new, lacking := []))
            lacking.append(item)
        for s in sorted(used, key=lambda s: s["first_rank"]):
            _check_levels(ask, s)
            yield s, sum(s["first_rank"] <= rank <= s["last_rank"] for rank in shard)
        for cells, group in missing:
            for own, count in cells:
                yield {**ask.same, **place, **own, **({key: group} if key else {})}, count


def _new(ask: Ask, wanted: list[int], holding: list[dict]) -> Iterator[tuple[dict, int]]:
    """Settings, but for what they share with others, and number of ranks of the cells that are missing beside those
    that hold something."""
    full = [s for s in holding if _in_full(ask, s, holding)]
    fewer = sorted((_own(s) for s in holding if s not in full), key=canonical)
    asked = {name: value for name, (value, _) in ask.levels.items()}
    asked |= {"among": ask.among} if ask.among else {}
    asked |= {"caliper": CALIPER} if ask.among == "contrast" else {}
    for first, last, count in gaps(wanted, full):
        beyond = [own for own in fewer if _meets(own, first, last)]
        yield {"first_rank": first, "last_rank": last, **asked, **({"beyond": beyond} if beyond else {})}, count


def _in_full(ask: Ask, done: dict, holding: list[dict]) -> bool:
    """Is all that is asked for of a published cell's ranks measured, by it or by those that it goes beyond?"""
    if ask.among is None:
        return True
    there = [_own(s) for s in holding]
    enough = AMONG.index(done["among"]) >= AMONG.index(ask.among)
    return enough and all(part in there for part in done.get("beyond", ()))


def _own(settings: Mapping) -> dict:
    return {key: settings[key] for key in OWN if key in settings}


def _meets(settings: Mapping, first: int, last: int) -> bool:
    return settings["first_rank"] <= last and settings["last_rank"] >= first


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


def chosen(lake: Lake, settings: Mapping, tokenizer: str, among: str, columns: str = "") -> pa.Table:
    """The sequences of a cell that an experiment measures, in the order of their ranks. Those that scoring left out, as
    the model cannot take them, are left out here too.

    settings: model, condition, corpus, domain, sample, first_rank and last_rank are used, and caliper and beyond where
    they are set. among: 'memorized': those that the model memorized under the condition; 'contrast': these, as many
    others (the first by rank, which is by hash), and those that `pairs` sets beside them; 'all'. What the cells under
    `beyond` take is left out. columns: of `sequences`, beside sequence_id, memorized and completion_entropy.

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
                **{key: s[key] for key in ("corpus", "domain", "sample", "model", "condition")},
                **{"tokenizer": tokenizer, "source": rejected(s, tokenizer), "among": among},
                **{"first": s["first_rank"], "last": s["last_rank"]},
            },
        ).to_arrow_table()
    if rows["memorized"].null_count:
        raise BadInput(
            f"{s['corpus']} ({s['domain']}) is not scored for {s['model']} under {s['condition']}: run"
            f" `memlake compute run scoring --corpus {s['corpus']} --model {s['model']}` with the same options first"
        )
    if among == "contrast":
        rows = rows.filter(contrast(rows, s.get("caliper")))
    for part in s.get("beyond", ()):
        fewer = chosen(lake, {**s, "caliper": None, "beyond": (), **part}, tokenizer, part["among"])
        rows = rows.filter(pc.invert(pc.is_in(rows["sequence_id"], fewer["sequence_id"])))
    return rows


def nothing_memorized(lake: Lake, cells: Sequence[Cell]) -> Iterator[str]:
    """A line for each model and corpus of which the cells measure nothing, since nothing is memorized."""
    import pyarrow.compute as pc

    places: dict[tuple, list[Cell]] = {}
    for cell in cells:
        if "corpus" in cell.settings:
            places.setdefault((cell.settings["model"], cell.settings["corpus"]), []).append(cell)
    for (model, corpus), here in places.items():
        if any(cell.task["sequences"] for cell in here):
            continue
        ranks = {(c.settings["domain"], c.settings["sample"], c.settings["first_rank"]): c for c in here}.values()
        scored = [chosen(lake, {**c.settings, "beyond": ()}, c.task["tokenizer"], "all") for c in ranks]
        if not any(pc.any(rows["memorized"]).as_py() for rows in scored):
            other = (
                "--among all measures what is not memorized"
                if "among" in here[0].settings
                else "`memlake query run score_distribution` tells how near they came"
            )
            n = sum(rows.num_rows for rows in scored)
            yield f"{model} on {corpus}: of {n} scored sequences none is memorized, nothing to measure: {other}"


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
