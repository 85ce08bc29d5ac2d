"""A lake: one folder, one Delta table for each kind of row.

delta-rs keeps the log (atomic commits, snapshots, history), which says what of the files is published; `log` reads it;
pyarrow writes the files; DuckDB reads the snapshot's file list. Whatever is not in a table's log is not published, and
no query sees it: `staging/` holds rows that are not yet judged, `quarantine/` rows that failed.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import unquote

import duckdb
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from . import changes, connections, paths, schema
from .errors import BadInput, DamagedLake, NotALake, one_line
from .identity import tagged
from .log import Log
from .relation import File, literal, relation

T = TypeVar("T")
KEEP_LOG = PostCommitHookProperties(cleanup_expired_logs=False)  # delta-rs would list all of it at each commit
ATTEMPTS = 30  # commits that lost a race are tried again this often
CHECKPOINT = {"delta.checkpointInterval": "20"}  # entries that are read one by one; those before it in one file
LOOKS = 20  # at several tables, until none has changed since the look before
NO_DELETE = "[]^|"  # delta-rs panics over a delete below a folder with one of these in its name


class Snapshots(NamedTuple):
    """The published files of tables at one moment, and which version each has there."""

    files: dict[str, list[File]]
    versions: dict[str, int]


class Lake:
    """A lake that exists. Make one with `Lake.open` or `Lake.create`."""

    def __init__(self, path: Path):
        self.path = path
        self._handles: dict[str, DeltaTable] = {}
        self._logs: dict[str, Log] = {}
        self._read: dict[str, list[tuple[frozenset[str], pa.Table]]] = {}  # of a table: files, and their rows
        self._publishing = self._changed = False

    @classmethod
    def open(cls, path: str | Path) -> Lake:
        """The lake at `path`; raises `NotALake`. No log is read before a table is asked for."""
        path = _place(path)
        if not (path / "cells" / "_delta_log").is_dir():
            what = "does not exist" if not path.exists() else "is not a lake"
            raise NotALake(f"{path} {what}: name one with --lake, or make one with `memlake ingest` or `memlake demo`")
        for name in schema.names():
            if not (path / name).exists():  # the lake was made before memlake had this table
                _make(path, [name])
        return cls(path)

    @classmethod
    def create(cls, path: str | Path) -> Lake:
        """The lake at `path`, made where the path is missing or an empty folder."""
        path = _place(path)
        if (path / "cells" / "_delta_log").is_dir():
            return cls.open(path)
        if path.exists() and (not path.is_dir() or any(p.name not in schema.names() for p in path.iterdir())):
            raise NotALake(f"{path} is neither a lake nor an empty folder: name another with --lake")
        if cls(path)._odd():
            raise NotALake(f"no lake can be made at {path}, for the characters {NO_DELETE}: name another with --lake")
        _make(path, sorted(schema.names(), key=lambda n: n == "cells"))  # `cells` last: it marks a whole lake
        return cls.open(path)

    # Reading

    def delta(self, name: str) -> DeltaTable:
        """The newest snapshot of a table; raises `UnknownName`, `DamagedLake`. A handle is kept and brought up to date:
        reading a long log anew for each look would cost more than the look."""
        schema.table(name)
        try:
            if name not in self._handles:
                self._handles[name] = DeltaTable(str(self.path / name))
            self._handles[name].update_incremental()
            return self._handles[name]
        except (DeltaError, TableNotFoundError, OSError) as e:
            raise self._unreadable(name, e) from e

    def log(self, name: str) -> Log:
        """The log of a table, as of now; raises `UnknownName`, `DamagedLake`."""
        schema.table(name)
        log = self._logs.setdefault(name, Log(self.path / name))
        try:
            log.update()
        except (OSError, ValueError, LookupError, TypeError, pa.ArrowException) as e:
            del self._logs[name]
            raise self._unreadable(name, e) from e
        return log

    def _unreadable(self, name: str, error: Exception) -> DamagedLake:
        """That the log of a table cannot be read, and what to mend."""
        reason = one_line(error)
        remedy = "ask for the right to read" if "permission denied" in reason.lower() else "restore"
        return DamagedLake(f"table {name} of {self.path} cannot be read ({reason}): {remedy} its _delta_log")

    def version(self, name: str) -> int:
        """Number of the table's newest snapshot."""
        return self.log(name).version

    def snapshot(self, name: str) -> list[File]:
        """The published files of a table, as of now."""
        return self.log(name).files()

    def snapshots(self, names: Iterable[str]) -> Snapshots:
        """The published files of several tables, all as they were at one moment; of a cell that is being published some
        may have its rows and others not yet. Where others commit without a pause, what the last of a few looks saw."""
        logs = {name: self.log(name) for name in names}
        for _ in range(LOOKS):
            versions = {name: log.version for name, log in logs.items()}
            files = {name: log.files() for name, log in logs.items()}
            if all(self.log(name).version == version for name, version in versions.items()):
                break
        return Snapshots(files, versions)

    def past(self, names: Iterable[str], moment: int | datetime) -> Snapshots:
        """The published files of several tables as they were: after a version of the table `cells`, with which each
        publication ends, or at a time. A table that was made later has none. Raises `BadInput` for what was before the
        lake, is not yet, or is no longer there: `compact --vacuum` removes files of the past."""
        log = self.log("cells")
        if isinstance(moment, int) and not 0 <= moment <= log.version:
            raise BadInput(f"table cells has no version {moment}: its last is {log.version} (see warehouse history)")
        with self._past("cells"):
            when = log.committed(moment) if isinstance(moment, int) else moment
            if log.version_at(when) < 0 and log.reaches_back():
                raise BadInput(f"{self.path} is not that old: its log holds nothing of {when:%Y-%m-%d %H:%M} or before")
        files, versions = {}, {}
        for name in names:
            with self._past(name):
                at = moment if name == "cells" and isinstance(moment, int) else self.log(name).version_at(when)
                if at < 0 and not self.log(name).reaches_back():
                    raise ValueError("its log does not reach back to then")
                files[name], versions[name] = Log.at(self.path / name, at).files() if at >= 0 else [], at
            if gone := [f for f in files[name] if not os.path.exists(f.path)]:
                raise BadInput(
                    f"{len(gone)} of {len(files[name])} files of table {name} of then are no longer there:"
                    " warehouse compact --vacuum has removed them"
                )
        return Snapshots(files, versions)

    @contextmanager
    def _past(self, name: str) -> Iterator[None]:
        """What of a table's log of then is not there, or cannot be read, is one line."""
        try:
            yield
        except (OSError, ValueError, LookupError, TypeError, pa.ArrowException) as e:
            raise BadInput(
                f"table {name} of then cannot be read ({one_line(e)}): warehouse compact --vacuum removes the past"
            ) from e

    def files(self, name: str, **equal: str) -> list[str]:
        """Paths of a table's published files, of the partitions with these values."""
        return [f.path for f in self.snapshot(name) if all(f.partition[k] == v for k, v in equal.items())]

    def rows(self, name: str, con: duckdb.DuckDBPyConnection) -> pa.Table:
        """All rows of a small table, as of now, read by `con`. Only files are read that were not there at the last
        look: what is in one does not change. Raises `DamagedLake`."""
        files = {f.path: f for f in self.snapshot(name)}
        read = [part for part in self._read.get(name, ()) if part[0] <= files.keys()]
        new = files.keys() - frozenset().union(*(paths for paths, _ in read))
        if new or not read:
            try:
                found = con.execute(relation(name, [files[path] for path in sorted(new)])).to_arrow_table()
            except duckdb.Error as e:
                raise DamagedLake(f"table {name} of {self.path} cannot be read: {one_line(e)}") from e
            read.append((frozenset(new), found))
        self._read[name] = read
        return pa.concat_tables(rows for _, rows in read)

    def connect(
        self,
        only: Iterable[str] | None = None,
        snapshot: Mapping[str, Sequence[File]] | None = None,
        con: duckdb.DuckDBPyConnection | None = None,
    ) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection in memory (or `con`) with a view `stored.TABLE` for each table (or for `only` these),
        over the snapshot of now, or over `snapshot`. Columns stand in the declared order; partition columns are
        VARCHAR. Raises `DamagedLake` where a file is missing or is no Parquet."""
        con = con or connections.connect()
        con.execute("set TimeZone = 'UTC'")
        con.execute("create schema stored")
        wanted = schema.names() if only is None else only
        self.show(con, self.snapshots(wanted).files if snapshot is None else {name: snapshot[name] for name in wanted})
        return con

    def show(self, con: duckdb.DuckDBPyConnection, files: Mapping[str, Sequence[File]]) -> None:
        """Make the views `stored.TABLE` of a connection that has a schema `stored` views over these files; raises
        `DamagedLake`."""
        for name, of_table in files.items():
            try:
                con.execute(f"create or replace view stored.{name} as {relation(name, of_table)}")
            except duckdb.Error as e:
                raise DamagedLake(f"table {name} of {self.path} cannot be read: {one_line(e)}") from e

    # Paths

    def relative(self, path: str | Path) -> str:
        """The path as it stands in rows: relative to the lake where it lies inside it, so that a lake can be moved."""
        text, inside = os.fspath(path), f"{self.path}/"
        if text.startswith(inside) and "//" not in text and "/." not in text:  # as all files of tables: there are many
            return text.removeprefix(inside)
        path = Path(path).absolute()
        return path.relative_to(self.path).as_posix() if path.is_relative_to(self.path) else path.as_posix()

    def absolute(self, text: str) -> Path:
        """The path that stands in a row."""
        return self.path / text

    # Writing: but for `amend` only `warehouse` calls what follows; everybody else goes through `work.runner` and
    # `publishing.register`

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Hold the lake's lock on publication, from judging to the last commit: of two runs that publish the same rows
        in different cells, the second is then judged against what the first has published. Who holds it may take it
        again."""
        if self._publishing:
            yield
            return
        self.staging.mkdir(exist_ok=True)
        with (self.staging / "publish.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._publishing = True
            try:
                yield
            finally:
                self._publishing = False
        self._tell()

    def _tell(self) -> None:
        """Tell of what was committed, once for all that is published together."""
        if self._changed:
            self._changed = False
            changes.tell(self.path)

    def commit(self, name: str, transactions: Sequence[str], add: Callable[[list[str]], list[AddAction]]) -> list[str]:
        """Commit the files of several units of work to a table in one entry, each once: those that the log did not
        hold. `add` is given these and puts their files in place; it is called before each try."""

        def attempt(delta: DeltaTable) -> list[str]:
            log = self._beside(name, delta)
            if missing := [t for t in transactions if not log.holds(t)]:
                counts = {t: log.transactions.get(t, 0) + 1 for t in missing}
                self._write(name, delta, add(missing), _alone(counts))
            return missing

        return self._race(name, attempt)

    def retract(
        self, name: str, transactions: Sequence[str], predicate: Callable[[list[str]], str] | None
    ) -> list[str]:
        """Take several units of work back in one entry, and let them be published again: those that the log holds,
        which are returned. `predicate` is given these and says which rows are deleted (None: none are). Files without
        such rows stay as they are."""
        if self._odd():
            raise BadInput(f"rows of {self.path} cannot be deleted, for the characters {NO_DELETE}: move the lake")

        def attempt(delta: DeltaTable) -> list[str]:
            log = self._beside(name, delta)
            held = [t for t in transactions if log.holds(t)]
            if not held:
                return []
            properties = _alone({t: log.transactions[t] + 1 for t in held})
            if predicate is not None:
                delta.delete(predicate(held), commit_properties=properties, post_commithook_properties=KEEP_LOG)
                delta.update_incremental()
            if self._beside(name, delta).holds(held[0]):  # else it is done; where no row met it delta-rs wrote nothing
                self._write(name, delta, [], properties)
            return held

        return self._race(name, attempt)

    def replace(self, name: str, old: Sequence[File], new: Sequence[File]) -> bool:
        """Put files in the place of others that hold the same rows, in one commit. False, and nothing is done, where
        one of the old ones is no longer published.

        delta-rs tries again where another commit was faster, and of one that changed no data it does not see that it
        removed the same files. So it is told not to, and what is published is looked at before each try.
        """
        root = self.path / name

        def attempt(delta: DeltaTable) -> bool:
            published = {f.path for f in self._beside(name, delta).files()}
            if published.issuperset(f.path for f in new):  # a try that was told to have failed had not
                return True
            if not published.issuperset(f.path for f in old):
                return False
            now = int(time.time() * 1000)
            removed = [
                RemoveAction(Path(f.path).relative_to(root).as_posix(), False, now, f.size, f.partition) for f in old
            ]
            added = [add_action(root, f, data_change=False) for f in new]
            self._write(name, delta, [*removed, *added], _alone())
            return True

        return self._race(name, attempt)

    def _beside(self, name: str, delta: DeltaTable) -> Log:
        """The log, not older than the handle: where it is newer, delta-rs refuses a commit by the handle."""
        log = self.log(name)
        if log.version < delta.version():
            missing = log.version + 1
            raise DamagedLake(f"table {name} of {self.path} lacks entry {missing} of its _delta_log: restore it")
        return log

    def _odd(self) -> bool:
        return any(c in NO_DELETE for c in str(self.path.resolve()))

    def _write(
        self, name: str, delta: DeltaTable, actions: Sequence[AddAction | RemoveAction], properties: CommitProperties
    ) -> None:
        spec = schema.table(name)
        delta.create_write_transaction(
            [*actions],
            mode="append",
            schema=Schema.from_arrow(spec.schema),
            partition_by=list(spec.partition),
            commit_properties=properties,
            post_commithook_properties=KEEP_LOG,
        )

    def _race(self, name: str, attempt: Callable[[DeltaTable], T]) -> T:
        for tried in range(ATTEMPTS):
            try:
                self._ready(name)
                done = attempt(self.delta(name))
                self._changed = True
                if not self._publishing:
                    self._tell()
                return done
            except CommitFailedError:
                time.sleep(min(0.01 * 2**tried, 1.0))
            except (DeltaError, OSError) as e:  # delta-rs's names what the system says, and has no number
                if getattr(e, "errno", None) is not None or (isinstance(e, DeltaError) and "(os error " not in str(e)):
                    raise
                raise BadInput(f"table {name} of {self.path} cannot be written ({one_line(e)})") from e
        raise BadInput(f"table {name} of {self.path} is written by too many at once: try again later")

    def _ready(self, name: str) -> Log:
        """The log of a table that is to be written. It is told of columns that were declared after the lake was made,
        which delta-rs would drop, and of how often a checkpoint is due."""
        log = self.log(name)
        declared = schema.table(name).schema
        if not log.columns.issuperset(declared.names):
            new = [f for f in Schema.from_arrow(declared).fields if f.name not in log.columns]
            self.delta(name).alter.add_columns(new, post_commithook_properties=KEEP_LOG)
        if not log.properties.items() >= CHECKPOINT.items():
            self.delta(name).alter.set_table_properties(CHECKPOINT)
        return self.log(name)

    def amend(self, name: str, row: Mapping[str, str | float | None]) -> None:
        """Give the registered row of this key other values, in one commit, so that it is never missing. What `row`
        leaves out stays as it is."""
        key = schema.table(name).key
        predicate = " and ".join(f"{k} = {literal(row[k])}" for k in key)
        values = {k: literal(value) for k, value in row.items() if k not in key}

        def attempt(delta: DeltaTable) -> None:
            delta.update(values, predicate=predicate, commit_properties=_alone(), post_commithook_properties=KEEP_LOG)

        self._race(name, attempt)

    @cached_property
    def staging(self) -> Path:
        """Where rows wait that are not yet judged; outside every table."""
        return self.path / "staging"

    @cached_property
    def quarantine(self) -> Path:
        """Where rows lie that failed an expectation; outside every table."""
        return self.path / "quarantine"


def add_action(root: Path, file: File, data_change: bool) -> AddAction:
    """What the log of the table in `root` is told of a file that lies there."""
    path = Path(file.path)
    low, high = ({column: b[i] for column, b in file.bounds.items()} for i in (0, 1))
    return AddAction(
        path=path.relative_to(root).as_posix(),
        size=file.size,
        partition_values=file.partition,
        modification_time=int(path.stat().st_mtime * 1000),
        data_change=data_change,
        stats=json.dumps({"numRecords": file.rows, "minValues": low, "maxValues": high}),
    )


def _alone(counts: Mapping[str, int] | None = None) -> CommitProperties:
    """Of a commit with these transactions. delta-rs is not to try again by itself where another commit was faster: it
    does not see that a compaction has removed a file, and what was looked at before may hold no more."""
    transactions = [Transaction(name, count) for name, count in (counts or {}).items()]
    return CommitProperties(app_transactions=transactions or None, max_commit_retries=0)


def spools(corpus: str) -> str:
    """The folder in `spool/` for what waits there for later cells of a corpus: gone when the corpus is forgotten."""
    return tagged("corpus", corpus)


def _place(path: str | Path) -> Path:
    """The absolute path of a lake; raises `NotALake` for one that delta-rs, which takes it for a URL, would not find,
    or find somewhere else."""
    path = paths.local(path).absolute()
    try:
        text = paths.utf8(str(path.resolve()))
    except (ValueError, RuntimeError) as e:  # a NUL byte, links that lead in a circle
        raise NotALake(f"{str(path)!r} cannot be the path of a lake ({one_line(e)}): name another with --lake") from e
    if unquote(text) != text or re.search(r"[\\\x00-\x1f\x7f]", text):
        raise NotALake(
            f"{str(path)!r} cannot be the path of a lake, for a backslash, a control character or a % before two"
            " hexadecimal digits: name another with --lake"
        )
    return path


def _make(path: Path, names: Sequence[str]) -> None:
    """Make those of the tables that are missing, empty: all of them or none; raises `NotALake`."""
    missing = [p for p in (*reversed(path.parents), path, *(path / name for name in names)) if not p.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        for name in names:
            spec = schema.table(name)
            DeltaTable.create(
                str(path / name),
                schema=spec.schema,
                partition_by=list(spec.partition),
                description=spec.grain,
                configuration=CHECKPOINT,
                mode="ignore",
            )
    except (DeltaError, OSError) as e:
        for folder in missing:
            shutil.rmtree(folder, ignore_errors=True)
        raise NotALake(f"{path} cannot be written ({one_line(e)}): name another with --lake") from e
