"""Text files with one JSON object a line, plain, .gz or .zst: what you make yourself, and any corpus in that form.
How a file is compressed its first bytes tell, whatever it is called.

A record that cannot be taken (malformed JSON, no text, wrong type, not UTF-8, a lone surrogate, too long) becomes a
row of `rejects` with its reason; so does the end of a compressed stream that is cut off. NUL bytes in a text are kept.
A field is looked up as it is spelt, then as a path (`--domain-field meta.pile_set_name`); a domain then in the names of
folders (`--domain-field lang`: lang=python/a.jsonl). One that is in no record is an error; records without a domain are
counted. Of a folder all .jsonl, .ndjson and .json files are read, in any case and through links, each once; hidden ones
are not.
"""

from __future__ import annotations

from dataclasses import dataclass

from memlake.ingest.files import readers
from memlake.ingest.files.records import ChosenFields
from memlake.ingest.files.source import FileSource


@dataclass(frozen=True)
class Source(ChosenFields, FileSource):
    SUFFIXES = readers.JSON_LINES
