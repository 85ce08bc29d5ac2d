"""What `memlake warehouse` shows, as Arrow tables."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
import pyarrow as pa

from memlake.warehouse import schema as specs
from memlake.warehouse.lake import Lake
from memlake.warehouse.schema import Expect, Table


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
        lines.append(f"{staged} cells are staged and not published: a run is under way, or the next one publishes them")
    if kept := [p for p in sorted(lake.quarantine.glob("*")) if p.is_dir()]:
        lines.append(f"{len(kept)} cells lie in {lake.relative(lake.quarantine)}/: SQL sees none of their rows")
    return lines


def tables(lake: Lake) -> pa.Table:
    """One row a table."""
    rows = []
    for name in specs.names():
        delta = lake.delta(name)
        files = lake.snapshot(name, delta)
        rows.append(
            {
                "table": name,
                "rows": sum(f.rows for f in files),
                "files": len(files),
                "bytes": sum(f.size for f in files),
                "version": delta.version(),
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
