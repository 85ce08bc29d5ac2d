"""Text files with one JSON object a line, plain, .gz or .zst: the Pile, RedPajama, Dolma and what you make yourself.

A record that cannot be taken (malformed JSON, no text, wrong type, not UTF-8, a lone surrogate, too long) becomes a
row of `rejects` with its reason; so does the end of a compressed stream that is cut off. Fields may be dotted:
`--domain-field meta.pile_set_name`.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from warehouse.errors import BadInput
from warehouse.options import option

from .. import streams
from ..documents import DocumentSource, Input, name_problem
from ..source import HEAD, Document, Reject

SUFFIXES = tuple(kind + packed for kind in (".jsonl", ".ndjson", ".json") for packed in streams.COMPRESSED)
CLASSES = ("structural", "free_text")


class Refused(Exception):
    """A record cannot be taken; the message is the reason."""


@dataclass(frozen=True)
class Source(DocumentSource):
    path: tuple[str, ...] = option((), "a file, or a folder that is searched for .jsonl, .ndjson and .json files")
    text_field: str = option("text", "field that holds the text")
    id_field: str | None = option(None, "field with the record's own id: the document's source is then FILE#ID")
    domain_field: str | None = option(None, "field with the record's domain")
    domain: str = option("text", "domain of records without one")
    class_: tuple[str, ...] = option((), "'structural' or 'free_text' (default) for all domains, or DOMAIN=CLASS")
    max_bytes: int = option(4 << 20, "longest line that is taken, in bytes")

    def __post_init__(self):
        if problem := name_problem(self.domain):
            raise BadInput(f"--domain {self.domain!r}: {problem}")
        if self.max_bytes < 1:
            raise BadInput(f"--max-bytes must be positive, not {self.max_bytes}")
        for entry in self.class_:
            if entry.rpartition("=")[2] not in CLASSES:
                raise BadInput(f"--class {entry!r}: give structural or free_text, or DOMAIN=structural")

    def inputs(self) -> list[Input]:
        if not self.path:
            raise BadInput("source 'jsonl' needs --path: a file or a folder")
        return [Input(name, streams.digest(path), str(path)) for name, path in streams.find(self.path, SUFFIXES)]

    def domain_class(self, domain: str) -> str:
        classes = dict(entry.rpartition("=")[::2] for entry in self.class_)
        return classes.get(domain, classes.get("", "free_text"))

    def read(self, given: Input) -> Iterator[Document | Reject]:
        for position, line in enumerate(streams.lines(Path(given.path), self.max_bytes)):
            try:
                if line.problem:
                    raise Refused(line.problem)
                text, domain, own_id = self._fields(parse(line.data.removeprefix(codecs.BOM_UTF8)))
            except Refused as e:
                yield Reject(given.name, position, str(e), line.data[:HEAD])
            else:
                source = given.name if own_id is None else f"{given.name}#{own_id}"
                yield Document(source, position, domain, text)

    def _fields(self, record: dict[str, Any]) -> tuple[str, str, str | int | None]:
        text = field(record, self.text_field)
        if not isinstance(text, str):
            raise Refused(f"{self.text_field} is not text")
        if not text.strip():
            raise Refused(f"{self.text_field} is empty")
        if has_surrogate(text):
            raise Refused(f"{self.text_field} holds a lone surrogate")
        domain = field(record, self.domain_field, self.domain) if self.domain_field else self.domain
        if problem := name_problem(domain):
            raise Refused(problem)
        own_id = field(record, self.id_field) if self.id_field else None
        if self.id_field and (type(own_id) not in (str, int) or has_surrogate(str(own_id))):
            raise Refused(f"{self.id_field} is neither text nor an integer")
        return text, domain, own_id


def parse(line: bytes) -> dict[str, Any]:
    """The object of one line; raises `Refused`."""
    if not line.strip():
        raise Refused("empty line")
    try:
        record = json.loads(line.decode())
    except UnicodeDecodeError as e:
        raise Refused("not UTF-8") from e
    except (ValueError, RecursionError) as e:  # RecursionError: nested a thousand deep
        raise Refused("malformed JSON") from e
    if not isinstance(record, dict):
        raise Refused("not a JSON object")
    return record


def field(record: dict[str, Any], dotted: str, *default: Any) -> Any:
    """The value at a dotted path; the default, or `Refused`, where there is none or it is null."""
    value: Any = record
    for key in dotted.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if value is not None:
        return value
    if default:
        return default[0]
    raise Refused(f"no field {dotted}")


def has_surrogate(text: str) -> bool:
    r"""JSON can spell half a pair (`"\ud800"`), which no UTF-8 can."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
