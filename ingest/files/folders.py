"""What the folders KEY=VALUE on the way to a file say of all its records, as Hive and Spark write partitions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from urllib.parse import unquote

from memlake.warehouse.relation import NO_VALUE


@lru_cache(maxsize=1 << 10)
def folder_fields(name: str) -> Mapping[str, str | None]:
    """The fields by the folders in a file's name, percent-decoded; None where there is no value. The nearest folder
    counts."""
    found: dict[str, str | None] = {}
    for folder in name.split("/")[:-1]:
        key, equals, value = (folder if "=" in folder else unquote(folder)).partition("=")  # web servers encode `=`
        if key and equals:
            found[_decoded(key)] = None if value == NO_VALUE else _decoded(value)
    return found


def _decoded(text: str) -> str:
    """Without its percent-encoding; as it is spelt where that is not UTF-8: two folders would be one otherwise."""
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text


def name_with_fields(given: str, location: str, keys: Collection[str]) -> str:
    """A file's name with so many of the folders above the --path as hold these fields, the nearest of each: the file is
    called the same whether --path is such a folder or the one above it. `given` is its name below the --path."""
    parts = location.split("/")
    start = below = len(parts) - given.count("/") - 1
    missing = set(keys) - folder_fields(given).keys()
    for i in range(below - 1, -1, -1):
        if found := missing & folder_fields(f"{parts[i]}/").keys():
            missing, start = missing - found, i
    return given if start == below else "/".join(parts[start:])
