"""Rows of `documents`, `rejects` and `domains`, from records as they are read, in pieces of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from memlake.ingest.source import HEAD, Document, Reject
from memlake.warehouse.errors import BadInput
from memlake.warehouse.identity import hash63
from memlake.warehouse.schema import table
from memlake.warehouse.work.cells import CellRows

PIECE, ROWS = 8 << 20, 20_000  # bytes of text, and records, in a piece of rows
MAX_DOMAINS = 1000  # in one file: more are a mistaken field, and each is a folder of the lake


class Pieces:
    """The records of one file, in order, as pieces of rows; at their end `seen` maps each domain to the number of its
    documents and their bytes.

    wants: called with each document's domain and id, says whether its row is taken; it is counted anyway.
    """

    def __init__(self, corpus: str, file: str, wants: Callable[[str, int], bool] = lambda domain, id_: True):
        self.corpus, self.file, self.wants = corpus, file, wants
        self.seen: dict[str, list[int]] = {}
        self._documents: list[tuple[Any, ...]] = []
        self._rejects: list[tuple[Any, ...]] = []
        self._bytes = 0  # of the documents

    def of(self, records: Iterable[Document | Reject]) -> CellRows:
        """(table, rows). Raises `BadInput` where there are more than `MAX_DOMAINS` domains."""
        for record in records:
            if isinstance(record, Reject):
                self._rejects.append((record.source, record.position, record.reason, record.head[:HEAD]))
            else:
                self._take(record)
            if self._bytes > PIECE or len(self._documents) + len(self._rejects) > ROWS:
                yield from self._give()
        yield from self._give()

    def _take(self, record: Document) -> None:
        size = len(record.text.encode())
        count = self.seen.setdefault(record.domain, [0, 0])
        count[0] += 1
        count[1] += size
        if len(self.seen) > MAX_DOMAINS:
            raise BadInput(f"{self.file} holds more than {MAX_DOMAINS} domains: is that the right --domain-field?")
        id_ = document_id(self.corpus, record)
        if self.wants(record.domain, id_):
            self._documents.append(
                (id_, record.domain, record.text, hash63(record.text), size, record.source, record.position)
            )
            self._bytes += size

    def _give(self) -> CellRows:
        columns = ("document_id", "domain", "text", "text_hash", "n_bytes", "source", "position")
        for name, rows, names in (
            ("documents", self._documents, columns),
            ("rejects", self._rejects, ("source", "position", "reason", "head")),
        ):
            if rows:
                yield name, from_columns(name, self.corpus, dict(zip(names, zip(*rows, strict=True), strict=True)))
        self._documents, self._rejects, self._bytes = [], [], 0


def document_id(corpus: str, record: Document) -> int:
    """The same on any machine and in any order; natural duplicates have distinct ones."""
    return hash63(corpus, record.source, record.position)


def domain_rows(
    corpus: str, domain_class: Callable[[str], str], counts: Mapping[str, tuple[int, int, int]]
) -> pa.Table:
    """Rows of `domains`; `counts` maps a domain to its documents seen, bytes seen, and documents kept."""
    domains = sorted(counts)
    seen, size, kept = zip(*(counts[d] for d in domains), strict=True)
    columns: dict[str, Sequence[Any]] = {"domain": domains, "class": [domain_class(d) for d in domains]}
    columns |= {"n_documents": seen, "n_bytes": size, "kept_documents": kept}
    return from_columns("domains", corpus, columns)


def from_columns(name: str, corpus: str, columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    """Rows of the table `name`, all of one corpus."""
    types = {f.name: f.type for f in table(name).schema}
    made = {key: pa.array(values, types[key]) for key, values in columns.items()}
    return pa.table(made | {"corpus": pa.repeat(corpus, len(next(iter(made.values()))))})
