"""Rows of the small tables that give things their names: models, tokenizers, conditions, ..."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping, Sequence

import pyarrow as pa

from memlake.warehouse import schema
from memlake.warehouse.errors import Conflict
from memlake.warehouse.identity import canonical
from memlake.warehouse.lake import Lake
from memlake.warehouse.relation import relation

from . import audit
from .audit import Rows
from .publish import commit_rows, staged_file
from .stage import Staging, scratch


def register(lake: Lake, name: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Append rows to a small table of names (models, tokenizers, conditions, ...), each once.

    A row that is there with equal values is left alone; with other values `Conflict` names the columns that differ.
    Keys missing from a row mean NULL.
    """
    for row in rows:
        if not _known(lake, name, row):
            _append(lake, name, row)


def transaction(name: str, row: Mapping[str, object]) -> str:
    """What the table's log calls the row: its key."""
    return canonical([row[k] for k in schema.table(name).key])


def _known(lake: Lake, name: str, row: Mapping[str, object]) -> bool:
    """Is the row there already? Raises Conflict where its key is, with other values."""
    spec = schema.table(name)
    key = " and ".join(f'"{k}" = ?' for k in spec.key)
    with lake.connect([name]) as con:
        found = con.execute(f"from stored.{name} where {key}", [row[k] for k in spec.key]).to_arrow_table().to_pylist()
    if not found:
        return False
    differ = [c for c in spec.schema.names if found[0][c] != row.get(c)]
    if differ:
        what = " ".join(str(row[k]) for k in spec.key)
        changes = ", ".join(f"{c} was {found[0][c]!r}, now {row.get(c)!r}" for c in differ)
        raise Conflict(f"{name} has another {what!r} already ({changes}): give it another name, or forget the old one")
    return True


def _append(lake: Lake, name: str, row: Mapping[str, object]) -> None:
    spec = schema.table(name)
    with scratch(lake.staging, "register") as folder:
        with Staging(folder, name, uuid.uuid4().hex[:12]) as stage:
            stage.write(name, pa.Table.from_pylist([dict(row)], schema=spec.schema))
        (file,) = stage.files
        select = relation(name, [staged_file(lake, folder, file)])
        judged = Rows(lake, name, select, settings={}, partitions=[file.partition])
        failed = [v.expectation for v in audit.judge(judged)[None] if not v.passed]
        if not failed:
            commit_rows(lake, folder, name, {transaction(name, row): [dict(row)]})
        shutil.rmtree(folder)
    if not _known(lake, name, row):  # known by now where another process was faster
        raise Conflict(f"this row does not fit into {name} ({', '.join(failed)}): {dict(row)}")
