"""Reading files of results: the cells, and what they ask of a source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from memlake.ingest.source import HEAD, Reader, Reject
from memlake.warehouse.lake import Lake
from memlake.warehouse.work.cells import Cell, CellRows, Settings

from . import match_vectors as vectors

CONDITION = "imported"  # nothing is known of how the rows were made
SECONDS_PER_ROW = 1 / 30_000


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

    @abstractmethod
    def identify(self, piece: pa.Table, tokenizers: Sequence[str], known: Mapping[int, int | None]) -> list[int]:
        """The id of each row's sequence; `known`: anchors of the lake's sequences, by sequence id."""


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
        known, rank = known_anchors(lake), 0
        for file in self.files:
            for piece in self.source.read(file):
                if isinstance(piece, Reject):
                    continue
                tokenizers = _tokenizers(piece, self.settings.tokenizers)
                new: dict[int, int] = {}  # row by id
                for i, sequence_id in enumerate(self.source.identify(piece, tokenizers, known)):
                    if sequence_id not in known:
                        known[sequence_id] = None
                        new[sequence_id] = i
                if new:
                    yield "sequences", self._sequences(piece, tokenizers, new, rank)
                    rank += len(new)

    def _sequences(self, piece: pa.Table, tokenizers: Sequence[str], new: Mapping[int, int], rank: int) -> pa.Table:
        """The rows of new sequences, of which the first has this rank."""
        rows = piece.take(list(new.values()))
        columns = {name: rows[name] for name in ("corpus", "domain", "prefix_tokens", "n_tokens")}
        columns |= {"sequence_id": list(new), "tokenizer": [tokenizers[i] for i in new.values()]}
        columns |= {"external_id": rows["sequence_id"], "tokens": [t or [] for t in rows["tokens"].to_pylist()]}
        columns |= {"sample": pa.repeat(f"imported-{self.id}", len(new)), "shard": [0] * len(new)}
        return pa.table(columns | {"rank": list(range(rank, rank + len(new)))})


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
    """The rows of one model in one file, and what is not taken of it."""

    settings: MatchSettings
    source: ResultReader
    file: ResultFile
    n_rows: int

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
        known, rejects = known_anchors(lake), list[dict[str, object]]()
        for piece in self.source.read(self.file):
            if isinstance(piece, Reject):
                rejects.append(asdict(piece) | {"corpus": self.settings.corpus, "head": piece.head[:HEAD]})
                continue
            own = piece.filter(pc.equal(piece["model"], self.settings.model))
            tokenizers = _tokenizers(own, {self.settings.model: self.settings.tokenizer})
            ids = self.source.identify(own, tokenizers, known)
            rows = vectors.derive(own.select(list(vectors.MEASURED)))
            for name, values in (
                ("sequence_id", pa.array(ids, pa.int64())),
                ("condition", pc.fill_null(rows["condition"], CONDITION)),
            ):
                rows = rows.set_column(rows.column_names.index(name), name, values)
            if ids:
                yield "matches", rows.append_column("anchor_id", pa.array([known.get(i) for i in ids], pa.int64()))
            if rejects:
                yield "rejects", pa.Table.from_pylist(rejects)
                rejects = []
        if rejects:
            yield "rejects", pa.Table.from_pylist(rejects)


def known_anchors(lake: Lake) -> dict[int, int | None]:
    """The anchor of each sequence of the lake, by sequence id; None where it has none."""
    with lake.connect(["sequences"]) as con:
        return dict(con.sql("select sequence_id, anchor_id from stored.sequences").fetchall())


def _tokenizers(piece: pa.Table, defaults: Mapping[str, str]) -> list[str]:
    """The tokenizer of each row: its own, else its model's."""
    columns = (piece[name].to_pylist() for name in ("tokenizer", "model"))
    return [own or defaults[model] for own, model in zip(*columns, strict=True)]
