"""A table's Parquet files as SQL.

The values of partition columns are those that Delta's log says, and the paths are taken as they are: neither what the
folders above the lake are called nor a value that looks like something else (`null`, `__HIVE_DEFAULT_PARTITION__`, a
number) changes what is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from . import schema
from .errors import BadInput
from .schema import Table

NO_VALUE = "__HIVE_DEFAULT_PARTITION__"  # the folder of NULL
MAX_NAME = 255  # bytes of a folder's name that file systems take


@dataclass(frozen=True)
class File:
    """One Parquet file of a snapshot. `partition` maps partition column to value; `rows` is its number of rows;
    `bounds` maps a column to its least and greatest value, where the log tells."""

    path: str
    partition: dict[str, str | None] = field(hash=False)
    rows: int
    size: int
    bounds: Mapping[str, Sequence[Any]] = field(default_factory=dict, compare=False)

    @property
    def cell(self) -> str | None:
        """The cell whose rows it holds, by which `stage` names it; None where the name tells none: it may hold the
        rows of several."""
        named = re.match(r"c\d+-[0-9a-f]{32}(?=-)", self.path.rpartition("/")[2])
        return named and named[0]


def relation(name: str, files: Sequence[File]) -> str:
    """SELECT of a table's columns over Parquet files; of no rows where there is no file.

    DuckDB skips a file for a filter on a partition column only where it can work the value out from the file's name. So
    the value is cut out of the name of every file that lies where `partition_path` says, which is where `stage` puts
    it; for any other it is looked up, and DuckDB opens the file.
    """
    spec = schema.table(name)
    if not files:
        nulls = ", ".join(f'null::{c.sql_type} as "{c.name}"' for c in spec.columns)
        return f"select {nulls} where false"
    placed: list[File] = []
    elsewhere: list[File] = []
    for file in files:
        (placed if _lies_in_its_folder(spec, file) else elsewhere).append(file)
    return " union all ".join(select(spec, some) for select, some in ((_cut, placed), (_looked_up, elsewhere)) if some)


def _lies_in_its_folder(spec: Table, file: File) -> bool:
    folder = partition_path(spec, file.partition)
    return None not in file.partition.values() and file.path.rpartition("/")[0].endswith(f"/{folder}")


def _cut(spec: Table, files: Sequence[File]) -> str:
    """Files that lie in their partitions' folders: `.../model=a%20b/corpus=c/file.parquet`.

    By a regular expression, which DuckDB looks for once a file; split_part is a macro that it works out for every row.
    """
    depth = len(spec.partition)
    values = {
        key: f"url_decode(regexp_extract(filename, '/{key}=([^/]*)(?:/[^/]*){{{depth - i}}}$', 1))"
        for i, key in enumerate(spec.partition)
    }
    columns = ", ".join(f'{values[c.name]} as "{c.name}"' if c.name in values else f'"{c.name}"' for c in spec.columns)
    return f"select {columns} from {_read(spec, files)}"


def _looked_up(spec: Table, files: Sequence[File]) -> str:
    """Files that lie anywhere."""

    def row(file: File) -> str:
        values = ("null" if (v := file.partition[k]) is None else quoted(v) for k in spec.partition)
        return f"({', '.join([quoted(file.path), *(f'{v}::varchar' for v in values)])})"

    columns = ", ".join(f'"{c.name}"' for c in spec.columns)
    known = ", ".join(f'"{k}"' for k in ("filename", *spec.partition))
    rows = ", ".join(map(row, files))
    return f"select {columns} from {_read(spec, files)} join (values {rows}) as known({known}) using (filename)"


def _read(spec: Table, files: Sequence[File]) -> str:
    listed = ", ".join(quoted(as_pattern(f.path)) for f in files)
    # DuckDB skips files by their names only where the column of names is called as it calls it.
    options = "hive_partitioning = false, filename = true"
    if later := ", ".join(f'null::{c.sql_type} as "{c.name}"' for c in spec.columns if c.later):
        found = f"select * from read_parquet([{listed}], union_by_name = true, {options})"
        return f"(select {later} where false union all by name {found})"
    return f"read_parquet([{listed}], {options})"


def as_pattern(path: str) -> str:
    """The path as DuckDB must be told it: it takes *, ? and [ for a pattern, and would read other files too."""
    return re.sub(r"[*?[]", r"[\g<0>]", path)


def partition_path(spec: Table, values: Mapping[str, object]) -> str:
    """A partition as its folders name it: each value percent-encoded once; '' where the table has no partitions.
    Raises `BadInput` for a value that is too long for a folder's name."""

    def folder(key: str, value: object) -> str:
        text = NO_VALUE if value is None else quote(str(value), safe="")
        if text == NO_VALUE == value:
            text = text.replace("_", "%5F", 1)
        if len(name := f"{key}={text}") > MAX_NAME:
            raise BadInput(f"{key} {value!r} is too long for the name of a folder")
        return name

    return "/".join(folder(k, values[k]) for k in spec.partition)


def literal(value: str | float | None) -> str:
    """A text, number, boolean or NULL in SQL."""
    return "NULL" if value is None else quoted(value) if isinstance(value, str) else str(value)


def quoted(text: str) -> str:
    """The text as an SQL literal. DuckDB's parser stops at a NUL byte."""
    literal = "'" + text.replace("'", "''") + "'"
    return "(" + literal.replace("\0", "' || chr(0) || '") + ")" if "\0" in text else literal
