"""Reading one file of documents: the cell, and what it asks of a source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from memlake.ingest.source import Document, Reader, Reject
from memlake.warehouse.lake import Lake
from memlake.warehouse.work.cells import Cell, CellRows, Settings

from .pieces import Pieces, domain_rows

BYTES_PER_SECOND = 8e6  # of a file: compressed JSON lines; plain ones are read four times as fast
SECONDS_PER_FILE = 60.0  # of unknown size: those of the published corpora hold hundreds of megabytes


@dataclass(frozen=True)
class Input:
    """What one cell reads, usually a file. `name` is relative to the root; `digest` changes when the content does;
    `path` is where it lies now; `size` is its bytes as they lie there, where they are known."""

    name: str
    digest: str
    path: str = ""
    size: int | None = None


class DocumentReader(Reader, ABC):
    """The part of a source of documents that runs on a worker."""

    @abstractmethod
    def read(self, given: Input) -> Iterator[Document | Reject]:
        """The records of one input, in order, in bounded memory."""

    @abstractmethod
    def domain_class(self, domain: str) -> str:
        """'structural' or 'free_text'."""

    def seconds(self, given: Input) -> float:
        """About how long reading one input takes on one core."""
        return SECONDS_PER_FILE if given.size is None else given.size / BYTES_PER_SECOND


@dataclass(frozen=True)
class FileSettings(Settings):
    """A file, and how it is read. options: of the source, as JSON has them. file: its name, relative to the root."""

    source: str
    options: Mapping[str, Any]
    corpus: str
    file: str
    digest: str


@dataclass(frozen=True)
class FolderDomain:
    """The domain that a folder KEY=VALUE on the way to a file tells; None where it says that there is none."""

    name: str | None


@dataclass(frozen=True)
class ReadSettings(FileSettings):
    """folder: where a folder tells the domain of the file's records. keep: documents of each domain in the sample that
    the file is read for; None where all are kept."""

    folder: FolderDomain | None = None
    keep: int | None = None

    def to_json(self) -> dict[str, Any]:
        found = super().to_json()
        return found if self.folder is None else found | {"folder": self.folder.name}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        folder = {"folder": FolderDomain(stored["folder"])} if "folder" in stored else {}
        return super().from_json({**stored, **folder})


@dataclass(frozen=True)
class ReadFile(Cell):
    """The documents of a file, its rejects, and what it holds of each domain."""

    EXPERIMENT = "ingest"
    TABLES: ClassVar[tuple[str, ...]] = ("documents", "rejects", "domains")

    settings: ReadSettings
    source: DocumentReader
    given: Input

    @property
    def seconds(self) -> float:
        return self.source.seconds(self.given)

    def rows(self, lake: Lake) -> CellRows:
        pieces = Pieces(self.settings.corpus, self.settings.file)
        yield from pieces.of(self.source.read(self.given))
        if pieces.seen:
            counts = {domain: (n, size, n) for domain, (n, size) in pieces.seen.items()}
            yield "domains", domain_rows(self.settings.corpus, self.source.domain_class, counts)
