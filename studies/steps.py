"""The steps of a study, in the order in which they are done. Each is what one command does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from memlake.warehouse.identity import tagged

from .study import SCORING, Corpus, Count, Measure, Miniatures, Sample, Study
from .subjects import Subject


@dataclass(frozen=True)
class Step:
    """What it is called by, and `said` beside it: two of one name may ask for different things. about: a corpus or
    nothing."""

    @property
    def name(self) -> str:
        raise NotImplementedError

    @property
    def about(self) -> str:
        return ""

    @property
    def said(self) -> str:
        """A digest of what is asked for: one that was asked otherwise was not done."""
        return ""

    def title(self, about: str = "") -> str:
        """What people are told that it is. about: a model, or whatever else a line of it is of."""
        return " ".join(filter(None, (self.name, about or self.about)))


@dataclass(frozen=True)
class Ingest(Step):
    corpus: Corpus

    @property
    def name(self) -> str:
        return "ingest"

    @property
    def about(self) -> str:
        return self.corpus.name

    @property
    def said(self) -> str:
        return _digest(self.corpus)


@dataclass(frozen=True)
class Cut(Step):
    """Sequences of a corpus, for the tokenizers of these models."""

    sample: Sample
    corpus: str
    subjects: tuple[Subject, ...]

    @property
    def name(self) -> str:
        return "sample"

    @property
    def about(self) -> str:
        s = self.sample
        own = [text for text, default in ((s.window, "32+32"), (s.at, "space"), (str(s.seed), "0")) if text != default]
        return " ".join([self.corpus, *own])

    @property
    def said(self) -> str:
        return _digest(self.sample, sorted({s.name for s in self.subjects}))


@dataclass(frozen=True)
class Train(Step):
    """The miniatures."""

    groups: tuple[Miniatures, ...]
    subjects: tuple[Subject, ...]

    @property
    def name(self) -> str:
        return "train"


@dataclass(frozen=True)
class Show(Step):
    """A corpus of what training showed."""

    group: Miniatures
    subjects: tuple[Subject, ...]

    @property
    def name(self) -> str:
        return "ingest"

    @property
    def about(self) -> str:
        return self.group.shown or ""


@dataclass(frozen=True)
class Counting(Step):
    count: Count

    @property
    def name(self) -> str:
        return "count"

    @property
    def about(self) -> str:
        c = self.count
        return c.corpus if c.within == c.corpus else f"{c.corpus} in {c.within}"

    @property
    def said(self) -> str:
        return _digest(self.count)


@dataclass(frozen=True)
class Measuring(Step):
    """One measurement of all models that it is asked of."""

    measure: Measure
    subjects: tuple[Subject, ...]

    @property
    def name(self) -> str:
        return self.measure.experiment

    @property
    def said(self) -> str:
        return _digest(self.measure)


@dataclass(frozen=True)
class Report(Step):
    @property
    def name(self) -> str:
        return "report"


def steps(study: Study, subjects: Sequence[Subject]) -> Iterator[Step]:
    """All steps of the study."""
    for corpus in study.corpora:
        if corpus.source and corpus.name not in study.shown:
            yield Ingest(corpus)
    measured = {corpus for subject in subjects for corpus in subject.corpora}
    trained = {subject.miniature.trained_on for subject in subjects if subject.miniature}
    for sample in study.samples:
        for corpus in study.corpora:
            cut = tuple(
                s
                for s in subjects
                if (corpus.name in s.corpora or (s.miniature and s.miniature.trained_on == corpus.name))
                and (not sample.model or s.called(sample.model))
            )
            wanted = corpus.name in (sample.corpus or measured | trained)
            if wanted and cut:
                yield Cut(sample, corpus.name, cut)
    if study.miniatures:
        yield Train(study.miniatures, tuple(s for s in subjects if s.miniature))
    for measure in study.experiments:
        if measure.experiment == SCORING:
            yield Measuring(measure, _of(measure, subjects))
    for group in study.miniatures:
        if group.shown:
            yield Show(group, tuple(s for s in subjects if s.miniature == group))
    for count in study.counts:
        yield Counting(count)
    for measure in study.experiments:
        if measure.experiment != SCORING:
            yield Measuring(measure, _of(measure, subjects))
    if study.report:
        yield Report()


def _of(measure: Measure, subjects: Sequence[Subject]) -> tuple[Subject, ...]:
    return tuple(s for s in subjects if s.measured(measure))


def _digest(table: Any, more: object = None) -> str:
    return tagged("asked", [asdict(table), more])
