"""Results made elsewhere into the lake: the sequences that it does not hold, then each model's match vectors.

A checkpoint that is measured here afterwards takes the place of its imported row in `models`, and its own condition
that of `imported`: see compute/models/checkpoint.py.
"""

from __future__ import annotations

import fcntl
import shutil
import sys
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from memlake.ingest.documents.strict import Rejects, refuse
from memlake.ingest.files import streams
from memlake.ingest.files.listing import Listing, find
from memlake.ingest.source import Reject, Stage, listed, source_name
from memlake.warehouse.errors import BadInput, Conflict, UnknownName
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import families, resolve
from memlake.warehouse.publishing.register import register
from memlake.warehouse.publishing.stage import scratch
from memlake.warehouse.words import counted
from memlake.warehouse.work.cells import Cell, plan, published

from .parts import PART, Part, write
from .reading import (
    CONDITION,
    ImportMatches,
    ImportSequences,
    MatchSettings,
    ResultFile,
    ResultReader,
    SequenceSettings,
)

WAITS = "another import is publishing its sequences to this lake: waiting until it is done"
MISTYPED = 0.72  # a family as similar to one of the registry is taken for a slip


@dataclass(frozen=True)
class Seen:
    """What a file holds, and what is not taken of it."""

    parts: tuple[Part, ...]
    rejects: Rejects
    rows: Counter[tuple[str, str | None, str]]  # how many by model, condition and corpus


@dataclass(frozen=True)
class NewModel:
    """A model that is not in the lake. corpora: it trained on these. asked: its family or size had to be given."""

    name: str
    family: str
    nominal_params: int
    corpora: tuple[str, ...]
    asked: bool


class ResultSource(ResultReader):
    """The part that all sources of results share. A source adds its options as dataclass fields, where its files are
    and what stands in them."""

    SUFFIXES: ClassVar[tuple[str, ...]]
    path: tuple[str, ...]
    family: str | None  # of a model that is neither in the lake nor in the registry
    params: int | None  # parameters of such a model

    @abstractmethod
    def files(self, lake: Lake, corpus: str | None) -> list[ResultFile]:
        """What there is to read; `corpus`: what --corpus says. Raises `BadInput`, `UnknownName`."""

    @cached_property
    def listing(self) -> Listing:
        if not self.path:
            raise BadInput(f"source {source_name(self)!r} needs --path: a file or a folder")
        return find(self.path, self.SUFFIXES, self.file_name)

    def file_name(self, given: str, location: str) -> str:
        """What a file is called in the lake; `given` is its name relative to the --path."""
        return given

    def find(self) -> list[ResultFile]:
        """The files at --path."""
        return [ResultFile(name, streams.digest(path), path) for name, path in self.listing.files]

    def validate(self, corpus: str | None) -> None:
        """Raise `BadInput` where there is nothing to read."""
        self.listing  # noqa: B018

    def stages(self, lake: Lake, corpus: str | None, keep: int | None = None, strict: bool = False) -> Iterator[Stage]:
        """The sequences, then the match vectors. Registers the models and the condition. What was read of the files
        lies in the lake's staging until the last stage is done."""
        if keep is not None:
            raise BadInput(f"source {source_name(self)!r} reads no documents: it takes no --keep")
        with scratch(lake.staging, "import") as folder:
            try:
                with suppress(GeneratorExit):  # a stage failed, and the next is not asked for
                    yield from self._stages(lake, folder, corpus, strict)
            finally:
                shutil.rmtree(folder)

    def _stages(self, lake: Lake, folder: Path, corpus: str | None, strict: bool) -> Iterator[Stage]:
        files = tuple(self.files(lake, corpus))
        seen = {file.name: self._scan(file, folder / str(i)) for i, file in enumerate(files)}
        if strict:
            refuse([s.rejects for s in seen.values()])
        before = self._before(lake, files, seen)
        # A file that was read before keeps its tokenizers, though the model may have got one of its own since.
        tokenizers = self._register(lake, [key for found in seen.values() for key in found.rows]) | before
        own = [{"model": f.about.model, "corpus": f.about.corpus, "role": "trained"} for f in files if f.about]
        register(lake, "model_corpora", own)
        with _alone(lake):
            for cell in self._sequences(lake, files, seen, tokenizers):
                yield Stage([cell])
        yield Stage([cell for file in files for cell in self._matches(lake, file, seen[file.name], tokenizers)])

    def report(self, lake: Lake, cells: Sequence[Cell]) -> list[str]:
        ids = [c.id for c in cells]
        files = lake.snapshots(("matches", "models", "rejects")).files
        files["matches"] = [f for f in files["matches"] if f.cell is None or f.cell in ids]
        with lake.connect(files, files) as con:

            def of_cells(sql: str) -> list[tuple[Any, ...]]:
                return con.execute(sql, [ids]).fetchall()

            ((rows, known),) = of_cells(  # a sequence that was cut from a text has an anchor
                "select count(*), count(anchor_id) from stored.matches where list_contains(?, cell)"
            )
            rejects = of_cells(
                "select reason, count(*) from stored.rejects where list_contains(?, cell) group by all order by all"
            )
            unseen = of_cells(
                "select distinct m.model, m.condition from stored.matches m join stored.models b using (model)"
                " where list_contains(?, m.cell) and m.condition <> b.base_condition order by all"
            )
        lines = [
            f"{source_name(self)}: {counted(rows, 'row')}; {known} of sequences that the lake holds with their text,"
            f" {rows - known} of sequences known only by the id they came with"
        ]
        if left := sum(n for _, n in rejects):
            records = counted(left, "record")
            lines.append(f"not taken: {records}, each with its reason in `rejects` ({listed(rejects)})")
        lines += self.listing.lines()
        lines += [
            f"{m}: {c!r} is not its base condition, so findings use its rows only with -p condition={c}"
            " (scores stand in `matches_all`)"
            for m, c in unseen
        ]
        return lines

    def _scan(self, file: ResultFile, folder: Path) -> Seen:
        """Reads the whole file into the folder, so that a bad one is known before anything is published."""

        def records() -> Iterator[tuple[pa.Table, pa.Array | None] | Reject]:
            for record in self.read(file):
                yield record if isinstance(record, Reject) else (record, self.own_ids(record))

        parts = tuple(write(folder, records()))
        rejects = Rejects.among(Reject(**r) for part in parts for some in part.rejects() for r in some.to_pylist())
        rows = Counter[tuple[str, str | None, str]]()
        if file.about:
            rows[file.about.model, None, file.about.corpus] = 0
        for part in parts:
            rows.update(part.counts)
        if not rows.total() and not rejects.reasons:
            raise BadInput(f"{file.path} holds no rows")
        return Seen(parts, rejects, rows)

    def _before(self, lake: Lake, files: Sequence[ResultFile], seen: Mapping[str, Seen]) -> dict[str, str]:
        """The tokenizers under which these very files were read before, by model. Raises `Conflict` where the lake
        holds a model's rows of one of these corpora from a file of the same name with other content."""
        digests = {f.name: f.digest for f in files}
        tokenizers = {}
        for cell, s in published(lake, source_name(self), MatchSettings):
            found = seen[s.file].rows if s.file in seen else ()
            corpora = {corpus for model, _, corpus in found if model == s.model} & set(s.corpora)
            if not corpora:
                continue
            if s.digest != digests[s.file]:
                raise Conflict(
                    f"the lake holds results of {s.model} on {min(corpora)} from {s.file} already, with other"
                    f" content: give other results another file name, or take the old ones back with"
                    f" `memlake warehouse forget --cell {cell}`"
                )
            tokenizers[s.model] = s.tokenizer
        return tokenizers

    def _register(self, lake: Lake, seen: Sequence[tuple[str, str | None, str]]) -> dict[str, str]:
        """Register the condition and the models that are new; the default tokenizer's name for each model."""
        with lake.connect(["models", "conditions"]) as con:
            known = dict(con.sql("select model, tokenizer from stored.models").fetchall())
            family = dict(con.sql("select model, family from stored.models").fetchall())
            noise = dict(con.sql("select condition, noise from stored.conditions").fetchall())
        for condition in {c for _, c, _ in seen if c is not None} - {CONDITION}:
            if condition not in noise:
                raise UnknownName("condition", condition, noise)
        new = [self._model(model) for model in sorted({m for m, *_ in seen} - set(known))]
        if sum(model.asked for model in new) > 1:
            raise BadInput("more than one model is unknown: ingest the files of each on their own")
        register(lake, "conditions", [{"condition": CONDITION, "noise": 0.0, "bos": False}])
        for model in new:
            own = {c or CONDITION for m, c, _ in seen if m == model.name}
            row = {
                "model": model.name,
                "family": model.family,
                "nominal_params": model.nominal_params,
                "miniature": False,
                "base_condition": min(own, key=lambda c: (noise.get(c, 0.0), c)),
            }
            register(lake, "models", [row])
            trained = [{"model": model.name, "corpus": c, "role": "trained"} for c in model.corpora]
            register(lake, "model_corpora", trained)
        family |= {model.name: model.family for model in new}
        shared = {m: f if f in families() else m for m, f in family.items()}  # a family of its own shares none
        return {m: known.get(m) or shared[m] for m in sorted({m for m, *_ in seen})}

    def _model(self, name: str) -> NewModel:
        """What is known of a model that is not in the lake; raises `BadInput`, `UnknownName`."""
        try:
            spec = resolve(name)
            known, params, corpora = spec.family, spec.nominal_params, spec.corpora
        except UnknownName:
            known, params, corpora = None, None, ()
        if self.family not in families() and get_close_matches(self.family or "", families(), cutoff=MISTYPED):
            raise UnknownName("family", str(self.family), families())
        if self.params is not None and self.params < 1:
            raise BadInput(f"no --params {self.params}: it is at least 1")
        family, n = known or self.family, params or self.params
        if not family or not n:
            raise BadInput(f"model {name!r} is neither in the lake nor in the registry: give its --family and --params")
        return NewModel(name, family, n, corpora, asked=not known or not params)

    def _sequences(
        self, lake: Lake, files: Sequence[ResultFile], seen: Mapping[str, Seen], tokenizers: Mapping[str, str]
    ) -> Iterator[ImportSequences]:
        """One cell for all files, or where they hold more than `PART` rows one after the other for so many."""
        settings = SequenceSettings(
            source=source_name(self),
            tokenizers=tokenizers,
            corpora=tuple(sorted({corpus for found in seen.values() for *_, corpus in found.rows})),
            files=tuple((f.name, f.digest, f.about.to_json() if f.about else {}) for f in files),
        )
        whole = ImportSequences(settings, self, tuple(part for file in files for part in seen[file.name].parts))
        if _is_whole(lake, whole, whole.parts):
            yield whole
            return
        first, some = 0, list[Part]()
        for part in (*whole.parts, None):
            n = sum(p.n_rows() for p in some)
            if part is None or n + part.n_rows() > PART:
                yield replace(whole, settings=replace(settings, rows=(first, first + n)), parts=tuple(some))
                first, some = first + n, []
            if part is not None:
                some.append(part)

    def _matches(
        self, lake: Lake, file: ResultFile, seen: Seen, tokenizers: Mapping[str, str]
    ) -> Iterator[ImportMatches]:
        """One cell for each model in a file, or in a part of it where it has several."""
        for model in sorted({m for m, *_ in seen.rows}):
            settings = MatchSettings(
                source=source_name(self),
                file=file.name,
                digest=file.digest,
                model=model,
                tokenizer=tokenizers[model],
                corpora=tuple(sorted({corpus for m, _, corpus in seen.rows if m == model})),
                corpus=file.about.corpus if file.about else None,
                domain=file.about.domain if file.about else None,
                vocabulary=file.about.vocabulary if file.about else None,
            )
            whole = ImportMatches(settings, self, seen.parts)
            if _is_whole(lake, whole, seen.parts):
                yield whole
                continue
            first = 0
            for part in seen.parts:
                last = first + part.n_rows()
                if model in part.models:
                    yield replace(whole, settings=replace(settings, rows=(first, last)), parts=(part,))
                first = last


@contextmanager
def _alone(lake: Lake) -> Iterator[None]:
    """While one import finds and publishes the sequences that the lake does not hold, others wait. Both might bring one
    id in two domains, and what is published is judged against its own partition only."""
    with (lake.staging / "sequences.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(WAITS, file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_whole(lake: Lake, cell: Cell, parts: Sequence[Part]) -> bool:
    """Are its rows few enough for one cell, or published as one already?"""
    return len(parts) == 1 or sum(part.n_rows() for part in parts) <= PART or not plan(lake, [cell])
