"""Documents into the lake: what a source of them says, and the cells that read it: one a file, for its documents, its
rejects, and what it holds of each domain."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from memlake.ingest.names import name_problem
from memlake.ingest.source import Stage, listed, source_name
from memlake.warehouse.errors import BadInput, Conflict
from memlake.warehouse.lake import Lake
from memlake.warehouse.words import counted
from memlake.warehouse.work.cells import Cell, published

from .keep import SpoolFile, keep_stages, publishing, refuse_another_sample
from .reading import DocumentReader, FolderDomain, Input, ReadFile, ReadSettings
from .strict import strictly


class DocumentSource(DocumentReader):
    """The part that all sources of documents share. A source adds its options as dataclass fields, and `inputs`, `read`
    and `domain_class`."""

    CORPUS: ClassVar[str | None] = None  # the corpus where the user names none

    @abstractmethod
    def inputs(self) -> list[Input]:
        """What there is to read; raises `BadInput` where there is nothing."""

    def options(self) -> dict[str, Any]:
        """The options that decide the rows, all but where the files lie, as JSON has them."""
        found = {k: v for k, v in dataclasses.asdict(self).items() if k != "path"}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in found.items()}

    def stages(self, lake: Lake, corpus: str | None, keep: int | None = None, strict: bool = False) -> Sequence[Stage]:
        """keep: documents of each domain that are kept, all for None. strict: raise `BadInput` before anything is
        published where any record would be rejected."""
        corpus = self._corpus(corpus)
        if keep is not None and keep < 1:
            raise BadInput(f"--keep must be positive, not {keep}")
        files = [ReadFile(self._settings(given, corpus, keep), self, given) for given in self.inputs()]
        refuse_changes(lake, files, corpus, keep)
        if keep is None:
            return strictly(lake, files, [Stage(files)]) if strict else [Stage(files)]
        last = publishing(files, keep)
        refuse_another_sample(lake, last)
        first = [SpoolFile(c.settings, c.source, c.given, last.spool) for c in files]
        stages = keep_stages(lake, first, last)
        return strictly(lake, first, stages) if strict else stages

    def named_domain(self, file: str) -> FolderDomain | None:
        """The domain that a folder in a file's name tells of its records; None where no folder does."""
        return None

    def validate(self, corpus: str | None) -> None:
        """Raise `BadInput` where there is nothing to read, or no usable `corpus`."""
        self._corpus(corpus)
        self.inputs()

    def _corpus(self, given: str | None) -> str:
        """The corpus's name; raises `BadInput` where there is none, or it cannot be a folder's."""
        corpus = self.CORPUS if given is None else given
        if corpus is None:
            raise BadInput(f"source {source_name(self)!r} needs --corpus: the name of the text collection")
        if problem := name_problem(corpus, "--corpus"):
            raise BadInput(problem)
        return corpus

    def _settings(self, given: Input, corpus: str, keep: int | None) -> ReadSettings:
        folder = self.named_domain(given.name)
        return ReadSettings(source_name(self), self.options(), corpus, given.name, given.digest, folder, keep)

    def report(self, lake: Lake, cells: Sequence[Cell]) -> list[str]:
        ids, corpus = [c.id for c in cells], cells[0].settings.to_json()["corpus"]
        with lake.connect(["domains", "rejects"]) as con:
            domains = con.execute(
                "select domain, sum(kept_documents)::bigint, sum(n_documents)::bigint from stored.domains"
                " where list_contains(?, cell) group by all order by all",
                [ids],
            ).fetchall()
            rejects = con.execute(
                "select reason, count(*) from stored.rejects where list_contains(?, cell) group by all order by all",
                [ids],
            ).fetchall()
        kept, seen, left = sum(n for _, n, _ in domains), sum(n for *_, n in domains), sum(n for _, n in rejects)
        if kept == seen:
            line = f"corpus {corpus}: {counted(kept, 'document')}"
            parts = listed([(domain, n) for domain, n, _ in domains])
        else:
            line = f"corpus {corpus}: {kept} of {counted(seen, 'document')} kept"
            parts = listed([(domain, f"{n} of {of}") for domain, n, of in domains])
        lines = [f"{line} ({parts})" if parts else line]
        if left:
            records = counted(left, "record")
            lines.append(f"not taken: {records}, each with its reason in `rejects` ({listed(rejects)})")
        return lines + self.remarks({domain: n for domain, _, n in domains})

    def remarks(self, seen: Mapping[str, int]) -> list[str]:
        """What else to say of what was read; `seen`: documents of each domain."""
        return []


def refuse_changes(lake: Lake, files: Sequence[ReadFile], corpus: str, keep: int | None) -> None:
    """Raise `Conflict` where the lake holds a file of this name in this corpus, read from another content or with other
    options: its documents would get the ids of those. Of a sample (`keep`) the lake may hold no other file either, and
    no other size: what is kept of each file depends on all of them."""
    planned = {c.settings.file: c for c in files}
    forget = "name another --corpus, or take it back with `memlake warehouse forget"
    for cell, before in published(lake, ReadFile.EXPERIMENT, ReadSettings):
        if before.corpus != corpus:
            continue
        now = planned.get(before.file)
        if before.keep != keep:
            how = "without --keep" if before.keep is None else f"with --keep {before.keep}"
            raise Conflict(f"corpus {corpus} was read {how}: {forget} --corpus {corpus}`")
        if now is not None and now.id != cell:
            scope = f"--cell {cell}" if keep is None else f"--corpus {corpus}"
            raise Conflict(
                f"corpus {corpus} holds {before.file} already, {_change(before, now.settings)}: {forget} {scope}`"
            )
        if now is None and keep is not None:
            raise Conflict(
                f"corpus {corpus} is a sample of {before.file} too, which is missing now: {forget} --corpus {corpus}`"
            )


def _change(before: ReadSettings, now: ReadSettings) -> str:
    """In what the same file was read otherwise."""
    if before.source != now.source:
        return "from another source"
    if before.options != now.options:
        return "with other options"
    if before.digest != now.digest:
        return "with other content"
    return "read by an older version of memlake"
