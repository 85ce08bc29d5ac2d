"""Which sequences of a cell's ranks an experiment measures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from memlake.compute.models.checkpoint import Unscored
from memlake.warehouse.lake import Lake

from .cells import ModelCell, RangeCell
from .contrast import contrast
from .settings import Choice, ChoiceSettings, Range, RangeSettings
from .unfit import rejected

if TYPE_CHECKING:
    import pyarrow as pa

    from .request import Subject

COLUMNS = "tokens, prefix_tokens, n_tokens"
COUNTED = "prefix_tokens, n_tokens"  # those by which rows can be counted beforehand


def chosen(lake: Lake, settings: RangeSettings, choice: Choice, tokenizer: str, columns: str = "") -> pa.Table:
    """The sequences of a cell that an experiment measures, in the order of their ranks. Those that scoring left out, as
    the model cannot take them, are left out here too.

    settings: say which model, condition and sample; choice: which of its ranks, and of these by its `among`:
    'memorized': those that the model memorized under the condition; 'contrast': these, as many others (the first by
    rank, which is by hash), and those that `pairs` sets beside them; 'all'. columns: of `sequences`, beside rank,
    sequence_id, memorized and completion_entropy.

    Raises `Unscored` where a sequence is not scored yet.
    """
    own = choice.first_rank, choice.last_rank
    return Scored(lake, settings, tokenizer, columns, choice.reach, own).chosen(choice)


class Scored:
    """The sequences of one domain's sample that a model was scored on, by rank, to choose from.

    settings: say which. columns: as in `chosen`. reach: of these ranks; None: of all. own: the ranks that `columns` are
    read of, which may be large; None: of all.
    """

    def __init__(
        self,
        lake: Lake,
        settings: RangeSettings,
        tokenizer: str,
        columns: str = "",
        reach: Range | None = None,
        own: Range | None = None,
    ):
        s = self.settings = settings
        ranks = "rank between $first and $last" if own else "true"
        listed = "".join(f", if({ranks}, {c}, null) as {c}" for c in filter(None, columns.split(", ")))
        with lake.connect(["sequences", "matches", "rejects"]) as con:
            self.rows = con.execute(
                f"""
                select rank, sequence_id, memorized, completion_entropy{listed}
                from (from stored.sequences where corpus = $corpus and domain = $domain and tokenizer = $tokenizer
                    and sample = $sample and {"rank between $from and $to" if reach else "true"} and len(tokens) > 0
                    and rank not in (select position from stored.rejects where corpus = $corpus and source = $source))
                left join (select sequence_id, memorized, completion_entropy from stored.matches
                    where model = $model and condition = $condition and corpus = $corpus and domain = $domain)
                    using (sequence_id)
                order by rank
                """,
                {
                    **{"corpus": s.corpus, "domain": s.domain, "sample": s.sample},
                    **{"model": s.model, "condition": s.condition},
                    **{"tokenizer": tokenizer, "source": rejected(s, tokenizer)},
                    **(dict(zip(("from", "to"), reach, strict=True)) if reach else {}),
                    **(dict(zip(("first", "last"), own, strict=True)) if own and columns else {}),
                },
            ).to_arrow_table()
        self.rows = self.rows.combine_chunks()
        self._ranks = self.rows["rank"].to_numpy()
        self._contrasts: dict[tuple[Range, float | None], pa.Table] = {}

    def chosen(self, choice: Choice) -> pa.Table:
        """What `chosen` says; the choice is of the ranks that were read."""
        if self._between(self.rows, choice.reach)["memorized"].null_count:
            s = self.settings
            raise Unscored(
                f"{s.corpus} ({s.domain}) is not scored for {s.model} under {s.condition}: run"
                f" `memlake compute run scoring --corpus {s.corpus} --model {s.model}` with the same options first"
            )
        return self._take(choice)

    def _take(self, choice: Choice) -> pa.Table:
        import pyarrow.compute as pc

        own = choice.first_rank, choice.last_rank
        if choice.among == "contrast":
            rows = self._between(self._contrast(choice.within or own, choice.caliper), own)
        else:
            rows = self._between(self.rows, own)
        if choice.among == "memorized":
            rows = rows.filter(rows["memorized"])
        for part in choice.beyond or ():
            rows = rows.filter(pc.invert(pc.is_in(rows["sequence_id"], self._take(part)["sequence_id"])))
        return rows

    def _contrast(self, within: Range, caliper: float | None) -> pa.Table:
        """Kept, for many cells may be parts of one choice."""
        key = within, caliper
        if key not in self._contrasts:
            rows = self._between(self.rows, within)
            self._contrasts[key] = rows.filter(contrast(rows, caliper))
        return self._contrasts[key]

    @staticmethod
    def _between(rows: pa.Table, ranks: Range) -> pa.Table:
        first, last = ranks
        found = rows["rank"].to_numpy()
        start, end = found.searchsorted(first), found.searchsorted(last, side="right")
        return rows.slice(start, end - start)


class Choices:
    """What is chosen for the cells of a plan of one model: what of a sample was scored is read once for all of them."""

    def __init__(self, lake: Lake, subject: Subject):
        self.lake, self.subject = lake, subject
        self._scored: dict[tuple[str, ...], Scored] = {}

    def of(self, settings: RangeSettings, choice: Choice) -> pa.Table:
        """As `chosen`, with the columns COUNTED."""
        place = (settings.corpus, settings.domain, settings.sample, settings.condition)
        if place not in self._scored:
            self._scored[place] = Scored(self.lake, settings, self.subject.tokenizer, COUNTED)
        return self._scored[place].chosen(choice)


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
        choices = Choices(lake, here[0].subject)
        ranges = {(c.settings.domain, c.settings.sample, c.settings.first_rank): c.settings for c in here}.values()
        scored = [choices.of(settings, whole_range(settings)) for settings in ranges]
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
