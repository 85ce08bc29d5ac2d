"""The corpus in which is counted: the lake's documents, or source files that are streamed once more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from warehouse.cells import published
from warehouse.errors import BadInput, UnknownName
from warehouse.identity import hash63, tagged
from warehouse.lake import Lake

from .documents import EXPERIMENT, DocumentSource, Input
from .source import Document, make

CELL = 32 << 20  # bytes of files that a cell reads at least, so that many small files are no tiny tasks
BATCH = 2 << 20  # bytes of text counted at once, or one longer document


@dataclass(frozen=True)
class Part:
    """One input of the corpus: a file, or the documents that one cell published. digest: changes with what it holds.
    size: bytes, about. task: where a worker finds it."""

    digest: str
    size: int
    task: Mapping[str, Any]


@dataclass(frozen=True)
class Corpus:
    """What is counted in. complete: nothing of the corpus is left out, as far as the lake knows it."""

    name: str
    complete: bool
    parts: tuple[Part, ...]

    def __post_init__(self):
        object.__setattr__(self, "parts", tuple(sorted(self.parts, key=lambda p: p.digest)))

    @property
    def digest(self) -> str:
        return tagged("r1", [p.digest for p in self.parts])

    def groups(self) -> list[list[Part]]:
        """The parts, so many together that a cell has enough to read."""
        groups: list[list[Part]] = []
        size = 0
        for part in self.parts:
            size += part.size
            if not groups or size > CELL:
                groups.append([])
                size = part.size
            groups[-1].append(part)
        return groups


def stored(lake: Lake, name: str) -> Corpus:
    """The documents that the lake holds of a corpus. Complete where none was left out when it was read (`--keep`).
    Raises `UnknownName`."""
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
    files = {cell: _file(settings) for cell, settings in _files(lake, name) if "keep" not in settings}
    sizes = dict(rows)
    parts = [
        Part(files.get(cell, cell), sizes.get(cell, 0), {"corpus": name, "cell": cell}) for cell in {*sizes, *files}
    ]
    return Corpus(name, left_out == 0, tuple(parts))


def streamed(lake: Lake, name: str, source: str, given: Mapping[str, Any]) -> Corpus:
    """The files of a source. Options that are not given are those with which the lake read the corpus from it. Complete
    where every file is there from which the lake read the corpus, with the same content and options. Raises
    `UnknownName`, `BadInput`."""
    read = [settings for _, settings in _files(lake, name)]
    before = next((s["options"] for s in read if s["source"] == source), {})
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in before.items()} | dict(given)
    reader = make(source, options)
    if not isinstance(reader, DocumentSource):
        raise BadInput(f"source {source!r} has no documents to count in")
    parts = []
    for found in reader.inputs():
        settings = {"source": source, "options": reader.options(), "file": found.name, "digest": found.digest}
        path = Path(found.path)
        size = path.stat().st_size if found.path and path.is_file() else CELL
        parts.append(Part(_file(settings), size, {"source": source, "options": options, "input": asdict(found)}))
    missing = {_file(s) for s in read} - {p.digest for p in parts}
    return Corpus(name, bool(read) and not missing, tuple(parts))


def batches(lake: Lake, tasks: Sequence[Mapping[str, Any]]) -> Iterator[tuple[list[str], np.ndarray]]:
    """The documents of these parts, batch after batch: their texts, and the hash of each."""
    texts, hashes, size = [], [], 0
    for text, text_hash in _documents(lake, tasks):
        texts.append(text)
        hashes.append(text_hash)
        size += len(text)
        if size >= BATCH:
            yield texts, np.array(hashes, np.int64)
            texts, hashes, size = [], [], 0
    if texts:
        yield texts, np.array(hashes, np.int64)


def _documents(lake: Lake, tasks: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, int]]:
    """Text and hash of each document."""
    for task in tasks:
        if "source" in task:
            for record in make(task["source"], task["options"]).read(Input(**task["input"])):
                if isinstance(record, Document):
                    yield record.text, hash63(record.text)
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


def _files(lake: Lake, corpus: str) -> list[tuple[str, dict[str, Any]]]:
    """Cell and settings of each file from which the lake read a corpus."""
    return [(cell, s) for cell, s in published(lake, EXPERIMENT) if s["corpus"] == corpus]


def _file(settings: Mapping[str, Any]) -> str:
    """A file and how it is read, whether for the lake or to be counted in."""
    return tagged("f1", {key: settings[key] for key in ("source", "options", "file", "digest")})
