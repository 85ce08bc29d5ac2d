"""The corpus in which is counted: the lake's documents, or source files that are streamed once more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from memlake.ingest.documents.base import EXPERIMENT, DocumentSource, Input
from memlake.ingest.documents.strict import CHECK
from memlake.ingest.files.readers import is_lost_rest
from memlake.ingest.source import Document, make
from memlake.warehouse.errors import BadInput, UnknownName
from memlake.warehouse.identity import hash63, tagged
from memlake.warehouse.lake import Lake
from memlake.warehouse.show.terminal import say
from memlake.warehouse.work.cells import published

CELL = 32 << 20  # bytes of files that a cell reads at least, so that many small files are no tiny tasks
BATCH = 2 << 20  # bytes of text counted at once, or one longer document

Files = list[tuple[str, dict[str, Any]]]  # cell and settings of each file that the lake read


@dataclass(frozen=True)
class Scanned:
    """One input of the corpus: a file, or the documents that one cell published. digest: changes with what it holds.
    size: bytes, about. task: where a worker finds it."""

    digest: str
    size: int
    task: Mapping[str, Any]


@dataclass(frozen=True)
class Counted:
    """What is counted in. complete: nothing of the corpus is left out, as far as the lake knows it. digests: of the
    files in which its documents stand, where all of them are in it; by default of the parts. rejects: records that
    are not among the documents, where that is known before they are read."""

    name: str
    complete: bool
    parts: tuple[Scanned, ...]
    digests: tuple[str, ...] = ()
    rejects: int | None = None

    def __post_init__(self):
        object.__setattr__(self, "parts", tuple(sorted(self.parts, key=lambda p: p.digest)))

    @property
    def digest(self) -> str:
        return tagged("r1", sorted(self.digests or [p.digest for p in self.parts]))

    def groups(self) -> list[list[Scanned]]:
        """The parts, so many together that a cell has enough to read."""
        groups: list[list[Scanned]] = []
        size = 0
        for part in self.parts:
            size += part.size
            if not groups or size > CELL:
                groups.append([])
                size = part.size
            groups[-1].append(part)
        return groups


def stored(lake: Lake, name: str) -> Counted:
    """The documents that the lake holds of a corpus. Complete where every file that was given could be read to its end,
    and no document was left out (`--keep`). Raises `UnknownName`."""
    with lake.connect(["documents", "domains"]) as con:
        rows = con.execute(
            "select cell, sum(n_bytes)::bigint from stored.documents where corpus = ? group by cell", [name]
        ).fetchall()
        known = {c for (c,) in con.sql("select distinct corpus from stored.documents").fetchall()}
        left_out = con.execute(
            "select sum(n_documents) - sum(kept_documents) from stored.domains where corpus = ?", [name]
        ).fetchone()[0]
    if name not in known:
        raise UnknownName("corpus", name, known)
    read = _files(lake, name)
    files = {cell: _file(settings) for cell, settings in read if "keep" not in settings}
    sizes = dict(rows)
    parts = [
        Scanned(files.get(cell, cell), sizes.get(cell, 0), {"corpus": name, "cell": cell}) for cell in {*sizes, *files}
    ]
    kept_all = left_out == 0 and len(files) < len(read)  # a sample as large as the corpus: one cell holds all files
    reasons = _reject_reasons(lake, read)
    return Counted(
        name,
        complete=left_out == 0 and _read_to_the_end(lake, name, read, reasons),
        parts=tuple(parts),
        digests=tuple(_file(settings) for _, settings in read) if kept_all else (),
        rejects=reasons.total(),
    )


def streamed(lake: Lake, name: str, source: str, given: Mapping[str, Any]) -> Counted:
    """The files of a source. Options that are not given are those with which the lake read the corpus from it. Complete
    where every file is there from which the lake read the corpus, with the same content and options, and the lake could
    read all that it was given to the end. Raises `UnknownName`, `BadInput`."""
    read = _files(lake, name)
    before = next((s["options"] for _, s in read if s["source"] == source), {})
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in before.items()} | dict(given)
    reader = make(source, options)
    if not isinstance(reader, DocumentSource):
        raise BadInput(f"source {source!r} has no documents to count in")
    reader.look(name)
    for line in reader.remarks({}):
        say(line)
    parts = []
    for found in reader.inputs():
        settings = {"source": source, "options": reader.options(), "file": found.name, "digest": found.digest}
        path = Path(found.path)
        size = path.stat().st_size if found.path and path.is_file() else CELL
        parts.append(Scanned(_file(settings), size, {"source": source, "options": options, "input": asdict(found)}))
    missing = {_file(s) for _, s in read} - {p.digest for p in parts}
    whole = bool(read) and not missing and _read_to_the_end(lake, name, read, _reject_reasons(lake, read))
    return Counted(name, whole, tuple(parts))


def batches(
    lake: Lake, tasks: Sequence[Mapping[str, Any]], rejects: Counter[str]
) -> Iterator[tuple[list[str], np.ndarray]]:
    """The documents of these parts, batch after batch: their texts, and the hash of each. Records of files that are no
    documents are counted in `rejects`, by reason."""
    texts, hashes, size = [], [], 0
    for text, text_hash in _documents(lake, tasks, rejects):
        texts.append(text)
        hashes.append(text_hash)
        size += len(text)
        if size >= BATCH:
            yield texts, np.array(hashes, np.int64)
            texts, hashes, size = [], [], 0
    if texts:
        yield texts, np.array(hashes, np.int64)


def _documents(lake: Lake, tasks: Sequence[Mapping[str, Any]], rejects: Counter[str]) -> Iterator[tuple[str, int]]:
    """Text and hash of each document."""
    for task in tasks:
        if "source" in task:
            for record in make(task["source"], task["options"]).read(Input(**task["input"])):
                if isinstance(record, Document):
                    yield record.text, hash63(record.text)
                else:
                    rejects[record.reason] += 1
    if cells := [task["cell"] for task in tasks if "cell" in task]:
        yield from _stored_documents(lake, tasks[0]["corpus"], cells)


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
    return [(cell, s) for cell, s in published(lake, EXPERIMENT) if s["corpus"] == corpus]


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
            {"ingest": EXPERIMENT, "check": CHECK, "corpus": corpus},
        ).fetchall()
    return not {file for (file,) in failed} - {s["file"] for _, s in read} and not any(map(is_lost_rest, reasons))


def _file(settings: Mapping[str, Any]) -> str:
    """A file and how it is read, whether for the lake or to be counted in."""
    return tagged("f1", {key: settings[key] for key in ("source", "options", "file", "digest")})
