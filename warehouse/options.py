"""Options of a thing on a shelf: the fields of a frozen dataclass, each with what it means, offered as `--NAME`."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .errors import BadInput

if TYPE_CHECKING:
    import pyarrow as pa

NEAR = 0.75  # how alike two names are of which one may be meant for the other, from 0 to 1


def option(default: Any, doc: str, values: Sequence[str] = ()) -> Any:
    """A field that the command line offers as `--NAME`: repeatable where the default is a tuple, a flag without a value
    where it is a bool. values: all that may be given, where that is a short list."""
    return dataclasses.field(default=default, metadata={"doc": doc, "values": values})


def make(cls: type, given: Mapping[str, Any], owner: str) -> Any:
    """An instance of `cls` with these options; `owner` is what a message calls it. Raises `BadInput` for an option
    that it does not take, or a value that the option does not."""
    known = {f.name: f for f in dataclasses.fields(cls)}
    for key in given:
        if key not in known:
            raise unknown(flag(key), cls, owner)
    for key, f in known.items():
        values = f.metadata["values"]
        if values and key in given and given[key] not in values:
            raise BadInput(f"no {flag(key)} {given[key]!r}: it is {' or '.join([', '.join(values[:-1]), values[-1]])}")
    return cls(**given)


def unknown(name: str, cls: type, owner: str, others: Iterable[str] = ()) -> BadInput:
    """What is wrong with an option that `owner`, whose options are the fields of `cls`, does not take. others: flags
    that may be meant as well."""
    own = [flag(f.name) for f in dataclasses.fields(cls)]
    return BadInput(f"{owner} takes no {name}{hint(name, [*own, *others])} (it takes: {', '.join(own) or 'no option'})")


def hint(name: str, known: Iterable[str]) -> str:
    """`: did you mean --path?` where one of these flags is near, else nothing."""
    bare = {k.lstrip("-"): k for k in known}
    near = difflib.get_close_matches(name.lstrip("-"), bare, n=1, cutoff=NEAR)
    return f": did you mean {bare[near[0]]}?" if near else ""


def flag(field: str) -> str:
    """An option as it is typed: `text_field` is `--text-field`."""
    return "--" + field.rstrip("_").replace("_", "-")


def listing(cls: type) -> pa.Table:
    """One row is one option of `cls`."""
    import pyarrow as pa

    rows = [
        {
            "option": flag(f.name),
            "default": "" if f.default in (None, ()) else str(f.default),
            "means": f.metadata["doc"],
        }
        for f in dataclasses.fields(cls)
    ]
    return pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in ("option", "default", "means")]))
