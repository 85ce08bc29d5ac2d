"""A table's Delta log, read as every cell needs it: which files are published, and which units of work.

delta-rs lists the whole log at each look, and reads its tail anew for each transaction that it is asked for: a cost
that grows with the entries. Here only what is new since the last look is read. All that is written (tables, commits,
deletes, checkpoints) is written by delta-rs.
"""

from __future__ import annotations

import bisect
import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow.parquet as pq

from .relation import File

READER, WRITER = 1, 2  # of the protocol: what memlake's tables are made with
LAST = "_last_checkpoint"


class Log:
    """The newest state of a table's log. `folder` is the table's. Errors are those of reading a file or JSON, and
    ValueError for a table that follows a newer protocol."""

    def __init__(self, folder: Path):
        self.folder, self.entries = folder, folder / "_delta_log"
        self.version = -1
        self.transactions: dict[str, int] = {}
        self.columns: frozenset[str] = frozenset()
        self.properties: dict[str, str] = {}
        self._keys: tuple[str, ...] = ()
        self._files: dict[str, File] = {}
        self._named: tuple[tuple[int, int], int] | None = None  # of what file `_last_checkpoint` said which version
        self._places: dict[frozenset[tuple[str, str | None]], dict[str, File]] = {}

    @classmethod
    def at(cls, folder: Path, version: int) -> Log:
        """The state of a table's log after this entry."""
        log = cls(folder)
        checkpoints = (int(p.name[:20]) for p in log.entries.glob("*.checkpoint*.parquet"))
        if (checkpoint := max((c for c in checkpoints if c <= version), default=-1)) >= 0:
            log._load(checkpoint)
        log._next(version)
        if log.version < version:
            raise ValueError(f"{log.entries} lacks entry {log.version + 1}")
        return log

    def update(self) -> None:
        """Read what was committed since the last look."""
        new = self.version < 0
        if new and (checkpoint := self._checkpoint()) >= 0:
            self._load(checkpoint)
        while True:
            self._next()
            if (checkpoint := self._checkpoint()) <= self.version:
                break
            self._load(checkpoint)  # the entries between were cleaned away
        if self.version < 0:
            raise ValueError(f"{self.entries} holds no entry 0")
        if new and self._newest() > self.version:
            self._next()  # it was written meanwhile, or
            if self._newest() > self.version:
                raise ValueError(f"{self.entries} lacks entry {self.version + 1}")

    def holds(self, transaction: str) -> bool:
        """Is this unit of work published? Each publication makes its count odd, each `forget` even."""
        return self.transactions.get(transaction, 0) % 2 == 1

    def gave_back(self, transaction: str) -> bool:
        """Has a `forget` taken this unit of work out, and nobody published it again?"""
        return self.transactions.get(transaction, 1) % 2 == 0

    def files(self) -> list[File]:
        """The published files, in the order of their paths."""
        return [self._files[path] for path in sorted(self._files)]

    def beside(self, partitions: Iterable[Mapping[str, str | None]]) -> list[File]:
        """The published files of these partitions."""
        wanted = dict.fromkeys(frozenset(p.items()) for p in partitions)
        return [f for place in wanted for f in self._places.get(place, {}).values()]

    def version_at(self, moment: datetime) -> int:
        """The number of the last entry that was committed up to then; -1 where none was."""
        numbers = sorted(int(p.name[:20]) for p in self.entries.glob("*.json") if p.name[:20].isdigit())
        place = bisect.bisect_right(numbers, moment, key=self.committed)
        return numbers[place - 1] if place else -1

    def committed(self, version: int) -> datetime:
        """When an entry was committed, by the clock of who did."""
        text = (self.entries / f"{version:020}.json").read_text(encoding="utf-8")
        told = (json.loads(line).get("commitInfo") for line in text.split("\n") if line)
        if (commit := next(filter(None, told), None)) is None:
            raise ValueError(f"{self.entries} does not say when entry {version} was committed")
        return datetime.fromtimestamp(commit["timestamp"] / 1000, UTC)

    def reaches_back(self) -> bool:
        """Does it hold all its entries? Cleaning takes the oldest away."""
        return (self.entries / f"{0:020}.json").exists()

    def _next(self, last: int | None = None) -> None:
        """Read entries as long as there is a next one, up to the last."""
        while last is None or self.version < last:
            try:
                with open(f"{self.entries}/{self.version + 1:020}.json", encoding="utf-8") as file:
                    text = file.read()
            except FileNotFoundError:
                return
            # Not at what else Python takes for the end of a line, such as U+0085, which names may hold
            self._take([json.loads(line) for line in text.split("\n") if line])
            self.version += 1

    def _checkpoint(self) -> int:
        """The version of the newest checkpoint; -1 where there is none."""
        named = self._last()
        if (named <= self.version and self.version >= 0) or self._parts(named):
            return named
        return max((int(p.name[:20]) for p in self.entries.glob("*.checkpoint*.parquet")), default=-1)

    def _last(self) -> int:
        """The version that the table's hint names; -1 where there is none, or it is cut off."""
        try:
            with open(f"{self.entries}/{LAST}", encoding="utf-8") as file:
                stat = os.fstat(file.fileno())
                which = stat.st_ino, stat.st_mtime_ns
                if self._named is None or self._named[0] != which:
                    self._named = which, int(json.loads(file.read())["version"])
            return self._named[1]
        except (FileNotFoundError, ValueError, LookupError, TypeError):
            return -1

    def _newest(self) -> int:
        """The number of the newest entry."""
        return max((int(p.name[:20]) for p in self.entries.glob("*.json") if p.name[:20].isdigit()), default=-1)

    def _parts(self, version: int) -> list[Path]:
        """The files of a checkpoint; none where it was removed meanwhile."""
        return sorted(self.entries.glob(f"{version:020}.checkpoint*.parquet"))

    def _load(self, version: int) -> None:
        """Begin anew with a checkpoint."""
        self.transactions, self._files, self._places = {}, {}, {}
        columns = ["metaData", "protocol", "txn", "add"]
        for part in self._parts(version):
            rows = pq.ParquetFile(part).read(columns=columns)
            for kind in columns:
                column = rows[kind]
                self._take([{kind: row} for row in column.filter(column.is_valid()).to_pylist()])
        self.version = version

    def _take(self, actions: Iterable[Mapping[str, Any]]) -> None:
        for action in actions:
            if add := action.get("add"):
                self._put(add)
            elif remove := action.get("remove"):
                if file := self._files.pop(unquote(remove["path"]), None):
                    self._places[frozenset(file.partition.items())].pop(file.path)
            elif txn := action.get("txn"):
                self.transactions[txn["appId"]] = txn["version"]
            elif found := action.get("metaData"):
                self.columns = frozenset(f["name"] for f in json.loads(found["schemaString"])["fields"])
                self.properties = dict(found["configuration"] or {})
                self._keys = tuple(found["partitionColumns"])
            elif (found := action.get("protocol")) and (
                found["minReaderVersion"] > READER or found["minWriterVersion"] > WRITER
            ):
                raise ValueError("it follows a newer protocol of Delta than memlake's")

    def _put(self, add: Mapping[str, Any]) -> None:
        path, stats = unquote(add["path"]), json.loads(add.get("stats") or "{}")
        values = dict(add["partitionValues"])
        low, high = stats.get("minValues", {}), stats.get("maxValues", {})
        file = File(
            path=str(self.folder / path),
            partition={key: values[key] for key in self._keys},  # delta-rs writes them in any order
            rows=stats.get("numRecords", 0),
            size=add["size"],
            # Not those of texts, which others cut off
            bounds={k: (low[k], high[k]) for k in low if type(low[k]) is type(high.get(k)) is int},
        )
        self._files[path] = file
        self._places.setdefault(frozenset(file.partition.items()), {})[file.path] = file
