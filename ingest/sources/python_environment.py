"""The text that this Python environment already holds: library code, docstrings, licences, generated arithmetic.

Real text with natural duplicates, offline, in four domains (see `ingest.environment`). The half of the documents that
is for training; the other half is the source `python_environment_held_out`. One environment always gives the same
documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from memlake.ingest.documents.base import DocumentSource, Input
from memlake.ingest.source import Document, Reject
from memlake.warehouse.errors import BadInput
from memlake.warehouse.lake import Lake
from memlake.warehouse.options import option
from memlake.warehouse.work.cells import Cell

from . import _environment as environment


@dataclass(frozen=True)
class Source(DocumentSource):
    CORPUS = "python_environment"
    limit: int = option(1000, "documents of each domain at most")

    def __post_init__(self):
        if self.limit < 1:
            raise BadInput(f"--limit must be positive, not {self.limit}")

    def stages(self, lake: Lake, corpus: str | None, **asked: Any) -> Iterator[list[Cell]]:
        environment.refuse_another(lake, self.limit)
        yield from super().stages(lake, corpus, **asked)

    def inputs(self) -> list[Input]:
        return [Input("environment", environment.digest())]

    def domain_class(self, domain: str) -> str:
        return environment.CLASSES[domain]

    def read(self, given: Input) -> Iterator[Document | Reject]:
        yield from environment.documents(self.limit, held_out=False)
