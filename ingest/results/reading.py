"""Reading files of results: the cells, and what they ask of a source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from memlake.ingest.source import HEAD, Reader, Reject
from memlake.warehouse import schema
from memlake.warehouse.lake import Lake
from memlake.warehouse.work.cells import Cell, CellRows, Settings

from . import match_vectors as vectors
from .ids import Candidates, Found, Span, candidates

CONDITION = "imported"  # nothing is known of how the rows were made
SECONDS_PER_ROW = 1 / 200_000
NO_TOKENS = pa.scalar([], schema.INTS)
ROWS, BYTES = 100_000, 64 << 20  # that are written at once
REJECTS = 10_000


@dataclass(frozen=True)
class About:
    """What is known beforehand of a file that is of one model on one corpus, and decides its rows. vocabulary: its
    token ids lie below. tokenizer: its name in the lake, where it is not the default of the model."""

    model: str
    corpus: str
    domain: str
    vocabulary: int
    tokenizer: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class ResultFile:
    """A file to read. `name` is relative to the root; `digest` changes when the content does; `path` is where it lies
    now; `about` is of a file of one model on one corpus."""

    name: str
    digest: str
    path: str
    about: About | None = None


class ResultReader(Reader, ABC):
    """The part of a source of results that runs on a worker."""

    @abstractmethod
    def read(self, file: ResultFile) -> Iterator[pa.Table | Reject]:
        """The records of a file in bounded memory: pieces with the columns of `vectors.TYPES`, and what is not taken.
        `sequence_id` is the id where the row was made."""

    def own_ids(self, piece: pa.Table) -> pa.Array | None:
        """The id with which each row came, where it may be one of a sequence of the lake, else NULL; None where that is
        never so."""
        return None

    @abstractmethod
    def made_ids(self, piece: pa.Table, tokenizers: pa.Array) -> pa.Array:
        """An id for the sequence of each row, if it is not one of the lake; int64."""


@dataclass(frozen=True)
class SequenceSettings(Settings):
    """tokenizers: of each model the one of its rows that name none. files: name, digest, and what is known of each
    beforehand."""

    source: str
    tokenizers: Mapping[str, str]
    corpora: tuple[str, ...]
    files: tuple[tuple[str, str, Mapping[str, Any]], ...]


@dataclass(frozen=True)
class ImportSequences(Cell):
    """The sequences of some files that the lake does not hold."""

    TABLES = ("sequences",)

    settings: SequenceSettings
    source: ResultReader
    files: tuple[ResultFile, ...]
    n_rows: int  # of the files

    @property
    def experiment(self) -> str:
        return f"{self.settings.source}_sequences"

    @property
    def seconds(self) -> float:
        return self.n_rows * SECONDS_PER_ROW

    def rows(self, lake: Lake) -> CellRows:
        with candidates(lake) as ids:
            for at, piece in self._pieces():
                own, made = self.source.own_ids(piece), self.source.made_ids(piece, self._tokenizers(piece))
                ids.add(at, _no_ids(piece) if own is None else own, made)
            yield from gathered(self._sequences(ids.new()))

    def _pieces(self) -> Iterator[tuple[int, pa.Table]]:
        """The rows of all files, and how many there are before each piece."""
        at = 0
        for file in self.files:
            for piece in self.source.read(file):
                if not isinstance(piece, Reject):
                    yield at, piece
                    at += piece.num_rows

    def _tokenizers(self, piece: pa.Table) -> pa.Array:
        return _tokenizers(piece, self.settings.tokenizers)

    def _sequences(self, new: Found) -> CellRows:
        rank = 0
        for at, piece in self._pieces():
            found = new.before(at + piece.num_rows)
            n, places = found.num_rows, pc.subtract(found["position"], at)
            rows = piece.take(places)
            columns = {name: rows[name] for name in ("corpus", "domain", "prefix_tokens", "n_tokens")}
            columns |= {"sequence_id": found["sequence_id"], "tokenizer": self._tokenizers(rows)}
            columns |= {"external_id": rows["sequence_id"], "tokens": pc.coalesce(rows["tokens"], NO_TOKENS)}
            columns |= {"sample": pa.repeat(f"imported-{self.id}", n), "shard": pa.array(np.zeros(n, np.int64))}
            yield "sequences", pa.table(columns | {"rank": pa.array(np.arange(rank, rank + n))})
            rank += n


@dataclass(frozen=True)
class MatchSettings(Settings):
    """tokenizer: of the rows that name none. corpora: of all rows. corpus, domain, vocabulary: of a file of which they
    are known beforehand."""

    source: str
    file: str
    digest: str
    model: str
    tokenizer: str
    corpora: tuple[str, ...]
    corpus: str | None = None
    domain: str | None = None
    vocabulary: int | None = None


@dataclass(frozen=True)
class ImportMatches(Cell):
    """The rows of one model in one file, and what is not taken of it. own: the span of the ids in the file."""

    settings: MatchSettings
    source: ResultReader
    file: ResultFile
    n_rows: int
    own: Span

    @property
    def experiment(self) -> str:
        return self.settings.source

    @property
    def tables(self) -> tuple[str, ...]:
        return ("matches", "rejects") if self.file.about else ("matches",)

    @property
    def expected(self) -> Mapping[str, int]:
        return {"matches": self.n_rows}

    @property
    def seconds(self) -> float:
        return self.n_rows * SECONDS_PER_ROW

    def rows(self, lake: Lake) -> CellRows:
        with candidates(lake) as ids:
            if ids.may_be_held(self.own):
                self._compare(ids)
            yield from gathered(self._rows(ids.held()))

    def _compare(self, ids: Candidates) -> None:
        at = 0
        for piece in self._pieces():
            if not isinstance(piece, Reject) and (own := self.source.own_ids(piece)) is not None:
                ids.add(at, own, _no_ids(piece))
                at += piece.num_rows

    def _pieces(self) -> Iterator[pa.Table | Reject]:
        """The rows of the model in the file, and what is not taken of it."""
        for piece in self.source.read(self.file):
            yield piece if isinstance(piece, Reject) else piece.filter(pc.equal(piece["model"], self.settings.model))

    def _rows(self, held: Found) -> CellRows:
        at, rejects = 0, list[dict[str, object]]()
        for piece in self._pieces():
            if isinstance(piece, Reject):
                rejects.append(asdict(piece) | {"corpus": self.settings.corpus, "head": piece.head[:HEAD]})
            else:
                yield "matches", self._matches(piece, held.before(at + piece.num_rows), at)
                at += piece.num_rows
            if len(rejects) == REJECTS:
                yield "rejects", pa.Table.from_pylist(rejects)
                rejects = []
        if rejects:
            yield "rejects", pa.Table.from_pylist(rejects)

    def _matches(self, piece: pa.Table, held: pa.Table, at: int) -> pa.Table:
        """Rows before which there are so many. held: what the lake holds of their sequences."""
        rows = vectors.derive(piece.select(list(vectors.MEASURED)))
        tokenizers = _tokenizers(piece, {self.settings.model: self.settings.tokenizer})
        ids = self.source.made_ids(piece, tokenizers).to_numpy().copy()
        places = held["position"].to_numpy() - at
        ids[places] = held["sequence_id"].to_numpy()
        of_held = np.full(len(ids), -1)
        of_held[places] = np.arange(len(places))
        columns = {name: rows[name] for name in rows.column_names} | {
            "sequence_id": pa.array(ids),
            "anchor_id": held["anchor_id"].take(pa.array(of_held, mask=of_held < 0)),
            "condition": pc.fill_null(rows["condition"], CONDITION),
        }
        return pa.table(columns)


def _no_ids(piece: pa.Table) -> pa.Array:
    return pa.nulls(piece.num_rows, pa.int64())


def gathered(pieces: CellRows) -> CellRows:
    """The pieces of each table put together: a file of many short row groups is larger and slower."""
    waiting: dict[str, list[pa.Table]] = {}
    for name, piece in pieces:
        parts = waiting.setdefault(name, [])
        parts.append(piece)
        if sum(p.num_rows for p in parts) >= ROWS or sum(p.nbytes for p in parts) >= BYTES:
            yield name, pa.concat_tables(waiting.pop(name))
    for name, parts in waiting.items():
        yield name, pa.concat_tables(parts)


def _tokenizers(piece: pa.Table, defaults: Mapping[str, str]) -> pa.Array:
    """The tokenizer of each row: its own, else its model's."""
    models = piece["model"].combine_chunks().dictionary_encode()
    of_models = pa.array([defaults[model] for model in models.dictionary.to_pylist()], pa.string())
    return pc.coalesce(piece["tokenizer"].combine_chunks(), of_models.take(models.indices))
