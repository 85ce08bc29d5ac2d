"""Sources that read files: their inputs and records, and what the published corpora share."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from memlake.ingest.source import source_name
from memlake.warehouse.errors import BadInput
from memlake.warehouse.options import option

from .listing import Listing, find
from .readers import PARQUET, parquet_rows, records
from .records import Record, RecordSource, Refused


@dataclass(frozen=True)
class FileSource(RecordSource):
    """A source of files. It says how they end, and where they can be had."""

    SUFFIXES: ClassVar[tuple[str, ...]]
    STREAM: ClassVar[str] = "hf://datasets/OWNER/NAME/..."  # an example of a URL that it reads
    path: tuple[str, ...] = option((), "file, folder, or URL (hf://, https://, s3://, ...); may be repeated")

    @cached_property
    def listing(self) -> Listing:
        if not self.path:
            raise BadInput(
                f"source {source_name(self)!r} needs --path: a file or a folder, or {self.STREAM} to stream it"
            )
        return find(self.path, self.SUFFIXES, self.file_name)

    def records(self, location: str, fields: Collection[str] | None) -> Iterator[Record]:
        if self.SUFFIXES == PARQUET:
            return parquet_rows(location, fields)
        return records(location, fields, self.max_bytes)


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
