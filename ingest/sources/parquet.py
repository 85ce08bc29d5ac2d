"""Parquet files, one row a document.

Only the columns that are asked for are read, a few rows at a time. A row that cannot be taken (no text, wrong type, not
UTF-8, too long) becomes a row of `rejects` with its reason; so does a file, or a row group of one, that is damaged. A
column that another file lacks, or has with another type, costs that file's rows only.

A field is looked up as a column of that name, then as a path into one (`--domain-field meta.pile_set_name`); a domain
then in the names of folders (`--domain-field lang`: lang=python/0.parquet, also where --path is that folder). One that
is in no file is an error; rows without a domain are counted. Of a folder all .parquet files are read, in any case and
through links, each once; hidden ones are not.
"""

from __future__ import annotations

from dataclasses import dataclass

from memlake.ingest.files import readers
from memlake.ingest.files.records import ChosenFields
from memlake.ingest.files.source import FileSource


@dataclass(frozen=True)
class Source(ChosenFields, FileSource):
    SUFFIXES = readers.PARQUET
