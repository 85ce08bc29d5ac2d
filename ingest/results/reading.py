"""Reading files of results: the cells, and what they ask of a source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from memlake.ingest.source import Reader, Reject
from memlake.warehouse import schema
from memlake.warehouse.lake import Lake
from memlake.warehouse.work.cells import Cell, CellRows, Settings

from . import match_vectors as vectors
from .ids import Candidates, Found, candidates
from .parts import BYTES, ROWS, Part

OF_SEQUENCES = frozenset(  # what a sequence is made of, and its id
    {"model", "corpus", "domain", "sequence_id", "prefix_tokens", "n_tokens", "tokenizer", "tokens"}
)
CONDITION = "imported"  # nothing is known of how the rows were made
SECONDS_PER_ROW = 1 / 200_000
NO_TOKENS = pa.scalar([], schema.INTS)


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
    beforehand. rows: from which row of them all to which these are, the last one not among them; None: all."""

    source: str
    tokenizers: Mapping[str, str]
    corpora: tuple[str, ...]
    files: tuple[tuple[str, str, Mapping[str, Any]], ...]
    rows: tuple[int, int] | None = None


@dataclass(frozen=True)
class ImportSequences(Cell):
    """The sequences of some files, or of some rows of them, that the lake does not hold. Those of earlier rows are
    published."""

    TABLES = ("sequences",)

    settings: SequenceSettings
    source: ResultReader
    parts: tuple[Part, ...]

    @property
    def experiment(self) -> str:
        return f"{self.settings.source}_sequences"

    @property
    def seconds(self) -> float:
        return sum(part.n_rows() for part in self.parts) * SECONDS_PER_ROW

    @property
    def sample(self) -> str:
        """All that is imported together is one sample."""
        return f"imported-{replace(self, settings=replace(self.settings, rows=None)).id}"

    def rows(self, lake: Lake) -> CellRows:
        with candidates(lake) as ids:
            for at, piece in self._pieces():
                own, made = self.source.own_ids(piece), self.source.made_ids(piece, self._tokenizers(piece))
                ids.add(at, _no_ids(piece) if own is None else own, made)
            yield from gathered(self._sequences(ids.new()))

    def _pieces(self) -> Iterator[tuple[int, pa.Table]]:
        """The rows, and how many there are before each piece."""
        at = 0
        for part in self.parts:
            for piece in part.pieces(OF_SEQUENCES):
                yield at, piece
                at += piece.num_rows

    def _tokenizers(self, piece: pa.Table) -> pa.Array:
        return _tokenizers(piece, self.settings.tokenizers)

    def _sequences(self, new: Found) -> CellRows:
        shard, _ = self.settings.rows or (0, 0)
        rank = shard
        for at, piece in self._pieces():
            found = new.before(at + piece.num_rows)
            n, places = found.num_rows, pc.subtract(found["position"], at)
            rows = piece.take(places)
            columns = {name: rows[name] for name in ("corpus", "domain", "prefix_tokens", "n_tokens")}
            columns |= {"sequence_id": found["sequence_id"], "tokenizer": self._tokenizers(rows)}
            columns |= {"external_id": rows["sequence_id"], "tokens": pc.coalesce(rows["tokens"], NO_TOKENS)}
            columns |= {"sample": pa.repeat(self.sample, n), "shard": pa.repeat(shard, n)}
            yield "sequences", pa.table(columns | {"rank": pa.array(np.arange(rank, rank + n))})
            rank += n


@dataclass(frozen=True)
class MatchSettings(Settings):
    """tokenizer: of the rows that name none. corpora: of all rows. corpus, domain, vocabulary: of a file of which they
    are known beforehand. rows: as in `SequenceSettings`, of the file."""

    source: str
    file: str
    digest: str
    model: str
    tokenizer: str
    corpora: tuple[str, ...]
    corpus: str | None = None
    domain: str | None = None
    vocabulary: int | None = None
    rows: tuple[int, int] | None = None


@dataclass(frozen=True)
class ImportMatches(Cell):
    """The rows of one model in one file, or in some rows of it, and what is not taken of them."""

    settings: MatchSettings
    source: ResultReader
    parts: tuple[Part, ...]

    @property
    def experiment(self) -> str:
        return self.settings.source

    @property
    def tables(self) -> tuple[str, ...]:
        return ("matches",) if self.settings.corpus is None else ("matches", "rejects")

    @property
    def expected(self) -> Mapping[str, int]:
        return {"matches": sum(part.n_rows(self.settings.model) for part in self.parts)}

    @property
    def seconds(self) -> float:
        return self.expected["matches"] * SECONDS_PER_ROW

    def rows(self, lake: Lake) -> CellRows:
        with candidates(lake) as ids:
            if any(ids.may_be_held(part.own) for part in self.parts):
                self._compare(ids)
            yield from gathered(self._rows(ids.held()))

    def _compare(self, ids: Candidates) -> None:
        at = 0
        for piece in self._pieces(("sequence_id",)):
            if (own := self.source.own_ids(piece)) is not None:
                ids.add(at, own, _no_ids(piece))
                at += piece.num_rows

    def _pieces(self, only: Collection[str]) -> Iterator[pa.Table]:
        """The rows of the model, with these columns and its name."""
        model = self.settings.model
        for part in self.parts:
            for piece in part.pieces({"model", *only}):
                yield piece if part.models == {model} else piece.filter(pc.equal(piece["model"], model))

    def _rows(self, held: Found) -> CellRows:
        at = 0
        for piece in self._pieces({*vectors.MEASURED, *OF_SEQUENCES}):
            yield "matches", self._matches(piece, held.before(at + piece.num_rows), at)
            at += piece.num_rows
        for part in self.parts:
            for rejects in part.rejects():
                yield "rejects", rejects.append_column("corpus", pa.repeat(self.settings.corpus, rejects.num_rows))

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
