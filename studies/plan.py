"""What is to do of a study, and what that costs: by step and model, from what the lake holds, else as is notes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from memlake.compute.forecast import MEMORIZED, Forecast, Supposed, forecast, stated, unknown
from memlake.compute.miniatures.models import SIZES
from memlake.compute.planning.cells import FLOPS, ModelCell, flop
from memlake.compute.planning.cost import Sizes, total
from memlake.compute.planning.sampled import Sampled
from memlake.ingest.sampling.drawing import snapshots
from memlake.ingest.sampling.plan import Ranks, missing, reach
from memlake.warehouse.errors import BadInput, MemlakeError
from memlake.warehouse.lake import Lake
from memlake.warehouse.paths import local
from memlake.warehouse.words import counted, duration, volume
from memlake.warehouse.work.cells import published

from .frozen import FrozenLake
from .record import Ended, Key, Record
from .steps import Counting, Cut, Ingest, Measuring, Report, Show, Step, Train, steps
from .study import Study
from .subjects import Subject, subjects

if TYPE_CHECKING:
    import pyarrow as pa

SHOWINGS = 9.4  # of a sampled window, on average of the levels
SPANS = 5  # rows of a count for each sequence
NUMBERS = ("done", "cells", "sequences", "rows", "bytes", "memory")


@dataclass(frozen=True)
class Item:
    """What is to do of one step for one model, or one corpus. cells, ...: still to do; None: not known. done: cells
    that are; None where cells do not tell. complete: nothing is to do. todo: the cells, where they are known.
    notes: what is assumed, or not known."""

    step: Step
    model: str
    corpora: tuple[str, ...]
    complete: bool
    done: int | None = None
    cells: int | None = None
    sequences: int | None = None
    rows: int | None = None
    bytes: int | None = None
    memory: int | None = None
    hours: float | None = None
    by: str = ""
    notes: tuple[str, ...] = ()
    todo: tuple[ModelCell, ...] = ()

    @property
    def key(self) -> Key:
        """Under which a run notes how it ended."""
        return self.step.name, self.model or self.step.about, self.step.said


@dataclass(frozen=True, kw_only=True)
class Cuts(Sampled):
    """Settings of what was sampled, as far as a study says them."""

    seed: int = 0
    snapshot: str = ""


@contextmanager
def existing(path: Path) -> Iterator[Lake]:
    """The lake at a path; where there is none an empty one, which is gone with the block."""
    if (local(path) / "cells").exists():
        yield FrozenLake.open(path)
        return
    if local(path).exists() and any(local(path).iterdir()):
        Lake.open(path)  # which says what it is instead
    with tempfile.TemporaryDirectory() as folder:
        yield FrozenLake.create(Path(folder) / "lake")


def items(lake: Lake, study: Study, flops: float | None = None) -> list[Item]:
    """Everything of the study, in the order in which it is done; raises as `subjects` does. Changes nothing and fetches
    nothing. flops: of the device; None: what the study assumes, else by what was measured."""
    flops = flops or study.assume.flops
    if flops is not None and not 1 <= flops < inf:
        raise BadInput(f"no flops {flops:g}: it is a number, at least 1")
    looked = Looked(lake, study, flops)
    return [item for step in looked.steps for item in looked.items(step)]


class Looked:
    """What the lake holds, looked at once."""

    def __init__(self, lake: Lake, study: Study, flops: float | None):
        self.lake, self.study, self.flops = lake, study, flops
        self.ended = Record(lake, study.name).ended()
        self.steps = list(steps(study, subjects(lake, study)))
        self.sizes = Sizes(lake)

    @cached_property
    def documents(self) -> dict[str, dict[str, int]]:
        """Documents of each domain, by corpus."""
        with self.lake.connect(["documents"]) as con:
            rows = con.execute("select corpus, domain, count(*) from stored.documents group by all").fetchall()
        found: dict[str, dict[str, int]] = {}
        for corpus, domain, n in rows:
            found.setdefault(corpus, {})[domain] = n
        return found

    @cached_property
    def sequences(self) -> dict[tuple[str, str, str], int]:
        """Sequences by corpus, tokenizer and sample."""
        with self.lake.connect(["sequences"]) as con:
            rows = con.execute(
                "select corpus, tokenizer, sample, count(*) from stored.sequences group by all"
            ).fetchall()
        return {(corpus, tokenizer, sample): n for corpus, tokenizer, sample, n in rows}

    @cached_property
    def last(self) -> dict[tuple[str, str], datetime]:
        """`done_last` of the lake."""
        return done_last(self.lake)

    @cached_property
    def cells(self) -> dict[tuple[str, str, str, str], int]:
        """How many cells are done, by experiment, model, condition and corpus; '' where they have none."""
        with self.lake.connect(["cells"]) as con:
            rows = con.execute(
                """
                from (from stored.cells qualify row_number() over (partition by cell order by finished_at desc) = 1)
                select experiment, settings ->> '$.model' as model, coalesce(settings ->> '$.condition', ''),
                    coalesce(settings ->> '$.corpus', ''), count(*)
                where outcome = 'done' and model is not null group by all
                """
            ).fetchall()
        return {tuple(key): n for *key, n in rows}

    @cached_property
    def pace(self) -> dict[str, float]:
        """Rows a second that cells of an experiment made."""
        with self.lake.connect(["cells"]) as con:
            rows = con.execute(
                "select experiment, sum(rows) / sum(seconds) from stored.cells where outcome = 'done' and rows > 0"
                " group by all having sum(seconds) > 0"
            ).fetchall()
        return dict(rows)

    @cached_property
    def tokenizers(self) -> dict[str, str]:
        """Of the models that the lake knows."""
        with self.lake.connect(["models"]) as con:
            return dict(
                con.execute("select model, tokenizer from stored.models where tokenizer is not null").fetchall()
            )

    def items(self, step: Step) -> Iterator[Item]:
        if isinstance(step, Ingest):
            yield self._ingest(step, step.corpus.name, step.corpus.keep)
        elif isinstance(step, Show):
            yield self._ingest(step, step.about, None)
        elif isinstance(step, Cut):
            yield self._sample(step)
        elif isinstance(step, Train):
            yield from self._train(step)
        elif isinstance(step, Counting):
            yield self._count(step)
        elif isinstance(step, Measuring):
            for subject in step.subjects:
                yield self._measure(step, subject)
        elif isinstance(step, Report):
            newest = max((at for (_, of), at in self.last.items() if not of), default=None)
            yield Item(step, "", (), complete=self._done_since(step, newest))

    def _done_since(self, step: Step, newest: datetime | None) -> bool:
        """Was the step done as it is asked for now, after all on which it stands?"""
        how = self.ended.get((step.name, step.about, step.said))
        return bool(how and how.reason is None and (newest is None or newest <= _end(how)))

    def _begun(self, step: Step) -> bool:
        """Was a step of this name begun, whatever was asked? If not, then what is there was made by hand."""
        return any(key[:2] == (step.name, step.about) for key in self.ended)

    def _ingest(self, step: Step, corpus: str, keep: int | None) -> Item:
        there = corpus in self.documents or corpus in self._imported
        if there and (not self._begun(step) or self._done_since(step, None)):
            return Item(step, "", (corpus,), complete=True)
        domains = self.study.assume.of(corpus)
        rows = keep * domains if keep and domains else None
        note = stated(corpus, domains) if rows and domains else f"{corpus} is not read yet"
        return Item(
            step,
            "",
            (corpus,),
            complete=False,
            rows=rows,
            bytes=round(rows * self.sizes.row("documents")) if rows and self.documents else None,
            notes=(note,),
        )

    def supposed(self, corpus: str) -> Supposed:
        """What the samples of a corpus are going to be."""
        samples = [s for s in self.study.samples if not s.corpus or corpus in s.corpus]
        there = self.documents.get(corpus)
        windows = [s.window.rpartition("+")[2] for s in samples if not s.window.startswith("bytes")]
        return Supposed(
            domains=len(there) if there else self.study.assume.of(corpus),
            counted=bool(there),
            per_domain=sum(s.per_domain for s in samples),
            continuation=max((int(w) for w in windows if w.isdigit()), default=32),
            memorized=MEMORIZED if self.study.assume.memorized is None else self.study.assume.memorized,
        )

    def _sample(self, step: Cut) -> Item:
        corpus, sample = step.corpus, step.sample
        names = {s.name: self.tokenizers.get(s.name) or (s.spec and s.spec.tokenizer) or s.name for s in step.subjects}
        wanted = {*names.values()}
        if corpus in self._imported:  # sequences without documents, which are as they are
            return Item(step, "", (corpus,), complete=True)
        drawn: dict[tuple[str, str, str], list[Ranks]] = {}  # by domain, tokenizer and sample
        for c in self._cuts:
            asked = (c.corpus, c.seed, c.rule.get("at"), c.rule.get("window"))
            of_now = c.snapshot == self._snapshots.get((corpus, c.domain))  # and not of what was there before
            if of_now and asked == (corpus, sample.seed, sample.at, sample.window):
                drawn.setdefault((c.domain, c.tokenizer, c.sample), []).append((c.first_rank, c.last_rank))
        lost = self._lost(corpus, ["/".join(place) for place in drawn])
        ready = {
            place[:2]
            for place, ranks in drawn.items()
            if not missing(ranks, reach(lost.get("/".join(place), []), sample.per_domain), sample.per_domain)
        }
        domains = sample.domain or tuple(self.documents.get(corpus, ()))
        there = sum(last - first + 1 for ranks in drawn.values() for first, last in ranks) - sum(
            map(len, lost.values())
        )
        whole = bool(domains) and ready >= {(domain, tokenizer) for domain in domains for tokenizer in wanted}
        if whole or (drawn and self._done_since(step, self._newest(["ingest", "ingest_keep"], corpus))):
            return Item(step, "", (corpus,), complete=True)
        n = len(domains) or self.study.assume.of(corpus)
        rows = None if n is None else max(n * sample.per_domain * len(wanted) - there, 0)
        note = unknown(corpus) if n is None else stated(corpus, n, bool(domains))
        pace = self.pace.get("sample")
        return Item(
            step,
            "",
            (corpus,),
            complete=False,
            sequences=rows,
            rows=rows,
            bytes=None if rows is None else round(rows * self.sizes.row("sequences")),
            hours=rows / pace / 3600 if rows is not None and pace else None,
            by="cells done before" if pace and rows is not None else "",
            notes=(note,),
        )

    @cached_property
    def _cuts(self) -> list[Cuts]:
        return [settings for _, settings in published(self.lake, "sample", Cuts)]

    @cached_property
    def _snapshots(self) -> dict[tuple[str, str], str]:
        """Of the documents that are there now, by corpus and domain."""
        return snapshots(self.lake, sorted(self.documents), ()) if self.documents else {}

    def _lost(self, corpus: str, sources: Iterable[str]) -> dict[str, list[int]]:
        """Ranks that gave no sequence, in order, by what `rejects` calls the sample."""
        with self.lake.connect(["rejects"]) as con:
            rows = con.execute(
                "select source, list(distinct position order by position) from stored.rejects"
                " where corpus = ? and list_contains(?, source) group by all",
                [corpus, [*sources]],
            ).fetchall()
        return dict(rows)

    @cached_property
    def _imported(self) -> set[str]:
        """Corpora that came with their sequences, and without documents."""
        return {corpus for corpus, *_ in self.sequences} - self.documents.keys()

    def _newest(self, experiments: Iterable[str], of: str) -> datetime | None:
        return max((self.last[e, of] for e in experiments if (e, of) in self.last), default=None)

    def _train(self, step: Train) -> Iterator[Item]:
        for subject in step.subjects:
            corpus = subject.spec.corpora[0] if subject.spec else ""
            if any(key[:2] == ("miniature", subject.name) for key in self.cells):
                yield Item(step, subject.name, (corpus,), complete=True, done=1, cells=0)
                continue
            supposed, params = self.supposed(corpus), SIZES[subject.size].params
            windows = None if supposed.domains is None else supposed.domains * supposed.per_domain
            # a step forward and two back
            hours = None if windows is None else 3 * windows * SHOWINGS * flop(params, 1) / FLOPS["cpu"] / 3600
            yield Item(
                step,
                subject.name,
                (corpus,),
                complete=False,
                done=0,
                cells=1,
                sequences=windows,
                memory=4 * params,
                hours=hours,
                by=f"on paper, {FLOPS['cpu']:g} FLOP/s" if hours is not None else "",
                notes=(
                    unknown(corpus) if supposed.domains is None else stated(corpus, supposed.domains, supposed.counted),
                ),
            )

    def _count(self, step: Counting) -> Item:
        c = step.count
        there = sum(n for (corpus, *_), n in self.sequences.items() if corpus == c.corpus)
        newest = self._newest(["sample"], c.corpus)
        if there and self._done_since(step, newest):
            return Item(step, "", (c.corpus, c.within), complete=True)
        if there and not self._begun(step) and self._counted(c.corpus, c.within, len(c.tokenizer)):
            return Item(step, "", (c.corpus, c.within), complete=True)
        supposed = self.supposed(c.corpus)
        rows, notes = SPANS * there * len(c.tokenizer) if there else None, list[str]()
        if rows is None:
            tokenizers = self._tokenizers_of(c.corpus)
            if supposed.domains is not None:
                rows = SPANS * supposed.domains * supposed.per_domain * tokenizers * len(c.tokenizer)
                notes.append(stated(c.corpus, supposed.domains, supposed.counted))
            else:
                notes.append(unknown(c.corpus))
        notes.append("how long a corpus takes to be read is not known")
        return Item(
            step,
            "",
            (c.corpus, c.within),
            complete=False,
            rows=rows,
            bytes=None if rows is None else round(rows * self.sizes.row("ngram_counts")),
            notes=tuple(notes),
        )

    def _tokenizers_of(self, corpus: str) -> int:
        cut = [s for step in self.steps if isinstance(step, Cut) and step.corpus == corpus for s in step.subjects]
        return len({(s.spec and s.spec.tokenizer) or s.name for s in cut})

    def _counted(self, corpus: str, within: str, ways: int) -> bool:
        """Has every sequence of a corpus its counts?"""
        with self.lake.connect(["ngram_counts"]) as con:
            row = con.execute(
                "select count(*) from (select distinct sequence_id, counted_tokenizer from stored.ngram_counts"
                " where corpus = ? and counted_corpus = ?)",
                [corpus, within],
            ).fetchone()
        there = sum(n for (of, *_), n in self.sequences.items() if of == corpus)
        return bool(row and row[0] >= there * ways)

    def _measure(self, step: Measuring, subject: Subject) -> Item:
        corpora = subject.measured(step.measure)
        if subject.spec is None:
            return Item(step, subject.name, corpora, complete=False, notes=(subject.problem,))
        costs: list[Forecast] = []
        notes: list[str] = []
        for corpus in corpora:
            request = subject.request(step.measure, (corpus,), flops=self.flops)
            try:
                one = forecast(self.lake, step.name, subject.spec, request, {corpus: self.supposed(corpus)})
            except MemlakeError as error:
                notes.append(str(error))
                continue
            costs.append(one)
            notes += one.notes
        if not costs:
            return Item(step, subject.name, corpora, complete=False, notes=tuple(notes))
        refused = len(costs) < len(corpora)
        sums = {
            name: None if refused else total([getattr(cost, name) for cost in costs])
            for name in ("cells", "sequences", "rows", "size")
        }
        hours = [cost.hours for cost in costs if cost.hours is not None]
        return Item(
            step,
            subject.name,
            corpora,
            complete=not refused and all(cost.cells == 0 for cost in costs),
            done=sum(self.cells.get((step.name, subject.name, costs[0].condition, of), 0) for of in (*corpora, "")),
            cells=sums["cells"],
            sequences=sums["sequences"],
            rows=sums["rows"],
            bytes=sums["size"],
            memory=max((cost.memory for cost in costs if cost.memory), default=None),
            hours=sum(hours) if len(hours) == len(corpora) else None,
            by="; ".join(dict.fromkeys(cost.by for cost in costs if cost.by)),
            notes=tuple(dict.fromkeys(notes)),
            todo=tuple(cell for cost in costs for cell in cost.todo),
        )


def done_last(lake: Lake) -> dict[tuple[str, str], datetime]:
    """When a cell of an experiment was last done, by what it is of: a corpus, a model, and '' for any."""
    with lake.connect(["cells"]) as con:
        rows = con.execute(
            """
            with done as (from stored.cells where outcome = 'done')
            select experiment, settings ->> '$.corpus' as of, max(finished_at) from done group by all
            union all select experiment, settings ->> '$.model', max(finished_at) from done group by all
            union all select experiment, '', max(finished_at) from done group by all
            """
        ).fetchall()
    return {(experiment, of): at for experiment, of, at in rows if of is not None}


def _end(how: Ended) -> datetime:
    """When a step ended, to the end of that second."""
    return how.when.replace(microsecond=999_999)


def table(found: Sequence[Item], short: bool = True) -> pa.Table:
    """One row is one step for one model or corpus in which something is to do. short: notes by their numbers in
    `summed`, and not in words."""
    import pyarrow as pa

    number = _numbered(found)
    rows = [
        {
            "step": item.step.name,
            "corpus": "" if item.model else item.step.about,
            "model": item.model,
            **{name: getattr(item, name) for name in (*NUMBERS, "hours")},
            "rate": item.by,
            "notes": ", ".join(str(number[note]) for note in item.notes) if short else "; ".join(item.notes),
        }
        for item in found
        if not item.complete
    ]
    texts = [(name, pa.string()) for name in ("step", "corpus", "model")]
    numbers = [(name, pa.int64()) for name in NUMBERS]
    return pa.Table.from_pylist(
        rows,
        pa.schema([*texts, *numbers, ("hours", pa.float64()), ("rate", pa.string()), ("notes", pa.string())]),
    )


def _numbered(found: Sequence[Item]) -> Mapping[str, int]:
    """The notes, from 1 on."""
    all_ = dict.fromkeys(note for item in found if not item.complete for note in item.notes)
    return {note: i for i, note in enumerate(all_, 1)}


def summed(found: Sequence[Item]) -> list[str]:
    """Lines on all of it: what is assumed or not known, what is done, what is to do."""
    lines = [f"note {i}: {note}" for note, i in _numbered(found).items()]
    todo = [item for item in found if not item.complete]
    if ready := len(found) - len(todo):
        lines.append(f"done already: {ready} of {len(found)}")
    if not todo:
        return [*lines, "nothing to do"]
    parts = [f"{_sum(todo, 'cells'):,} cells", f"{_sum(todo, 'rows'):,} rows", volume(_sum(todo, "bytes"))]
    hours = sum(item.hours for item in todo if item.hours is not None)
    if memory := max((item.memory for item in todo if item.memory), default=0):
        parts.append(f"{volume(memory)} of memory for the weights of the largest model")
    if hours:
        parts.append(f"about {duration(3600 * hours)} of one process")
    unknown = sum(item.hours is None and not isinstance(item.step, Report) for item in todo)
    more = f", and what is not known of {counted(unknown, 'line')}" if unknown else ""
    return [*lines, f"to do: {', '.join(parts)}{more}"]


def _sum(todo: Sequence[Item], name: str) -> int:
    return sum(value for item in todo if (value := getattr(item, name)) is not None)
