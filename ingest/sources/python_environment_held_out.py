"""The control corpus: text of this Python environment on which nothing is ever trained.

Of the half that `python_environment` leaves, a document enters only if no span of 200 bytes of it stands anywhere in
what `python_environment` gives with the same options. Licences share nearly everything: what is left out is counted in
`rejects`, by domain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from memlake.ingest.documents.overlap import SPAN, Spans
from memlake.ingest.documents.reading import Input
from memlake.ingest.source import HEAD, Document, Reject

from . import _environment as environment
from . import python_environment


@dataclass(frozen=True)
class Source(python_environment.Source):
    CORPUS = "python_environment_held_out"

    def read(self, given: Input) -> Iterator[Document | Reject]:
        trained = Spans(d.text.encode() for d in environment.documents(self.limit, held_out=False))
        for document in environment.documents(self.limit, held_out=True):
            if trained.occur(data := document.text.encode()):
                reason = f"{document.domain}: {SPAN} bytes of it stand in the training part"
                yield Reject(document.source, document.position, reason, data[:HEAD])
            else:
                yield document

    def seconds(self, given: Input) -> float:
        return 0.6 + 0.004 * self.limit  # the training part is read, too, and searched through
