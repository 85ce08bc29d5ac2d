"""Records on their way to documents: what is taken of one, and the reason for what is not.

A record is an object of named fields: a line of a JSON lines file, a row of a Parquet file, an example of a dataset.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from warehouse.errors import BadInput
from warehouse.options import option

from .documents import DocumentSource, name_problem
from .source import HEAD, Document, Reject

CLASSES = ("structural", "free_text")


class Refused(Exception):
    """A record cannot be taken; the message is the reason."""


@dataclass(frozen=True)
class Record:
    """One record of a file. `position` is its place there, from 0; `raw` its first bytes as they stand in the file,
    where it has such. One that cannot be read has a `problem` and no fields."""

    position: int
    fields: Mapping[str, Any]
    raw: bytes | None = None
    problem: str | None = None

    @property
    def head(self) -> bytes:
        """Its first bytes, at most `HEAD`."""
        if self.raw is not None:
            return self.raw[:HEAD]
        short = {k: v[:HEAD] if isinstance(v, str | bytes) else v for k, v in self.fields.items()}
        return json.dumps(short, default=repr).encode()[:HEAD]


class RecordSource(DocumentSource):
    """The part that all sources of records share: `document` makes one record a document or a reject.

    A source says where the text stands, the domain, and, where records have one, their own id; each may be dotted. One
    whose domains stand nowhere says it in `domain_of`.
    """

    text_field: ClassVar[str] = "text"
    id_field: ClassVar[str | None] = None
    domain_field: ClassVar[str | None] = None
    max_bytes: ClassVar[int] = 4 << 20

    def __post_init__(self):
        if self.max_bytes < 1:
            raise BadInput(f"--max-bytes must be positive, not {self.max_bytes}")

    def columns(self) -> set[str]:
        """The fields of a record that are needed, without what follows a dot."""
        return {name.partition(".")[0] for name in (self.text_field, self.id_field, self.domain_field) if name}

    def domain_of(self, fields: Mapping[str, Any], file: str) -> object:
        """The domain of a record of this file; raises `Refused` where it cannot be told."""
        return field(fields, str(self.domain_field))

    def document(self, file: str, record: Record) -> Document | Reject:
        """The document that a record of this file holds, or why there is none. With an `id_field` the document's
        source is FILE#ID."""
        try:
            if record.problem:
                raise Refused(record.problem)
            text = self._text(record.fields)
            domain = self.domain_of(record.fields, file)
            if problem := name_problem(domain):
                raise Refused(problem)
            return Document(self._source(file, record.fields), record.position, domain, text)
        except Refused as e:
            return Reject(file, record.position, str(e), record.head)

    def _text(self, fields: Mapping[str, Any]) -> str:
        text = field(fields, self.text_field)
        try:
            text = text.decode() if isinstance(text, bytes) else text
        except UnicodeDecodeError as e:
            raise Refused("not UTF-8") from e
        if not isinstance(text, str):
            raise Refused(f"{self.text_field} is not text")
        if not text or text.isspace():
            raise Refused(f"{self.text_field} is empty")
        try:
            size = len(text.encode())
        except UnicodeEncodeError as e:  # JSON can spell half a pair ("\ud800"), which no UTF-8 can
            raise Refused(f"{self.text_field} holds a lone surrogate") from e
        if size > self.max_bytes:
            raise Refused(f"longer than {self.max_bytes} bytes")
        return text

    def _source(self, file: str, fields: Mapping[str, Any]) -> str:
        if self.id_field is None:
            return file
        own = field(fields, self.id_field)
        if type(own) not in (str, int):
            raise Refused(f"{self.id_field} is neither text nor an integer")
        try:
            str(own).encode()
        except UnicodeEncodeError as e:
            raise Refused(f"{self.id_field} holds a lone surrogate") from e
        return f"{file}#{own}"


@dataclass(frozen=True)
class ChosenFields(RecordSource):
    """The options of a source that knows nothing of its records: the user says which field holds what."""

    text_field: str = option("text", "field that holds the text")
    id_field: str | None = option(None, "field with the record's own id: the document's source is then FILE#ID")
    domain_field: str | None = option(None, "field with the record's domain")
    domain: str = option("text", "domain of records without one")
    class_: tuple[str, ...] = option((), "'structural' or 'free_text' (default) for all domains, or DOMAIN=CLASS")
    max_bytes: int = option(4 << 20, "longest record that is taken, in bytes")

    def __post_init__(self):
        super().__post_init__()
        if problem := name_problem(self.domain):
            raise BadInput(f"--domain {self.domain!r}: {problem}")
        for entry in self.class_:
            if entry.rpartition("=")[2] not in CLASSES:
                raise BadInput(f"--class {entry!r}: give structural or free_text, or DOMAIN=structural")

    def domain_of(self, fields: Mapping[str, Any], file: str) -> object:
        return field(fields, self.domain_field, self.domain) if self.domain_field else self.domain

    def domain_class(self, domain: str) -> str:
        classes = dict(entry.rpartition("=")[::2] for entry in self.class_)
        return classes.get(domain, classes.get("", "free_text"))


def field(fields: Mapping[str, Any], dotted: str, *default: Any) -> Any:
    """The value at a dotted path; the default, or `Refused`, where there is none or it is null."""
    value: Any = fields
    for key in dotted.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    if value is not None:
        return value
    if default:
        return default[0]
    raise Refused(f"no field {dotted}")
