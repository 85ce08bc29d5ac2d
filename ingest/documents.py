"""Documents into the lake: one cell a file, its documents, its rejects, and what it saw of each domain."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from warehouse.cells import Cell, published
from warehouse.errors import BadInput, Conflict
from warehouse.identity import hash63
from warehouse.lake import Lake

from .source import HEAD, Document, Reject, source_name

EXPERIMENT, VERSION, TABLES = "ingest", 1, ("documents", "rejects", "domains")
PIECE, ROWS = 8 << 20, 20_000  # bytes of text, and records, in a piece of rows
MAX_DOMAINS = 1000  # in one file: more are a mistaken field, and each is a folder of the lake
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

    def stages(self, lake: Lake, corpus: str | None) -> Iterator[list[Cell]]:
        corpus = self.CORPUS if corpus is None else corpus
        if corpus is None:
            raise BadInput(f"source {source_name(self)!r} needs --corpus: the name of the text collection")
        if problem := name_problem(corpus, "--corpus"):
            raise BadInput(problem)
        cells = [self._cell(given, corpus) for given in self.inputs()]
        refuse_changes(lake, cells)
        yield cells

    def _cell(self, given: Input, corpus: str) -> Cell:
        settings = {
            "source": source_name(self),
            "options": self.options(),
            "corpus": corpus,
            "file": given.name,
            "digest": given.digest,
        }
        return Cell(EXPERIMENT, VERSION, settings, TABLES, task={"path": given.path})

    def rows(self, cell: Cell, lake: Lake) -> Iterator[tuple[str, pa.Table]]:
        corpus = cell.settings["corpus"]
        given = Input(cell.settings["file"], cell.settings["digest"], cell.task["path"])
        seen: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        documents, rejects, held = [], [], 0
        for record in self.read(given):
            if isinstance(record, Reject):
                rejects.append(dataclasses.asdict(record) | {"corpus": corpus, "head": record.head[:HEAD]})
            else:
                documents.append(document_row(record, corpus))
                count = seen[record.domain]
                count[0] += 1
                count[1] += documents[-1]["n_bytes"]
                held += documents[-1]["n_bytes"]
            if len(seen) > MAX_DOMAINS:
                raise BadInput(f"{given.name} holds more than {MAX_DOMAINS} domains: is that the right --domain-field?")
            if held > PIECE or len(documents) + len(rejects) > ROWS:
                yield from _tables(documents, rejects)
                documents, rejects, held = [], [], 0
        yield from _tables(documents, rejects)
        if seen:
            yield "domains", pa.Table.from_pylist([self._domain_row(corpus, d, *n) for d, n in sorted(seen.items())])

    def _domain_row(self, corpus: str, domain: str, n_documents: int, n_bytes: int) -> dict[str, Any]:
        return {
            "corpus": corpus,
            "domain": domain,
            "class": self.domain_class(domain),
            "n_documents": n_documents,
            "n_bytes": n_bytes,
            "kept_documents": n_documents,
        }

    def report(self, lake: Lake, cells: list[Cell]) -> list[str]:
        ids, corpus = [c.id for c in cells], cells[0].settings["corpus"]
        with lake.connect(["domains", "rejects"]) as con:
            domains = con.execute(
                "select domain, sum(kept_documents)::bigint from stored.domains where list_contains(?, cell)"
                " group by all order by all",
                [ids],
            ).fetchall()
            rejects = con.execute(
                "select reason, count(*) from stored.rejects where list_contains(?, cell) group by all order by all",
                [ids],
            ).fetchall()
        kept, left = sum(n for _, n in domains), sum(n for _, n in rejects)
        lines = [f"corpus {corpus}: {kept} documents" + (f" ({listed(domains)})" if domains else "")]
        if left:
            lines.append(f"not taken: {left} records, each with its reason in `rejects` ({listed(rejects)})")
        return lines


def document_row(record: Document, corpus: str) -> dict[str, Any]:
    """The row of `documents` for one record."""
    return dataclasses.asdict(record) | {
        "document_id": hash63(corpus, record.source, record.position),
        "corpus": corpus,
        "text_hash": hash63(record.text),
        "n_bytes": len(record.text.encode()),
    }


def refuse_changes(lake: Lake, cells: list[Cell]) -> None:
    """Raise `Conflict` where the lake holds a file of this name in this corpus, read from another content or with other
    options: its documents would get the ids of those."""
    planned = {(c.settings["corpus"], c.settings["file"]): c for c in cells}
    for cell, settings in published(lake, EXPERIMENT):
        corpus, file = key = settings["corpus"], settings["file"]
        if key not in planned or planned[key].id == cell:
            continue
        now = planned[key].settings
        changed = [what for what in ("source", "options", "digest") if settings[what] != now[what]]
        what = {"source": "from another source", "options": "with other options"}.get(changed[0], "with other content")
        raise Conflict(
            f"corpus {corpus} holds {file} already, {what}: name another --corpus,"
            f" or take it back with `memlake warehouse forget --cell {cell}`"
        )


def name_problem(name: object, what: str = "domain") -> str | None:
    """Why a name that becomes a folder's cannot be used; None where it can. `what`: it is the name of."""
    if not isinstance(name, str):
        return f"{what} is not text"
    if not name.strip():
        return f"{what} is empty"
    try:
        if len(name.encode()) > MAX_NAME:
            return f"{what} has more than {MAX_NAME} bytes"
    except UnicodeEncodeError:
        return f"{what} holds a lone surrogate"
    return None


def listed(counts: list[tuple[str, int]]) -> str:
    """`github 12, arxiv 3`."""
    return ", ".join(f"{name} {n}" for name, n in counts)


def _tables(documents: list[dict[str, Any]], rejects: list[dict[str, Any]]) -> Iterator[tuple[str, pa.Table]]:
    if documents:
        yield "documents", pa.Table.from_pylist(documents)
    if rejects:
        yield "rejects", pa.Table.from_pylist(rejects)
