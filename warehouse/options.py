"""Options of a thing on a shelf: the fields of a frozen dataclass, each with what it means, offered as `--NAME`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from .errors import BadInput


def option(default: Any, doc: str, values: Sequence[str] = ()) -> Any:
    """A field that the command line offers as `--NAME`. values: all that may be given, where that is a short list."""
    return dataclasses.field(default=default, metadata={"doc": doc, "values": values})


def make(cls: type, given: Mapping[str, Any], owner: str) -> Any:
    """An instance of `cls` with these options; `owner` is what a message calls it. Raises `BadInput` for an option
    that it does not take, or lacks."""
    known = {f.name: f for f in dataclasses.fields(cls)}
    for key in given:
        if key not in known:
            takes = ", ".join(flag(k) for k in known) or "no option"
            raise BadInput(f"{owner} takes no {flag(key)} (it takes: {takes})")
    for key, f in known.items():
        if f.default is dataclasses.MISSING and not given.get(key):
            raise BadInput(f"{owner} needs {flag(key)}: {f.metadata['doc']}")
        values = f.metadata["values"]
        if values and key in given and given[key] not in values:
            raise BadInput(f"no {flag(key)} {given[key]!r}: it is {' or '.join([', '.join(values[:-1]), values[-1]])}")
    return cls(**given)


def flag(field: str) -> str:
    """An option as it is typed: `text_field` is `--text-field`."""
    return "--" + field.rstrip("_").replace("_", "-")


def listing(cls: type) -> pa.Table:
    """One row is one option of `cls`."""
    rows = [
        {
            "option": flag(f.name),
            "default": "" if f.default in (None, ()) else str(f.default),
            "means": f.metadata["doc"],
        }
        for f in dataclasses.fields(cls)
    ]
    return pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in ("option", "default", "means")]))
