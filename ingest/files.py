"""Sources that read files: their inputs and records, and what the published corpora share."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from warehouse.errors import BadInput
from warehouse.options import option

from . import streams
from .documents import Input
from .readers import PARQUET, parquet_rows, records
from .records import RecordSource, Refused
from .source import Document, Reject, source_name


@dataclass(frozen=True)
class FileSource(RecordSource):
    """A source of files. It says how they end, and where they can be had."""

    SUFFIXES: ClassVar[tuple[str, ...]]
    STREAM: ClassVar[str] = "hf://datasets/OWNER/NAME/..."  # an example of a URL that it reads
    path: tuple[str, ...] = option((), "file, folder, or URL (hf://, https://, s3://, ...); may be repeated")

    def look(self, corpus: str | None) -> None:
        self._corpus(corpus)
        self._files()

    def inputs(self) -> list[Input]:
        return [Input(name, streams.digest(location), location) for name, location in self._files()]

    def _files(self) -> list[tuple[str, str]]:
        """(name, location)"""
        if not self.path:
            raise BadInput(
                f"source {source_name(self)!r} needs --path: a file or a folder, or {self.STREAM} to stream it"
            )
        return streams.find(self.path, self.SUFFIXES, self.file_name)

    def file_name(self, given: str, location: str) -> str:
        """What a file is called in the lake; `given` is its name relative to the --path."""
        return given

    def read(self, given: Input) -> Iterator[Document | Reject]:
        columns, path = self.columns(), given.path
        rows = parquet_rows(path, columns) if self.SUFFIXES == PARQUET else records(path, columns, self.max_bytes)
        for record in rows:
            yield self.document(given.name, record)


@dataclass(frozen=True)
class Corpus(FileSource):
    """A published corpus: the field of its text, its domains and their class are known."""

    STRUCTURAL: ClassVar[frozenset[str]]  # domains of code, maths, LaTeX, markup or logs; all others are free text
    max_bytes: int = option(64 << 20, "longest record that is taken, in bytes")

    def domain_class(self, domain: str) -> str:
        return "structural" if domain in self.STRUCTURAL else "free_text"


class FolderCorpus(Corpus):
    """A corpus in which a folder tells the domain. A file is called by its path from that folder on, so that its
    documents have the same ids whether --path is the corpus or a domain's folder. What lies above --path is not looked
    at: it may be called anything."""

    PARTS: ClassVar[str] = "(?!)"  # folders in a domain's that may be the --path too, as a pattern

    @abstractmethod
    def folder_domain(self, folder: str) -> str | None:
        """The domain of which a folder of this name holds the files; None where it is not a domain's."""

    def file_name(self, given: str, location: str) -> str:
        parts, below = location.split("/"), len(given.split("/"))
        near = below + (2 if re.fullmatch(self.PARTS, parts[-below - 1]) else 1)
        for i in range(len(parts) - 2, len(parts) - near - 1, -1):
            if self.folder_domain(parts[i]):
                return "/".join(parts[i:])
        return given

    def domain_of(self, fields: Mapping[str, Any], file: str) -> str:
        if domain := self.folder_domain(file.split("/")[0]):
            return domain
        raise Refused("no domain: the file lies in no folder of a known name")
