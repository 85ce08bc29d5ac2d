"""The models of a study, one by one: what each is, how it is run, and on which corpora."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from memlake.compute.miniatures import models as miniature_models
from memlake.compute.miniatures.models import FAMILIES, HEADS, SIZES
from memlake.compute.planning.request import Request
from memlake.warehouse.errors import BadInput, UnknownName
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import ModelSpec, find, resolve

from .study import Measure, Miniatures, Models, Study


@dataclass(frozen=True)
class Subject:
    """A model of a study.

    text: what `--model` would be told. name: what its rows are called. spec: None where it is a folder that is not
    here, and `problem` says so. how: the options of its table. miniature: the group that it is trained in.
    """

    text: str
    name: str
    spec: ModelSpec | None
    how: Models
    corpora: tuple[str, ...]
    role: str | Mapping[str, str] | None
    problem: str = ""
    miniature: Miniatures | None = None
    size: str = ""

    def request(self, measure: Measure, corpora: tuple[str, ...], **more: Any) -> Request:
        """What a measurement asks of the model on some of its corpora, of one role."""
        how = self.how
        role = self.role.get(corpora[0]) if isinstance(self.role, Mapping) else self.role
        return Request(
            models=(self.text,),
            corpora=corpora,
            domains=measure.domain,
            limit=measure.limit,
            dtype=how.dtype,
            attention=how.attention,
            bos=how.bos,
            no_eos=how.no_eos,
            device=how.device,
            batch_size=how.batch_size,
            family=how.family,
            role=role,
            cell_minutes=measure.cell_minutes,
            base=how.base_condition,
            options=measure.own,
            **more,
        )

    def called(self, patterns: Iterable[str]) -> bool:
        """Is it one of these? `*` and the like stand for what they do in a shell."""
        return any(fnmatchcase(name, pattern) for pattern in patterns for name in (self.text, self.name))

    def measured(self, measure: Measure) -> tuple[str, ...]:
        """The corpora on which a measurement takes it; none where it does not."""
        if measure.model and not self.called(measure.model):
            return ()
        return tuple(corpus for corpus in self.corpora if not measure.corpus or corpus in measure.corpus)


def subjects(lake: Lake, study: Study) -> list[Subject]:
    """Every model of the study, miniatures first and of these the largest; raises `UnknownName` for one that nobody
    knows, `BadInput` for a measurement of a model that is not of the study."""
    found = list(_miniatures(lake, study))
    found += _checkpoints(lake, study)
    for where, names in _named(study):
        for name in names:
            if not any(subject.called([name]) for subject in found):
                error = UnknownName("model of the study", name, {subject.text for subject in found})
                raise BadInput(f"{study.name}.toml: {where}: {error}")
    return found


def _named(study: Study) -> Iterator[tuple[str, Iterable[str]]]:
    for measure in study.experiments:
        yield f"[experiments.{measure.experiment}] model", measure.model
    for sample in study.samples:
        yield "[[samples]] model", sample.model
    for count in study.counts:
        yield "[[counts]] model", count.model


def _miniatures(lake: Lake, study: Study) -> Iterator[Subject]:
    """Of each group the largest first, so that what takes longest begins first."""
    for group in study.miniatures:
        sizes = sorted(group.size or SIZES, key=lambda size: -SIZES[size].params)
        for size in sizes:
            for family in group.family or FAMILIES:
                if size not in miniature_models.family(family).sizes:
                    continue
                name = f"mini-{family}-{size}{group.suffix}"
                folder = lake.path / "miniatures" / name
                spec = ModelSpec(
                    name=name,
                    location=str(folder),
                    family=family,
                    nominal_params=SIZES[size].params,
                    blocks=SIZES[size].layers,
                    heads=HEADS,
                    corpora=(group.trained_on,),
                    tokenizer=f"mini-{family}",
                    miniature=True,
                )
                if (folder / "config.json").is_file():
                    spec = replace(resolve(str(folder)), blocks=spec.blocks, heads=spec.heads)
                corpora = group.corpus or study.measured_on
                yield Subject(name, name, spec, Models(), corpora, group.role, miniature=group, size=size)


def _checkpoints(lake: Lake, study: Study) -> Iterator[Subject]:
    for group in study.models:
        corpora = group.corpus or study.measured_on
        for model in group.model:
            for revision in group.revision or ("",):
                text = f"{model}@{revision}" if revision else model
                if model.startswith((".", "/", "~")) and revision:
                    raise BadInput(f"{study.name}.toml: [[models]] revision: {model} is a folder, it has none")
                try:
                    spec = find(lake, text)
                except BadInput as error:  # a folder that is not here, or holds nothing; an unknown name is raised
                    name = text.rstrip("/").rpartition("/")[2]
                    yield Subject(text, name, None, group, corpora, group.role, problem=str(error))
                    continue
                if group.family:
                    spec = replace(spec, family=group.family)
                yield Subject(text, spec.name, spec, group, corpora, group.role)
