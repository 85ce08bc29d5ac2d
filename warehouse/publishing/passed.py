"""What passed the last check of a lake, so that the next one looks at what is new: `kept/check` in the lake.

A file of a table never changes under its name. So what was found of it holds as long as it is there, it is asked the
same by the same code, and the rows on which its own stand are as they were.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import memlake
from memlake.warehouse import schema
from memlake.warehouse.identity import sha256, tagged
from memlake.warehouse.lake import Lake
from memlake.warehouse.relation import File
from memlake.warehouse.schema import Expect

SCHEMA = pa.schema([(n, pa.string()) for n in ("kind", "table", "name", "of")] + [("n", pa.int64())])


@dataclass(frozen=True)
class Passed:
    """at: when the check began. files: of each table its files, and how many rows each cell has in them. published: how
    often each cell was published or forgotten. rows: a digest of each row, of tables whose rows are of no cell."""

    at: str
    files: dict[str, dict[str, Mapping[str, int]]] = field(default_factory=dict)
    published: dict[str, dict[str, int]] = field(default_factory=dict)
    rows: dict[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def begun(cls) -> Passed:
        """One that is to be filled, of a check that begins now."""
        return cls(datetime.now(UTC).isoformat(timespec="minutes"))

    def add(
        self, lake: Lake, name: str, holds: Mapping[File, Mapping[str, int]], transactions: Mapping[str, int]
    ) -> None:
        """The files of a table, with the cells that each holds. transactions: of its log, when it had these files."""
        self.files[name] = {lake.relative(file.path): cells for file, cells in holds.items()}
        all_ = {cell for cells in holds.values() for cell in cells}
        self.published[name] = {cell: transactions[cell] for cell in all_ if cell in transactions}

    @classmethod
    def read(cls, lake: Lake) -> Passed | None:
        """What was kept; None where nothing was, or it was asked otherwise."""
        try:
            kept = pq.read_table(lake.path / "kept" / "check" / "passed.parquet")
            about = json.loads(kept.schema.metadata[b"about"])
        except (OSError, pa.ArrowException, ValueError, KeyError, TypeError):
            return None
        if about["rules"] != rules():
            return None
        passed = cls(about["at"], {name: {} for name in schema.names()}, {name: {} for name in schema.names()})
        rows: dict[str, set[str]] = {name: set() for name in schema.names()}
        for kind, table, name, of, n in zip(*(column.to_pylist() for column in kept.columns), strict=True):
            if kind == "row":
                rows[table].add(name)
            elif kind == "cell":
                passed.published[table][name] = n
            elif of is None:
                passed.files[table].setdefault(name, {})
            else:
                passed.files[table][name] = {**passed.files[table].get(name, {}), of: n}
        passed.rows.update({name: frozenset(digests) for name, digests in rows.items()})
        return passed

    def keep(self, lake: Lake) -> None:
        """Write it, if that can be: it spares the next check some work, and nothing else depends on it."""
        found: list[tuple[str, str, str, str | None, int | None]] = []
        for table, files in self.files.items():
            for name, cells in files.items():
                found += [("file", table, name, cell, n) for cell, n in cells.items()] or [
                    ("file", table, name, None, None)
                ]
        found += [("cell", t, cell, None, n) for t, cells in self.published.items() for cell, n in cells.items()]
        found += [("row", table, digest, None, None) for table, digests in self.rows.items() for digest in digests]
        about = json.dumps({"at": self.at, "rules": rules()})
        rows = [dict(zip(SCHEMA.names, row, strict=True)) for row in found]
        kept = pa.Table.from_pylist(rows, SCHEMA).replace_schema_metadata({"about": about})
        folder = lake.path / "kept" / "check"
        part = folder / f"{uuid.uuid4().hex[:12]}.part"
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                pq.write_table(kept, part, compression="zstd")
                os.replace(part, folder / "passed.parquet")
            finally:
                part.unlink(missing_ok=True)


def judges() -> list[Path]:
    """The code that says what rows are asked, and asks them."""
    own, warehouse = Path(__file__).parent, Path(schema.__file__).parent
    named = [own / name for name in ("audit.py", "check.py", "second_judge.py")]
    return [Path(schema.__file__), *named, *sorted((warehouse / "tables").glob("*.py"))]


def rules() -> str:
    """A digest of all that rows are asked, and by which memlake."""

    def said(name: str) -> object:
        table = schema.table(name)
        asked = [
            [e.name, e.predicate] if isinstance(e, Expect) else [e.name, e.sql, e.low, e.high]
            for e in table.expectations
        ]
        return [name, [[c.name, str(c.type)] for c in table.columns], list(table.partition), asked]

    code = sha256(path.read_bytes() for path in judges())
    return tagged("rules", [memlake.__version__, code, [said(name) for name in schema.names()]])
