"""Documents into the lake: one cell a file, its documents, its rejects, and what it saw of each domain."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from memlake.ingest.source import Document, Reject, source_name
from memlake.warehouse.errors import BadInput, Conflict
from memlake.warehouse.lake import Lake
from memlake.warehouse.work.cells import Cell, published

from .keep import KEEP, keep_stages, refuse_another_sample, sampled, spooled
from .pieces import Pieces, domain_rows
from .strict import CHECK, check, check_stages, forget_checks

EXPERIMENT, VERSION, TABLES = "ingest", 1, ("documents", "rejects", "domains")
MAX_NAME = 80  # bytes of a name that becomes a folder's: of a corpus, a domain, ...


@dataclass(frozen=True)
class Input:
    """What one cell reads, usually a file. `name` is relative to the root; `digest` changes when the content does;
    `path` is where it lies now."""

    name: str
    digest: str
    path: str = ""


class DocumentSource(ABC):
    """The part that all sources of documents share. A source adds its options as dataclass fields, and these three."""

    CORPUS: ClassVar[str | None] = None  # the corpus where the user names none

    @abstractmethod
    def inputs(self) -> list[Input]:
        """What there is to read; raises `BadInput` where there is nothing."""

    @abstractmethod
    def read(self, given: Input) -> Iterator[Document | Reject]:
        """The records of one input, in order, in bounded memory."""

    @abstractmethod
    def domain_class(self, domain: str) -> str:
        """'structural' or 'free_text'."""

    def options(self) -> dict[str, Any]:
        """The options that decide the rows, all but where the files lie, as JSON has them."""
        found = {k: v for k, v in dataclasses.asdict(self).items() if k != "path"}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in found.items()}

    def stages(
        self, lake: Lake, corpus: str | None, keep: int | None = None, strict: bool = False
    ) -> Iterator[list[Cell]]:
        """keep: documents of each domain that are kept, all for None. strict: raise `BadInput` before anything is
        published where any record would be rejected."""
        corpus = self._corpus(corpus)
        if keep is not None and keep < 1:
            raise BadInput(f"--keep must be positive, not {keep}")
        cells = [self._cell(given, corpus, keep) for given in self.inputs()]
        refuse_changes(lake, cells, corpus, keep)
        if strict:
            yield from check_stages(lake, cells)
        if keep is None:
            yield cells
        else:
            yield from keep_stages(lake, cells)
        if strict:
            forget_checks(lake, corpus)

    def told(self, name: str) -> dict[str, str | None]:
        """What a file's name says of its records, for the settings of its cell."""
        return {}

    def look(self, corpus: str | None) -> None:
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

    def _cell(self, given: Input, corpus: str, keep: int | None) -> Cell:
        settings = {
            "source": source_name(self),
            "options": self.options(),
            "corpus": corpus,
            "file": given.name,
            "digest": given.digest,
        }
        settings |= self.told(given.name)
        if keep is not None:
            settings["keep"] = keep
        tables = TABLES if keep is None else ("rejects", "domains")  # its documents wait in the spool
        return Cell(EXPERIMENT, VERSION, settings, tables, task={"path": given.path})

    def rows(self, cell: Cell, lake: Lake) -> Iterator[tuple[str, pa.Table]]:
        if cell.experiment == KEEP:
            yield from sampled(cell, lake, self.domain_class)
            return
        given = Input(cell.settings["file"], cell.settings["digest"], cell.task["path"])
        records = self.read(given)
        if cell.experiment == CHECK:
            check(cell, lake, records)
            return
        pieces = Pieces(cell.settings["corpus"], given.name)
        kept = "keep" in cell.settings
        yield from spooled(cell, lake, records, pieces) if kept else pieces.of(records)
        if pieces.seen:
            counts = {d: (n, size, 0 if kept else n) for d, (n, size) in pieces.seen.items()}
            yield "domains", domain_rows(pieces.corpus, self.domain_class, counts)

    def report(self, lake: Lake, cells: list[Cell]) -> list[str]:
        ids, corpus = [c.id for c in cells], cells[0].settings["corpus"]
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
            line, parts = f"corpus {corpus}: {kept} documents", listed([(domain, n) for domain, n, _ in domains])
        else:
            line = f"corpus {corpus}: {kept} of {seen} documents kept"
            parts = listed([(domain, f"{n} of {of}") for domain, n, of in domains])
        lines = [f"{line} ({parts})" if parts else line]
        if left:
            lines.append(f"not taken: {left} records, each with its reason in `rejects` ({listed(rejects)})")
        return lines + self.remarks({domain: n for domain, _, n in domains})

    def remarks(self, seen: Mapping[str, int]) -> list[str]:
        """What else to say of what was read; `seen`: documents of each domain."""
        return []


def refuse_changes(lake: Lake, cells: list[Cell], corpus: str, keep: int | None) -> None:
    """Raise `Conflict` where the lake holds a file of this name in this corpus, read from another content or with other
    options: its documents would get the ids of those. Of a sample (`keep`) the lake may hold no other file either, and
    no other size: what is kept of each file depends on all of them."""
    planned = {c.settings["file"]: c for c in cells}
    forget = "name another --corpus, or take it back with `memlake warehouse forget"
    for cell, settings in published(lake, EXPERIMENT):
        if settings["corpus"] != corpus:
            continue
        file, now = settings["file"], planned.get(settings["file"])
        if settings.get("keep") != keep:
            how = f"with --keep {settings['keep']}" if "keep" in settings else "without --keep"
            raise Conflict(f"corpus {corpus} was read {how}: {forget} --corpus {corpus}`")
        if now is not None and now.id != cell:
            changes = {"source": "from another source", "options": "with other options", "digest": "with other content"}
            changed = [what for key, what in changes.items() if settings[key] != now.settings[key]]
            what = changed[0] if changed else "read by an older version of memlake"
            scope = f"--cell {cell}" if keep is None else f"--corpus {corpus}"
            raise Conflict(f"corpus {corpus} holds {file} already, {what}: {forget} {scope}`")
        if now is None and keep is not None:
            raise Conflict(
                f"corpus {corpus} is a sample of {file} too, which is missing now: {forget} --corpus {corpus}`"
            )
    if keep is not None:
        refuse_another_sample(lake, cells)


def name_problem(name: object, what: str = "domain") -> str | None:
    """Why a name that becomes a folder's cannot be used; None where it can. `what`: it is the name of."""
    if not isinstance(name, str):
        return f"{what} is not text"
    if not name.strip():
        return f"{what} is empty"
    if "\0" in name:
        return f"{what} holds a NUL byte"
    try:
        if len(name.encode()) > MAX_NAME:
            return f"{what} has more than {MAX_NAME} bytes"
    except UnicodeEncodeError:
        return f"{what} holds a lone surrogate"
    return None


def listed(counts: Sequence[tuple[str, object]]) -> str:
    """`github 12, arxiv 3`."""
    return ", ".join(f"{name} {n}" for name, n in counts)
