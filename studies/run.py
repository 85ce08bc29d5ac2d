"""Run a study: whatever is missing of it, in order. What cannot be done is told, and stops nothing that does not stand
on it; started again, it does what is still missing."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic, strftime
from typing import Any

from memlake.compute.planning.request import Request
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import ModelSpec
from memlake.warehouse.show.terminal import printable, say
from memlake.warehouse.words import counted, duration
from memlake.warehouse.work.attempt import explain
from memlake.warehouse.work.cells import Cell
from memlake.warehouse.work.cluster import cluster
from memlake.warehouse.work.runner import Summary

from .record import Record, Running, last_line
from .steps import Counting, Cut, Ingest, Measuring, Report, Show, Step, Train, steps
from .study import SCORING, Study
from .subjects import Subject, subjects

TOLD = 3  # different reasons of a step that are told in full


@dataclass
class Outcome:
    """How a run ended: (step, what it is about, reason) of what failed, and the report's page."""

    failed: list[tuple[str, str, str]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    page: Path | None = None


def run(lake: Lake, study: Study, workers: int | None = None, scheduler: str | None = None) -> Outcome:
    """Do all that is missing of the study; raises `UnknownName` and `BadInput` for models that nobody knows, before
    anything is done. workers, scheduler: as in `run_cells`."""
    began = monotonic()
    todo = list(steps(study, subjects(lake, study)))
    record = Record(lake, study.name)
    shared = cluster() if workers is None and scheduler is None else nullcontext()
    with record.running() as running, shared:
        going = Run(lake, record, running, workers, scheduler)
        for step in todo:
            going.do(step)
    failed = going.outcome.failed
    say(f"{study.title}: {duration(monotonic() - began)}, {_how_many(failed, going.outcome.left_out)}")
    for step_, about, reason in failed:
        say(printable(f"  {' '.join(filter(None, (step_, about)))}: {last_line(reason)}"))
    for line in going.outcome.left_out:
        say(printable(f"  {line}"))
    return going.outcome


def _how_many(failed: Sequence[object], left_out: Sequence[object]) -> str:
    if not failed:
        return "all is done"
    waits = f", {counted(len(left_out), 'thing waits', 'things wait')} for it" if left_out else ""
    return f"{counted(len(failed), 'thing', 'things')} failed{waits}: run it again to retry"


class Run:
    """One run, step by step. no_corpus, no_model, no_pair: on which nothing can stand, for something failed."""

    def __init__(self, lake: Lake, record: Record, running: Running, workers: int | None, scheduler: str | None):
        self.lake, self.record, self.running = lake, record, running
        self.workers, self.scheduler = workers, scheduler
        self.outcome = Outcome()
        self.no_corpus: set[str] = set()
        self.no_model: set[str] = set()
        self.no_pair: set[tuple[str, str]] = set()
        self._specs: dict[str, ModelSpec] = {}  # by model: a checkpoint with its tokenizer, which can be read

    def do(self, step: Step) -> None:
        """Do a step; its errors do not leave, but where the lake cannot be written to note them."""
        began = monotonic()
        self.running.step(step.title())
        say(f"{strftime('%Y-%m-%d %H:%M:%S')} == {step.title()}")
        ways: dict[type, Callable[..., None]] = {
            Ingest: self._ingest,
            Cut: self._sample,
            Train: self._train,
            Show: self._show,
            Counting: self._count,
            Measuring: self._measure,
            Report: self._report,
        }
        try:
            ways[type(step)](step)
        except Exception as error:
            self._fail(step, step.about, error)
        say(f"   {duration(monotonic() - began)}")

    # Steps

    def _ingest(self, step: Ingest) -> None:
        corpus = step.corpus
        self.no_corpus.add(corpus.name)  # until it is there
        self._read(corpus.source or "", corpus.own, corpus.name, step, keep=corpus.keep, strict=corpus.strict)

    def _read(self, source: str, own: Mapping[str, Any], corpus: str, step: Step, **more: Any) -> None:
        from memlake.ingest.run import ingest

        self.record.begin(step.name, step.about, step.said)
        summary, lines = ingest(self.lake, source, own, corpus=corpus, workers=self.workers, **more)
        for line in lines:
            say(printable("   " + line))
        if self._ended(step, step.about, summary):
            self.no_corpus.discard(corpus)

    def _sample(self, step: Cut) -> None:
        from memlake.ingest.sampling.sample import remarks, sample

        if step.corpus in self.no_corpus:
            self._leave(step, step.corpus)
            return
        holds, cut = self._holds(step.corpus)
        if cut and not holds:
            say(f"   {step.corpus} was imported without documents: its sequences are as they are")
            self.record.end(step.name, step.about, said=step.said)
            return
        specs = {s.name: spec for s in step.subjects if (spec := self._spec(step, s))}
        if not specs:
            return
        s = step.sample
        self.no_corpus.add(step.corpus)
        summary, counts = sample(
            self.lake,
            [step.corpus],
            [*specs.values()],
            domains=s.domain,
            per_domain=s.per_domain,
            window=s.window,
            at=s.at,
            seed=s.seed,
            workers=self.workers,
        )
        for line in remarks(counts):
            say(printable("   " + line))
        if self._ended(step, step.about, summary):
            self.no_corpus.discard(step.corpus)

    def _holds(self, corpus: str) -> tuple[bool, bool]:
        """Has the lake documents of a corpus, and sequences?"""
        with self.lake.connect(["documents", "sequences"]) as con:
            found = con.execute(
                "select exists (from stored.documents where corpus = $1),"
                " exists (from stored.sequences where corpus = $1)",
                [corpus],
            ).fetchone()
        assert found
        return bool(found[0]), bool(found[1])

    def _spec(self, step: Step, subject: Subject) -> ModelSpec | None:
        """A model whose tokenizer can be read; None, and it is told once, for any other."""
        from memlake.compute.miniatures.cells import train_tokenizer
        from memlake.warehouse.models.registry import find
        from memlake.warehouse.models.tokenizer import load_tokenizer

        if subject.name in self.no_model:
            return None
        group = subject.miniature
        if group and group.trained_on in self.no_corpus:
            self._leave(step, group.trained_on, subject.name)
            return None
        try:
            if subject.name not in self._specs:
                if group and subject.spec:
                    spec = train_tokenizer(self.lake, subject.spec.family or "", group.trained_on)
                else:
                    spec = find(self.lake, subject.text)
                load_tokenizer(spec)
                self._specs[subject.name] = spec
        except Exception as error:
            self.no_model.add(subject.name)
            self._fail(step, subject.name, error, said="")  # whatever was asked of the model
            return None
        return self._specs[subject.name]

    def _train(self, step: Train) -> None:
        from memlake.compute.miniatures import cells as miniatures
        from memlake.warehouse.work.runner import run_cells

        found: list[miniatures.MiniatureCell] = []
        for subject in step.subjects:
            group = subject.miniature
            assert group and subject.spec and subject.spec.family
            if subject.name in self.no_model:
                continue
            if group.trained_on in self.no_corpus:
                self.no_model.add(subject.name)
                self._leave(step, group.trained_on, subject.name)
                continue
            try:
                found += miniatures.cells(
                    self.lake, group.trained_on, [subject.spec.family], [subject.size], suffix=group.suffix
                )
            except Exception as error:
                self.no_model.add(subject.name)
                self._fail(step, subject.name, error)
        summary = run_cells(self.lake, found, workers=self.workers, scheduler=self.scheduler, title="train")
        self.no_model |= self._ended_by_model(step, [s for s in step.subjects if s.name not in self.no_model], summary)

    def _show(self, step: Show) -> None:
        from memlake.compute.miniatures.text import write_shown
        from memlake.warehouse.publishing.register import register

        self.no_corpus.add(step.about)
        if lacking := [s.name for s in step.subjects if s.name in self.no_model]:
            self._leave(step, lacking[0])
            return
        path = self.lake.path / "miniatures" / "shown" / step.about / "shown.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_shown(self.lake, step.group.trained_on, path)
        self._read("jsonl", {"path": (str(path),), "domain_field": "domain"}, step.about, step)
        trained = [{"model": s.name, "corpus": step.about, "role": "trained"} for s in step.subjects]
        register(self.lake, "model_corpora", trained)

    def _count(self, step: Counting) -> None:
        from memlake.ingest.counting.count import count

        c = step.count
        for corpus in (c.corpus, *([] if c.source or c.index else [c.within])):
            if corpus in self.no_corpus:
                self._leave(step, corpus)
                return
        if lacking := [model for model in (*c.tokenizer, *c.model) if model in self.no_model]:
            self._leave(step, lacking[0])
            return
        summary, _ = count(
            self.lake,
            c.corpus,
            domains=c.domain,
            models=c.model,
            tokenizers=c.tokenizer,
            within=c.in_,
            source=c.source,
            options=c.own,
            index=c.index,
            workers=self.workers,
        )
        self._ended(step, step.about, summary)

    def _measure(self, step: Measuring) -> None:
        from memlake.compute.run import execute_all

        requests: list[Request] = []
        asked: dict[int, tuple[Subject, str]] = {}  # by the request's id
        failed: dict[str, Exception] = {}
        for subject in step.subjects:
            if subject.name in self.no_model:
                continue
            for corpus in subject.measured(step.measure):
                request = subject.request(step.measure, (corpus,))
                if corpus in self.no_corpus or (subject.name, corpus) in self.no_pair:
                    self._leave(step, corpus, subject.name)
                elif domains := self._domains(request, corpus):
                    requests.append(domains)
                    asked[id(domains)] = subject, corpus

        def refused(request: Request, error: Exception) -> None:
            subject, corpus = asked[id(request)]
            failed.setdefault(subject.name, error)
            if step.name == SCORING:
                self.no_pair.add((subject.name, corpus))

        going = [subject for subject, _ in asked.values()]
        if not requests:
            return
        summary = execute_all(self.lake, step.name, requests, refused, self.workers, self.scheduler)
        for name, error in failed.items():
            self._fail(step, name, error)
        if step.name == SCORING:
            for cell, _ in summary.failed:
                said = cell.settings.to_json()
                self.no_pair.add((said["model"], said.get("corpus", "")))
        self._ended_by_model(step, [s for s in going if s.name not in failed], summary)

    def _domains(self, request: Request, corpus: str) -> Request | None:
        """The request for those of its domains that the corpus has; None where it has none of them."""
        if not request.domains:
            return request
        with self.lake.connect(["domains", "sequences"]) as con:
            found = con.execute(
                "select domain from stored.domains where corpus = $1"
                " union select domain from stored.sequences where corpus = $1",
                [corpus],
            ).fetchall()
        own = tuple(domain for domain in request.domains if (domain,) in found)
        return replace(request, domains=own) if own else None

    def _report(self, step: Report) -> None:
        from memlake.reports.page import write

        written = write(self.lake)
        self.outcome.page = written.path
        self.outcome.failed += [(step.name, finding, why) for finding, why in written.failed.items()]
        reason = "; ".join(f"{finding}: {last_line(why)}" for finding, why in written.failed.items())
        self.record.end(step.name, step.about, reason or None, step.said)

    # How they end

    def _ended(self, step: Step, about: str, summary: Summary) -> bool:
        """Note how a step ended; whether all of it is done."""
        say(f"   {len(summary.done)} done, {summary.skipped} done before, {len(summary.failed)} failed")
        if summary.failed:
            self._note(step, about, reasons(summary.failed))
            return False
        self.record.end(step.name, about, said=step.said)
        return True

    def _ended_by_model(self, step: Step, models: Sequence[Subject], summary: Summary) -> set[str]:
        """Note how a step ended for each of these models; those for which something failed."""
        say(f"   {len(summary.done)} done, {summary.skipped} done before, {len(summary.failed)} failed")
        failed: dict[str, list[tuple[Cell, str]]] = {}
        for cell, reason in summary.failed:
            failed.setdefault(str(cell.settings.to_json().get("model", "")), []).append((cell, reason))
        for name in dict.fromkeys(subject.name for subject in models):
            if name in failed:
                self._note(step, name, reasons(failed[name]))
            else:
                self.record.end(step.name, name, said=step.said)
        return set(failed)

    def _fail(self, step: Step, about: str, error: Exception, said: str | None = None) -> None:
        self._note(step, about, explain(error), said)

    def _note(self, step: Step, about: str, reason: str, said: str | None = None) -> None:
        reason = reason.strip() or "no reason was told"
        self.outcome.failed.append((step.name, about, reason))
        self.record.end(step.name, about, reason, step.said if said is None else said)
        lines = reason.splitlines()
        print(f"   {step.title(about)} failed: " + "\n     ".join(map(printable, lines)), file=sys.stderr, flush=True)

    def _leave(self, step: Step, lacking: str, model: str = "") -> None:
        """Leave out what stands on something that failed."""
        line = f"{step.title(step.about or model)} waits for {lacking}"
        if line not in self.outcome.left_out:
            self.outcome.left_out.append(line)
            say(printable("   " + line))


def reasons(failed: Sequence[tuple[Cell, str]]) -> str:
    """Why cells failed, in a few lines: how many for each reason, the most frequent first."""
    counts = Counter(reason.strip() for _, reason in failed)
    lines = [f"{counted(n, 'cell')}: {reason}" for reason, n in counts.most_common(TOLD)]
    if len(counts) > TOLD:
        lines.append(f"and {len(counts) - TOLD} other reasons: `memlake sql \"from cells where outcome = 'failed'\"`")
    return "\n".join(lines)
