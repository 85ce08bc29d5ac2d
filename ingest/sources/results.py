"""Match vectors made elsewhere, Parquet or JSONL: one row is one sequence under one model.

Needed: model, corpus, domain, sequence_id, n_tokens, and match: a list of booleans, or packed bytes (numpy.packbits;
in JSON as hex digits). Any other column of `matches` may be given too, and is then checked against the vector; what is
left out is derived. What a file lacks and a folder KEY=VALUE above it tells (`model=pythia-1b/`) is taken from there.
Also condition (one of this lake's; `imported` where there is none), tokenizer (its name; by default that of the model
in this lake, else the family's, or the model's name where its family is one's own), prefix_tokens and tokens.

A sequence_id of this lake is taken as it is. Any other is the id where the row was made: the sequence is written with
it as `external_id`. A model that the lake does not have is registered with the size that the registry or --params
tells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from memlake.ingest.files import streams
from memlake.ingest.files.folders import folder_fields, name_with_fields
from memlake.ingest.results import ids
from memlake.ingest.results import match_vectors as vectors
from memlake.ingest.results.base import ResultSource
from memlake.ingest.results.reading import ResultFile
from memlake.warehouse.errors import BadInput
from memlake.warehouse.identity import hash63_each
from memlake.warehouse.lake import Lake
from memlake.warehouse.options import option


@dataclass(frozen=True)
class Source(ResultSource):
    SUFFIXES = (".parquet", *(".jsonl" + packed for packed in streams.COMPRESSED))

    path: tuple[str, ...] = option((), "a Parquet or JSONL file, or a folder of them")
    family: str | None = option(None, "family of a model that is neither in the lake nor in the registry")
    params: int | None = option(None, "parameters of such a model")

    def files(self, lake: Lake, corpus: str | None) -> list[ResultFile]:
        if corpus:
            raise BadInput("source 'results' takes no --corpus: the rows name their corpus")
        return self.find()

    def file_name(self, given: str, location: str) -> str:
        above = (folder_fields(location).keys() - folder_fields(given).keys()) & vectors.TYPES.keys()
        return name_with_fields(given, location, above - vectors.given_columns(Path(location)) if above else ())

    def read(self, file: ResultFile) -> Iterator[pa.Table]:
        return vectors.read(Path(file.path), folder_fields(file.name))

    def own_ids(self, piece: pa.Table) -> pa.Array:
        return ids.from_text(piece["sequence_id"].combine_chunks())

    def made_ids(self, piece: pa.Table, tokenizers: pa.Array) -> pa.Array:
        """An id made from where the row comes from."""
        corpora, own = (piece[name].combine_chunks() for name in ("corpus", "sequence_id"))
        return hash63_each("import", corpora, tokenizers, own)
