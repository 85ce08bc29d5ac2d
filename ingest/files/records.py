"""Records on their way to documents: what is taken of one, and the reason for what is not.

A record is an object of named fields: a line of a JSON lines file, a row of a Parquet file, an example of a dataset. A
field is looked up as it is spelt, then as a path: `meta.set` is first a field of that name, then `set` in `meta`.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any

from memlake.ingest.documents.base import DocumentSource
from memlake.ingest.documents.reading import FolderDomain, Input, ReadFile, ReadSettings
from memlake.ingest.names import name_problem
from memlake.ingest.source import HEAD, Document, Reject, Stage
from memlake.warehouse.errors import BadInput, UnknownName, one_line
from memlake.warehouse.lake import Lake
from memlake.warehouse.options import option
from memlake.warehouse.show.terminal import say
from memlake.warehouse.words import counted
from memlake.warehouse.work.cells import published

from . import streams
from .folders import folder_fields, name_with_fields
from .listing import Listing

CLASSES = ("structural", "free_text")
BEGINNING = 100  # records of a file in which its fields are looked for first
DEEPEST = 4  # names of a path that are offered where a field is mistyped


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

    A source says where its files are and what records stand in one, and in which fields stand the text, the domain,
    and, where records have one, their own id. One whose domains stand nowhere says it in `domain_of`.
    """

    # Options of a source that does not know them, and then dataclass fields; what else a source says here is fixed.
    text_field: str = "text"
    id_field: str | None = None
    domain_field: str | None = None
    max_bytes: int = 4 << 20

    def __post_init__(self) -> None:
        if self.max_bytes < 1:
            raise BadInput(f"--max-bytes must be positive, not {self.max_bytes}")

    @cached_property
    @abstractmethod
    def listing(self) -> Listing:
        """What there is to read, and what lies beside it; raises `BadInput` where there is nothing."""

    @abstractmethod
    def records(self, location: str, fields: Collection[str] | None) -> Iterator[Record]:
        """The records of a file in order, in bounded memory; with these of their fields at least, None for all."""

    def file_name(self, given: str, location: str) -> str:
        """What a file is called in the lake; `given` is its name relative to the --path."""
        return given

    def inputs(self) -> list[Input]:
        found = []
        for name, location in self.listing.files:
            digest, size = streams.stat(location)
            found.append(Input(name, digest, location, size))
        return found

    def read(self, given: Input) -> Iterator[Document | Reject]:
        for record in self.records(given.path, self.fields()):
            yield self.document(given.name, record)

    def fields(self) -> set[str]:
        """The fields of a record that are needed."""
        return {name for name in (self.text_field, self.id_field, self.domain_field) if name is not None}

    def validate(self, corpus: str | None) -> None:
        """Raises `UnknownName` too, for a field that is in no record."""
        self._corpus(corpus)
        refuse_unknown(self, self.fields(), ())

    def stages(self, lake: Lake, corpus: str | None, keep: int | None = None, strict: bool = False) -> Sequence[Stage]:
        self.validate(corpus)
        return super().stages(lake, corpus, keep=keep, strict=strict)

    def remarks(self, seen: Mapping[str, int]) -> list[str]:
        return self.listing.lines()

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
            return Document(self._source(file, record.fields), record.position, str(domain), text)
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
    domain_field: str | None = option(
        None, "field with the record's domain, or KEY of the folders KEY=VALUE; 'domain', if the first file has that"
    )
    domain: str = option("text", "domain of records without one")
    class_: tuple[str, ...] = option((), "'structural' or 'free_text' (default) for all domains, or DOMAIN=CLASS")
    max_bytes: int = option(4 << 20, "longest record that is taken, in bytes")

    def __post_init__(self) -> None:
        super().__post_init__()
        if problem := name_problem(self.domain):
            raise BadInput(f"--domain {self.domain!r}: {problem}")
        for entry in self.class_:
            if entry.rpartition("=")[2] not in CLASSES:
                raise BadInput(f"--class {entry!r}: give structural or free_text, or DOMAIN=structural")

    def stages(self, lake: Lake, corpus: str | None, keep: int | None = None, strict: bool = False) -> Sequence[Stage]:
        self._corpus(corpus)  # before a file is looked at
        chosen = replace(self, domain_field="domain") if self._tells_domains(lake, corpus) else self
        return super(ChosenFields, chosen).stages(lake, corpus, keep=keep, strict=strict)

    def _tells_domains(self, lake: Lake, corpus: str | None) -> bool:
        """Is `domain` a field where the first file begins, and nothing else said of domains, nor was the corpus read
        without it? Raises `BadInput` where the file cannot be read."""
        if (self.domain_field, self.domain) != (None, "text") or not self.listing.files:
            return False
        for _, before in published(lake, ReadFile.EXPERIMENT, ReadSettings):
            if before.corpus == corpus and before.options.get("domain_field") is None:
                return False
        _, location = self.listing.files[0]
        try:
            first = list(islice(self.records(location, None), BEGINNING))
        except OSError as e:  # not passed over: it may have the field, and the first cell would settle that none has
            raise BadInput(f"{location} cannot be read ({e.strerror or one_line(e)})") from e
        return any(isinstance(record.fields.get("domain"), str) for record in first)

    def file_name(self, given: str, location: str) -> str:
        return name_with_fields(given, location, [] if self.domain_field is None else [self.domain_field])

    def named_domain(self, file: str) -> FolderDomain | None:
        found = folder_fields(file)
        if self.domain_field is None or self.domain_field not in found:
            return None
        return FolderDomain(found[self.domain_field])

    def validate(self, corpus: str | None) -> None:
        self._corpus(corpus)
        folders = {key for name, _ in self.listing.files for key in folder_fields(name)}
        refuse_unknown(
            self, {name for name in self.fields() if name != self.domain_field or name not in folders}, folders
        )

    def domain_of(self, fields: Mapping[str, Any], file: str) -> object:
        if self.domain_field is None:
            return self.domain
        found = field(fields, self.domain_field, None)
        found = folder_fields(file).get(self.domain_field) if found is None else found
        return self.domain if found is None else found

    def remarks(self, seen: Mapping[str, int]) -> list[str]:
        lines, n = super().remarks(seen), seen.get(self.domain, 0)
        if self.domain_field is not None and n:
            lines.insert(
                0,
                f"{n} of {counted(sum(seen.values()), 'document')} {'is' if n == 1 else 'are'} in domain"
                f" {self.domain!r}, that of records without"
                f" a field {self.domain_field!r}",
            )
        return lines

    def domain_class(self, domain: str) -> str:
        classes = dict(entry.rpartition("=")[::2] for entry in self.class_)
        return classes.get(domain, classes.get("", "free_text"))


def field(fields: Mapping[str, Any], name: str, *default: Any) -> Any:
    """The value of a field; the default, or `Refused`, where there is none or it is null."""
    value = next((v for v in _values(fields, name) if v is not None), None)
    if value is not None:
        return value
    if default:
        return default[0]
    raise Refused(f"no field {name}")


def _values(fields: object, name: str) -> Iterator[Any]:
    """What stands at a name: as it is spelt, then as a path."""
    if not isinstance(fields, Mapping):
        return
    if name in fields:
        yield fields[name]
    dot = name.rfind(".")
    while dot >= 0:
        if name[:dot] in fields:
            yield from _values(fields[name[:dot]], name[dot + 1 :])
        dot = name.rfind(".", 0, dot)


def refuse_unknown(source: RecordSource, fields: Collection[str], folders: Collection[str]) -> None:
    """Raise `UnknownName` for one of these fields that is in no record of the source. folders: what its folders tell,
    for domains only.

    First the beginning of each file is read, until all fields have been met; only where one is in none of them, the
    rest. Of a file that cannot be read its cell will say why.
    """
    missing, names = set(fields), set[str]()

    def search(location: str, needed: Collection[str] | None, limit: int | None) -> bool:
        """Whether the file may hold more: it has more records than the limit, and is no table without such columns."""
        n, more = 0, False
        with suppress(BadInput, OSError):
            for record in islice(source.records(location, needed), limit):
                n += 1
                more = n == limit and (record.raw is not None or any(_leads(record.fields, f) for f in missing))
                names.update(_names(record.fields) if needed is None else ())
                missing.difference_update([f for f in missing if any(True for _ in _values(record.fields, f))])
                if not missing and limit is None:  # a beginning is read to its end: `datasets` leaves files open else
                    break
        return more

    files = [location for _, location in source.listing.files]
    longer = [location for location in files if missing and search(location, None, BEGINNING)]
    if missing and longer:
        say(f"no field {min(missing)!r} where the files begin: reading on to find it")
    for location in longer:
        if missing:
            search(location, fields, None)
    if missing and names:
        name = min(missing)
        raise UnknownName("field", name, names | set(folders if name == source.domain_field else ()))


def _leads(fields: Mapping[str, Any], name: str) -> bool:
    """Does one of these fields stand at the name, or on its path?"""
    return any(name == key or name.startswith(f"{key}.") for key in fields)


def _names(fields: object, depth: int = DEEPEST) -> Iterator[str]:
    """The fields of a record, those of fields as paths."""
    if isinstance(fields, Mapping) and depth:
        for name, value in fields.items():
            yield str(name)
            yield from (f"{name}.{below}" for below in _names(value, depth - 1))
