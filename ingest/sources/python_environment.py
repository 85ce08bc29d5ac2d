"""The text that this Python environment already holds: library code, docstrings, licences, generated arithmetic.

Real text with natural duplicates, offline, in four domains (see `sources/_environment.py`). The half of the documents
that is for training; the other half is the source `python_environment_held_out`. One environment always gives the same
documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from memlake.ingest.documents.base import DocumentSource
from memlake.ingest.documents.reading import Input
from memlake.ingest.source import Document, Reject, Stage
from memlake.warehouse.errors import BadInput
from memlake.warehouse.lake import Lake
from memlake.warehouse.options import option

from . import _environment as environment


@dataclass(frozen=True)
class Source(DocumentSource):
    CORPUS = "python_environment"
    limit: int = option(1000, "documents of each domain at most")

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise BadInput(f"--limit must be positive, not {self.limit}")

    def stages(self, lake: Lake, corpus: str | None, keep: int | None = None, strict: bool = False) -> Sequence[Stage]:
        environment.refuse_another(lake, self.limit)
        return super().stages(lake, corpus, keep=keep, strict=strict)

    def inputs(self) -> list[Input]:
        return [Input("environment", environment.digest())]

    def domain_class(self, domain: str) -> str:
        return environment.CLASSES[domain]

    def read(self, given: Input) -> Iterator[Document | Reject]:
        yield from environment.documents(self.limit, held_out=False)

    def seconds(self, given: Input) -> float:
        return 0.6 + 0.001 * self.limit  # to list the files, and to read and cut some
