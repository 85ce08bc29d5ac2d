"""What `memlake warehouse` shows, as Arrow tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import duckdb
import pyarrow as pa

from memlake.warehouse import schema as specs
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.compact import layout, offer
from memlake.warehouse.publishing.vacuum import on_disk
from memlake.warehouse.relation import File
from memlake.warehouse.schema import Expect, Table
from memlake.warehouse.words import counted, volume


def status(con: duckdb.DuckDBPyConnection) -> pa.Table:
    """One row an experiment and outcome, by each cell's last attempt: cells, rows, seconds of work, last one's time."""
    return con.execute(
        """
        select experiment, outcome, count(*) as cells, sum(rows)::bigint as rows, sum(seconds) as seconds,
            max(finished_at)::timestamp(0)::varchar as finished_at
        from (from stored.cells qualify row_number() over (partition by cell order by finished_at desc) = 1)
        group by all order by all
        """
    ).to_arrow_table()


def pending(lake: Lake) -> list[str]:
    """Lines on what lies outside the published set."""
    lines = []
    if staged := sum(1 for _ in lake.staging.glob("run-*/*/manifest.json")):
        cells = f"{counted(staged, 'cell is', 'cells are')} staged and not published"
        lines.append(f"{cells}: a run is under way, or the next one publishes {'it' if staged == 1 else 'them'}")
    if kept := [p for p in sorted(lake.quarantine.glob("*")) if p.is_dir()]:
        cells, whose = counted(len(kept), "cell lies", "cells lie"), "its" if len(kept) == 1 else "their"
        lines.append(f"{cells} in {lake.relative(lake.quarantine)}/: SQL sees none of {whose} rows")
    return lines


def fragments(lake: Lake) -> list[str]:
    """Lines on tables in too many files, and on files that no newest snapshot needs, where these are many."""
    layouts = [layout(lake, name) for name in specs.names()]
    lines = [
        f"{found.table}: {counted(found.files, 'file')}, {volume(found.size)}, {found.small} of them small"
        for found in layouts
        if found.pays
    ]
    if line := offer(layouts):
        lines.append(line)
    size = sum(found.size for found in layouts)
    old = sum(on_disk(lake, name) for name in specs.names()) - size
    if old > size / 2:
        lines.append(
            f"{volume(old)} lie in files of older snapshots only: `memlake warehouse compact --vacuum` removes those"
            " that are a week old"
        )
    return lines


def spread(files: Sequence[File]) -> str:
    """How many files there are, and how large they are together."""
    return f"{counted(len(files), 'file')} ({volume(sum(f.size for f in files))})"


def tables(lake: Lake) -> pa.Table:
    """One row a table."""
    rows = []
    for name in specs.names():
        log = lake.log(name)
        files = log.files()
        rows.append(
            {
                "table": name,
                "rows": sum(f.rows for f in files),
                "files": len(files),
                "bytes": sum(f.size for f in files),
                "version": log.version,
                "one row is": specs.table(name).grain.removeprefix("One row is "),
            }
        )
    return pa.Table.from_pylist(rows)


def columns(spec: Table) -> pa.Table:
    """One row a column of a table."""
    return pa.Table.from_pylist(
        [
            {"column": c.name, "type": c.sql_type, "null": "yes" if c.nullable else "", "what": c.doc}
            for c in spec.columns
        ]
    )


def expectations(spec: Table) -> pa.Table:
    """One row an expectation of a table."""
    return pa.Table.from_pylist(
        [
            {
                "expectation": e.name,
                "meets": e.predicate if isinstance(e, Expect) else f"{e.low:g} <= {e.sql} <= {e.high:g}",
            }
            for e in spec.expectations
        ]
    )


def history(lake: Lake, name: str) -> pa.Table:
    """One row a version of a table, the newest first."""
    return pa.Table.from_pylist(
        [
            {
                "version": h["version"],
                "at": datetime.fromtimestamp(h["timestamp"] / 1000, UTC).isoformat(timespec="seconds"),
                "operation": h["operation"],
            }
            for h in lake.delta(name).history()
        ]
    )
