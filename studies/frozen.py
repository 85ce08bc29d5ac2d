"""A lake as it is at one moment, for who asks it hundreds of small questions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import duckdb

from memlake.warehouse import connections, schema
from memlake.warehouse.errors import DamagedLake, one_line
from memlake.warehouse.lake import Lake
from memlake.warehouse.log import Log
from memlake.warehouse.relation import File, relation

# Those that are read as a whole: they are small, and of many files
WHOLE = ("cells", "conditions", "model_corpora", "models", "rejects", "tokenizers")


class FrozenLake(Lake):
    """What is published when it is first asked is what it holds from then on; nothing is written through it. All that
    reads it shares one database, which has all tables, so that the head of a file is read once and not at each
    question."""

    def __init__(self, path: Path):
        super().__init__(path)
        self._shared: duckdb.DuckDBPyConnection | None = None
        self._frozen = False

    def log(self, name: str) -> Log:
        """The log of a table, as of the first look at any."""
        schema.table(name)
        if not self._frozen:
            now = Lake(self.path)
            now.snapshots(schema.names())
            self._logs, self._frozen = now._logs, True
        return self._logs[name]

    def connect(
        self,
        only: Iterable[str] | None = None,
        snapshot: Mapping[str, Sequence[File]] | None = None,
        con: duckdb.DuckDBPyConnection | None = None,
    ) -> duckdb.DuckDBPyConnection:
        """As of a lake; `only` spares nothing, for all tables are there."""
        if snapshot is not None or con is not None:
            return super().connect(only, snapshot, con)
        if self._shared is None:
            self._shared = connections.connect()
            self._shared.execute("set TimeZone = 'UTC'")
            self._shared.execute("set parquet_metadata_cache = true")
            self._shared.execute("create schema stored")
            files = self.snapshots(schema.names()).files
            self.show(self._shared, {name: of for name, of in files.items() if name not in WHOLE})
            for name in WHOLE:
                try:
                    self._shared.execute(f"create table stored.{name} as {relation(name, files[name])}")
                except duckdb.Error as e:
                    raise DamagedLake(f"table {name} of {self.path} cannot be read: {one_line(e)}") from e
        cursor = self._shared.cursor()
        cursor.execute("set TimeZone = 'UTC'")
        return cursor
