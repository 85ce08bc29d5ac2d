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
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from memlake import __version__
from memlake.warehouse import schema, shelf
from memlake.warehouse.connections import connect, damage
from memlake.warehouse.errors import DamagedLake, one_line
from memlake.warehouse.identity import tagged
from memlake.warehouse.lake import Lake
from memlake.warehouse.relation import quoted, relation

from .catalog import definitions
from .finding import SHELF, Finding, names

FILE = "catalog.duckdb"


def rebuild(lake: Lake) -> Path:
    """Make the file anew over the newest snapshot; returns its path. Of two processes one waits for the other, so that
    the newer snapshot stays. Raises OSError, and `DamagedLake`: where a table's files cannot be read the file is made,
    and what needs them says so when it is asked for."""
    lake.staging.mkdir(exist_ok=True)
    with (lake.staging / "catalog.lock").open("w") as file, TemporaryDirectory(prefix="memlake-") as scratch:
        fcntl.flock(file, fcntl.LOCK_EX)
        # Made elsewhere: where a folder's name has a ? DuckDB writes its log (.wal) into another folder
        made = Path(scratch) / FILE
        shutil.copyfile(_empty(lake, Path(scratch)), made)
        with _open(made) as con:
            damaged = _fill(con, Lake(lake.path.resolve()))
        part = lake.staging / FILE
        # What a kill has left, and a client that wrote all the same
        for name in (part, part.with_name(f"{FILE}.wal"), lake.path / f"{FILE}.wal"):
            name.unlink(missing_ok=True)
        shutil.copyfile(made, part)
        part.chmod(part.stat().st_mode & ~0o222)  # who opens it to write shuts out all others, and would write in vain
        os.replace(part, lake.path / FILE)
    if damaged:
        raise DamagedLake(f"{lake.path / FILE} is made without {', '.join(damaged)}: {next(iter(damaged.values()))}")
    return lake.path / FILE


def _fill(con: duckdb.DuckDBPyConnection, lake: Lake) -> dict[str, str]:
    """Put the files of a snapshot behind the views, and what follows from them into the tables. What cannot be made of
    damaged files is told, by its name, and why."""
    files, versions = lake.snapshots(schema.names())
    rows = (
        f"({quoted(name)}, {versions[name]}, {len(files[name])}, {sum(f.rows for f in files[name])})" for name in files
    )
    statements = {
        **{name: f"create or replace view stored.{name} as {relation(name, files[name])}" for name in files},
        **{d.name: d.sql for d in definitions() if d.sql.startswith("create or replace table")},
        "snapshot": f"create or replace table snapshot as from (values {', '.join(rows)})"
        " as s(table_name, version, files, rows)",
    }
    damaged: dict[str, str] = {}
    while failed := _failed(con, statements, damaged):
        name, reason = failed
        if name in damaged:
            raise DamagedLake(reason)
        damaged[name] = reason
        statements[name] = _saying(con, name, f"{name} cannot be read: see `memlake warehouse check`")
    return damaged


def _failed(
    con: duckdb.DuckDBPyConnection, statements: Mapping[str, str], damaged: Collection[str]
) -> tuple[str, str] | None:
    """Run all of the statements, or none: the first that met a damaged file, or one of the `damaged`, and what it
    says."""
    con.execute("begin")
    for name, sql in statements.items():
        try:
            con.execute(sql)
        except duckdb.Error as e:
            reason = damage(e)
            if reason is None and damaged and isinstance(e, duckdb.InvalidInputException):
                reason = one_line(e)
            if reason is None:
                raise
            con.execute("rollback")
            return name, reason
    con.execute("commit")
    return None


def _saying(con: duckdb.DuckDBPyConnection, name: str, reason: str) -> str:
    """The statement that puts, in the place of a table or view, a view of its columns that gives no rows but an
    error."""
    is_stored = name in schema.names()
    where = f"stored.{name}" if is_stored else name
    described = con.execute(f"describe {where}").fetchall()
    said = f"error({quoted(reason)})"  # as each column, since DuckDB drops a test of a constant
    columns = ", ".join(f'{said}::{kind} as "{column}"' for column, kind, *_ in described)
    drop = "" if is_stored else f"drop table {name}; "
    return f"{drop}create or replace view {where} as select {columns} where {said} is null"


def _empty(lake: Lake, scratch: Path) -> Path:
    """The file over a lake without rows. DuckDB takes most of the time of a rebuild to look through the definitions,
    which do not change from one to the next: it is kept, if that can be, under their hash."""
    findings = [Finding(name, shelf.text(SHELF, name, ".sql")) for name in names()]
    made = [*(d.sql for d in definitions()), *(sql for finding in findings for sql in finding.macros())]
    stored = [f"create view stored.{name} as {relation(name, ())}" for name in schema.names()]
    statements = ["create schema stored", "create schema findings", *stored, *made]
    kept = lake.path / "kept" / "catalog" / tagged("empty", [__version__, duckdb.__version__, statements])
    if _is_whole(kept):
        return kept
    path = scratch / kept.name
    with _open(path) as con:
        con.execute(";\n".join(["begin", *statements, "commit"]))
    with suppress(OSError):
        shutil.rmtree(kept.parent, ignore_errors=True)
        kept.parent.mkdir(parents=True)
        part = kept.with_suffix(".part")
        shutil.copyfile(path, part)
        os.replace(part, kept)
    return path


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
