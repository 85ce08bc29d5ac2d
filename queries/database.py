"""A lake as one DuckDB file, `catalog.duckdb` in its folder, for any client that opens DuckDB files.

It holds no rows of tables but what `sql` has: the views of the stored tables, over the files of one snapshot by their
absolute paths, the views, macros and tables that `catalog.definitions` makes of them, and each finding as a table macro
whose parameters have the finding's defaults. `snapshot` says of which versions it is. The file is never changed: a new
one takes its place, and who has the old one open goes on reading that.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import duckdb

from memlake import __version__
from memlake.warehouse import schema, shelf
from memlake.warehouse.connections import connect
from memlake.warehouse.identity import tagged
from memlake.warehouse.lake import Lake
from memlake.warehouse.relation import quoted, relation

from .catalog import definitions
from .finding import SHELF, Finding, names

FILE = "catalog.duckdb"


def rebuild(lake: Lake) -> Path:
    """Make the file anew over the newest snapshot; returns its path. Of two processes one waits for the other, so that
    the newer snapshot stays. Raises `DamagedLake`, OSError."""
    lake.staging.mkdir(exist_ok=True)
    with (lake.staging / "catalog.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        part = lake.staging / FILE  # what a kill has left is overwritten
        empty = _empty(lake)
        for name in (part, part.with_name(f"{FILE}.wal")):
            name.unlink(missing_ok=True)
        shutil.copyfile(empty, part)
        with _open(part) as con:
            _fill(con, lake)
        part.chmod(part.stat().st_mode & ~0o222)  # who opens it to write shuts out all others, and would write in vain
        os.replace(part, lake.path / FILE)
    return lake.path / FILE


def _fill(con: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    """Put the files of a snapshot behind the views, and what follows from them into the tables."""
    files, versions = lake.snapshots(schema.names())
    con.execute("begin")
    lake.show(con, files)
    con.execute(";\n".join(d.sql for d in definitions() if d.sql.startswith("create or replace table")))
    rows = (
        f"({quoted(name)}, {versions[name]}, {len(files[name])}, {sum(f.rows for f in files[name])})" for name in files
    )
    con.execute(
        "create or replace table snapshot as from (values "
        + ", ".join(rows)
        + ") as s(table_name, version, files, rows)"
    )
    con.execute("commit")


def _empty(lake: Lake) -> Path:
    """The file over a lake without rows. DuckDB takes most of the time of a rebuild to look through the definitions,
    which do not change from one to the next: it is kept, under their hash."""
    findings = [Finding(name, shelf.text(SHELF, name, ".sql")) for name in names()]
    made = [*(d.sql for d in definitions()), *(sql for finding in findings for sql in finding.macros())]
    stored = [f"create view stored.{name} as {relation(name, ())}" for name in schema.names()]
    statements = ["create schema stored", "create schema findings", *stored, *made]
    path = lake.path / "kept" / "catalog" / tagged("empty", [__version__, duckdb.__version__, statements])
    if not _is_whole(path):
        _make_empty(path, statements)
    return path


def _make_empty(path: Path, statements: Sequence[str]) -> None:
    shutil.rmtree(path.parent, ignore_errors=True)
    path.parent.mkdir(parents=True)
    part = path.with_suffix(".part")
    with _open(part) as con:
        con.execute(";\n".join(["begin", *statements, "commit"]))
    os.replace(part, path)


def _is_whole(path: Path) -> bool:
    try:
        with duckdb.connect(path, read_only=True) as con:
            return bool(con.execute("select count(*) from duckdb_functions() where not internal").fetchall()[0][0])
    except duckdb.Error:
        return False


def _open(path: Path) -> duckdb.DuckDBPyConnection:
    con = connect(path)
    con.execute("set TimeZone = 'UTC'")
    return con
