"""The corpus in which is counted: the lake's documents, or source files that are streamed once more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from memlake.ingest.documents.base import DocumentSource
from memlake.ingest.documents.reading import DocumentReader, FileSettings, Input, ReadFile, ReadSettings
from memlake.ingest.documents.strict import CheckFile
from memlake.ingest.files.readers import is_lost_rest
from memlake.ingest.files.remote import is_remote
from memlake.ingest.source import Document, Reject, make
from memlake.warehouse.errors import BadInput, UnknownName
from memlake.warehouse.identity import hash63, tagged
from memlake.warehouse.lake import Lake
from memlake.warehouse.show.terminal import say
from memlake.warehouse.work.cells import published

CELL = 32 << 20  # bytes of files that a cell reads at least, so that many small files are no tiny tasks
BATCH = 2 << 20  # bytes of text counted at once, or one longer document

Files = list[tuple[str, ReadSettings]]  # cell and settings of each file that the lake read


@dataclass(frozen=True)
class StoredPart:
    """The documents that one cell published. digest: changes with what it holds. size: bytes of text."""

    digest: str
    size: int
    corpus: str
    cell: str


@dataclass(frozen=True)
class StreamedPart:
    """A file that is read once more. size: bytes, about."""

    digest: str
    size: int
    source: DocumentReader
    given: Input


Part = StoredPart | StreamedPart


@dataclass(frozen=True)
class Corpus:
    """A corpus as what is counted in. complete: nothing of it is left out, as far as the lake knows it. digests: of the
    files in which its documents stand, where all of them are in it; by default of the parts. rejects: records that
    are not among the documents, where that is known before they are read."""

    name: str
    complete: bool
    parts: tuple[Part, ...]
    digests: tuple[str, ...] = ()
    rejects: int | None = None

    @property
    def digest(self) -> str:
        return tagged("r1", sorted(self.digests or [p.digest for p in self.parts]))

    def groups(self) -> list[tuple[Part, ...]]:
        """The parts in the order of their digests, so many together that a cell has enough to read."""
        groups: list[tuple[Part, ...]] = []
        size = 0
        for part in sorted(self.parts, key=lambda p: p.digest):
            size += part.size
            if not groups or size > CELL:
                groups.append(())
                size = part.size
            groups[-1] += (part,)
        return groups


@dataclass(frozen=True)
class Batch:
    """Texts of documents, the hash of each, and by reason the records among them that are no documents."""

    texts: list[str]
    hashes: npt.NDArray[np.int64]
    rejects: Counter[str]


def stored(lake: Lake, name: str) -> Corpus:
    """The documents that the lake holds of a corpus. Complete where every file that was given could be read to its end,
    and no document was left out (`--keep`). Raises `UnknownName`."""
    with lake.connect(["documents", "domains"]) as con:
        rows = con.execute(
            "select cell, sum(n_bytes)::bigint from stored.documents where corpus = ? group by cell", [name]
        ).fetchall()
        known = {c for (c,) in con.sql("select distinct corpus from stored.documents").fetchall()}
        ((left_out,),) = con.execute(
            "select sum(n_documents) - sum(kept_documents) from stored.domains where corpus = ?", [name]
        ).fetchall()
    if name not in known:
        raise UnknownName("corpus", name, known)
    read = _files(lake, name)
    files = {cell: _file(settings) for cell, settings in read if settings.keep is None}
    sizes = dict(rows)
    parts = [StoredPart(files.get(cell, cell), sizes.get(cell, 0), name, cell) for cell in {*sizes, *files}]
    kept_all = left_out == 0 and len(files) < len(read)  # a sample as large as the corpus: one cell holds all files
    reasons = _reject_reasons(lake, read)
    return Corpus(
        name,
        complete=left_out == 0 and _read_to_the_end(lake, name, read, reasons),
        parts=tuple(parts),
        digests=tuple(_file(settings) for _, settings in read) if kept_all else (),
        rejects=reasons.total(),
    )


def streamed(lake: Lake, name: str, source: str, given: Mapping[str, Any]) -> Corpus:
    """The files of a source. Options that are not given are those with which the lake read the corpus from it. Complete
    where every file is there from which the lake read the corpus, with the same content and options, and the lake could
    read all that it was given to the end. Raises `UnknownName`, `BadInput`."""
    read = _files(lake, name)
    before = next((s.options for _, s in read if s.source == source), {})
    reader = make(source, {k: tuple(v) if isinstance(v, list) else v for k, v in before.items()} | dict(given))
    if not isinstance(reader, DocumentSource):
        raise BadInput(f"source {source!r} has no documents to count in")
    reader.validate(name)
    for line in reader.remarks({}):
        say(line)
    parts = []
    for file in reader.inputs():
        digest = _digest(source, reader.options(), file.name, file.digest)
        size = CELL if file.size is None or is_remote(file.path) else file.size  # a remote file has a cell of its own
        parts.append(StreamedPart(digest, size, reader, file))
    missing = {_file(s) for _, s in read} - {p.digest for p in parts}
    whole = bool(read) and not missing and _read_to_the_end(lake, name, read, _reject_reasons(lake, read))
    return Corpus(name, whole, tuple(parts))


def batches(lake: Lake, parts: Sequence[Part]) -> Iterator[Batch]:
    """The documents of these parts, batch after batch."""
    texts, hashes, rejects, size = list[str](), list[int](), Counter[str](), 0
    for record in _records(lake, parts):
        if isinstance(record, Reject):
            rejects[record.reason] += 1
            continue
        text, text_hash = record
        texts.append(text)
        hashes.append(text_hash)
        size += len(text)
        if size >= BATCH:
            yield Batch(texts, np.array(hashes, np.int64), rejects)
            texts, hashes, rejects, size = [], [], Counter(), 0
    if texts or rejects:
        yield Batch(texts, np.array(hashes, np.int64), rejects)


def _records(lake: Lake, parts: Sequence[Part]) -> Iterator[tuple[str, int] | Reject]:
    """Text and hash of each document, and the records that are none."""
    stored = []
    for part in parts:
        if isinstance(part, StoredPart):
            stored.append(part)
            continue
        for record in part.source.read(part.given):
            yield (record.text, hash63(record.text)) if isinstance(record, Document) else record
    if stored:
        yield from _stored_documents(lake, stored[0].corpus, [part.cell for part in stored])


def _stored_documents(lake: Lake, corpus: str, cells: Iterable[str]) -> Iterator[tuple[str, int]]:
    with lake.connect(["documents"]) as con:
        con.register("asked", pa.table({"cell": list(cells)}))
        reader = con.execute(
            "select text, text_hash from stored.documents where corpus = ? and cell in (select cell from asked)",
            [corpus],
        ).to_arrow_reader(1000)
        for batch in reader:
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _files(lake: Lake, corpus: str) -> Files:
    """Cell and settings of each file from which the lake read a corpus."""
    return [(cell, s) for cell, s in published(lake, ReadFile.EXPERIMENT, ReadSettings) if s.corpus == corpus]


def _reject_reasons(lake: Lake, read: Files) -> Counter[str]:
    """The records of these files that the lake did not take, by reason."""
    with lake.connect(["rejects"]) as con:
        found = con.execute(
            "select reason, count(*) from stored.rejects where list_contains(?, cell) group by reason",
            [[cell for cell, _ in read]],
        ).fetchall()
    return Counter(dict(found))


def _read_to_the_end(lake: Lake, corpus: str, read: Files, reasons: Iterable[str]) -> bool:
    """Whether each file that was given for the corpus was read, none with a reject that stands for the rest of it. One
    that failed counts as given until a file of its name is read."""
    with lake.connect(["cells"]) as con:
        failed = con.execute(
            "select distinct file from (select settings->>'file' as file, arg_max(outcome, finished_at) as last"
            " from stored.cells where experiment in ($ingest, $check) and (settings->>'corpus') = $corpus"
            " group by cell, settings) where last in ('failed', 'quarantined')",
            {"ingest": ReadFile.EXPERIMENT, "check": CheckFile.EXPERIMENT, "corpus": corpus},
        ).fetchall()
    return not {file for (file,) in failed} - {s.file for _, s in read} and not any(map(is_lost_rest, reasons))


def _file(settings: FileSettings) -> str:
    """A file and how it is read, whether for the lake or to be counted in."""
    return _digest(settings.source, settings.options, settings.file, settings.digest)


def _digest(source: str, options: Mapping[str, Any], file: str, digest: str) -> str:
    return tagged("f1", {"source": source, "options": options, "file": file, "digest": digest})
