"""Few large files in the place of many small ones: the same rows, sorted as the table says, in one commit.

Each publication brings files of its own, so a partition has at least one of each. Two rules say which become one:

`compact`       when it is asked for: all that are small, into files of 64 to 256 MB, a commit a partition. It works
                beside writers and readers; a partition that another commit has rewritten meanwhile stays as it is.
`merge_small`   by itself, after a publication: tiny files of about as many rows each, when there are `ALIKE` of them.
                The merged file has `ALIKE` times the rows, so a row is rewritten as often as rows can be multiplied by
                `ALIKE`: two or three times for ten thousand cells.

The files that were merged stay where they are, for those who read an older snapshot, until `vacuum` removes them.

    staging/compact.lock        one compaction at a time
    staging/compact/TABLE/...   what it is writing; staging/merge-<id>/ of `merge_small`, under the lock on publication
    TABLE/<partition>/merged-<id>.parquet
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from weakref import WeakKeyDictionary

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.exceptions import DeltaError

from memlake.warehouse import schema
from memlake.warehouse.errors import Conflict, DamagedLake, MemlakeError, one_line
from memlake.warehouse.lake import Lake
from memlake.warehouse.relation import File, partition_path, quoted, relation
from memlake.warehouse.words import counted

from .place import MERGED, merge, move
from .stage import ROW_GROUP, joined, scratch, writer

SMALL = 64 << 20  # bytes; of files below it a compacted partition has at most one
FULL = 128 << 20  # bytes of small files that become one; with one more, and what is left over, up to 256 MB
ALIKE = 32  # tiny files that are merged by themselves, and how many times more rows a file of the next tier has
TINY = 1 << 20  # bytes; files from here on are not merged by themselves
WORTH = 256  # files of a table less, and no more than half as many left: then compaction is offered
BATCH = 64 << 20  # bytes of rows, unpacked, that are written at once
MEMORY, THREADS = "2GB", 4  # that DuckDB sorts with; what does not fit it puts into the staging folder
LEFT: WeakKeyDictionary[Lake, set[str]] = WeakKeyDictionary()  # files that could not be merged by themselves
DAMAGED = (duckdb.Error, DeltaError, pa.ArrowException, OSError, MemlakeError)


@dataclass(frozen=True)
class Layout:
    """In how many files a table lies, `small` of them below 64 MB though their partition has another such, and how
    many there would be after `compact`. size: bytes of all."""

    table: str
    files: int
    size: int
    small: int
    compacted: int

    @property
    def pays(self) -> bool:
        """Is it worth a compaction?"""
        return self.files - self.compacted >= WORTH and self.files >= 2 * self.compacted


@dataclass(frozen=True)
class Compacted:
    """What became of a partition, or of a table that cannot be read. old and new: files. why: it stays as it is; empty
    where it was rewritten. damaged: for something that must be mended."""

    table: str
    partition: str
    old: Sequence[File] = ()
    new: Sequence[File] = ()
    why: str = ""
    damaged: bool = False


def layout(lake: Lake, name: str) -> Layout:
    """How fragmented a table is, by its log alone."""
    partitions = _partitions(lake.snapshot(name))
    files = [f for part in partitions for f in part]
    small = sum(max(0, sum(f.size < SMALL for f in part) - 1) for part in partitions)
    fewer = sum(len(group) - 1 for part in partitions for group in _groups(part))
    return Layout(name, len(files), sum(f.size for f in files), small, len(files) - fewer)


def offer(layouts: Iterable[Layout]) -> str | None:
    """A line that offers compaction, where it pays."""
    pays = [found for found in layouts if found.pays]
    if not pays:
        return None
    before, after = sum(found.files for found in pays), sum(found.compacted for found in pays)
    return f"`memlake warehouse compact` would make {counted(after, 'file')} of {before}"


def compact(lake: Lake, names: Iterable[str]) -> Iterator[Compacted]:
    """Rewrite the partitions of these tables that have several small files; what became of each.

    Raises `Conflict` where another compaction is at work on the lake. What a partition, a table or the disk is at fault
    for ends in what is told of it, and the others go on.
    """
    with _alone(lake) as folder, _engine(lake, folder) as con:
        for name in names:
            try:
                partitions = _partitions(lake.snapshot(name))
            except DamagedLake as e:
                yield Compacted(name, "", why=str(e), damaged=True)
                continue
            for files in partitions:
                if _groups(files):
                    yield _compact(lake, con, name, files, folder)


def clear(lake: Lake) -> None:
    """Remove what a killed compaction has left to be published; of one at work nothing."""
    if _folder(lake).exists():
        with suppress(Conflict, OSError), _alone(lake):  # it may be another user's
            pass


def _compact(lake: Lake, con: duckdb.DuckDBPyConnection, name: str, files: Sequence[File], folder: Path) -> Compacted:
    partition = partition_path(schema.table(name), files[0].partition)
    try:
        left = {f.path: f for f in files}
        while groups := _groups(left.values()):  # again, for many tiny files make a small one: each has a footer
            for group in groups:
                merged = _merge(con, name, group, folder)
                left[merged.path] = merged
                for file in group:
                    del left[file.path]
        old = [f for f in files if f.path not in left]
        new = list(left.values())[len(files) - len(old) :]
        with lake.publishing():  # else a `forget` that rewrites a large table might lose its race for ever
            if not _put(lake, name, old, new):
                return Compacted(name, partition, why="changed meanwhile, it is left for the next time")
        return Compacted(name, partition, old, new)
    except DAMAGED as e:
        return Compacted(name, partition, why=one_line(e), damaged=True)
    finally:
        shutil.rmtree(folder / name, ignore_errors=True)


def merge_small(lake: Lake, name: str) -> int:
    """Merge tiny files of a table where many of about as many rows lie in a partition, in one commit; by how many files
    there are less. To be called under `lake.publishing()`. No file is opened where there is nothing to do; what cannot
    be merged stays as it is, which is said, and is not tried again by this process."""
    left = LEFT.get(lake, set())
    old: list[File] = []
    new: list[File] = []
    groups: list[list[File]] = []
    try:
        groups = _alike(f for f in lake.snapshot(name) if f.path not in left)
        if not groups:
            return 0
        with scratch(lake.staging, "merge") as folder:
            for group in groups:
                try:
                    new.append(merge(name, group, folder / _merged_name()))
                    old += group
                except DAMAGED as e:
                    _leave(lake, name, group, e)
            done = bool(new) and _put(lake, name, old, new)
            shutil.rmtree(folder)
            return len(old) - len(new) if done else 0
    except DAMAGED as e:
        _leave(lake, name, [f for group in groups for f in group], e)
        return 0


def _leave(lake: Lake, name: str, files: Sequence[File], error: Exception) -> None:
    """Say that these cannot be merged, and let this process not try again."""
    LEFT.setdefault(lake, set()).update(f.path for f in files)
    print(f"{counted(len(files), 'small file')} of {name} not merged: {one_line(error)}", file=sys.stderr)


def _partitions(files: Iterable[File]) -> list[list[File]]:
    """The files of each partition."""
    found: dict[tuple[str | None, ...], list[File]] = defaultdict(list)
    for file in files:
        found[tuple(file.partition.values())].append(file)
    return list(found.values())


def _groups(files: Iterable[File], full: int = FULL) -> list[list[File]]:
    """Which files of a partition become one: small ones, until they are `full` bytes together. What is left over and
    small goes along with the last."""
    groups: list[list[File]] = []
    for file in files:
        if file.size < SMALL:
            if not groups or _size(groups[-1]) >= full:
                groups.append([])
            groups[-1].append(file)
    if len(groups) > 1 and _size(groups[-1]) < min(SMALL, full // 2):
        groups[-2:] = [[*groups[-2], *groups[-1]]]
    return [group for group in groups if len(group) > 1]


def _size(files: Iterable[File]) -> int:
    return sum(f.size for f in files)


def _alike(files: Iterable[File]) -> list[list[File]]:
    """Tiny files of one partition and tier, where there are enough of them."""
    found: dict[tuple[object, ...], list[File]] = defaultdict(list)
    for file in files:
        if file.size < TINY:
            found[(*file.partition.values(), _tier(file.rows))].append(file)
    return [part for group in found.values() if len(group) >= ALIKE for part in _groups(group, MERGED)]


def _tier(rows: int) -> int:
    """The power of `ALIKE` that the rows reach: `ALIKE` files of one tier make a file of a higher one."""
    return (max(rows, 1).bit_length() - 1) // (ALIKE.bit_length() - 1)


def _merge(con: duckdb.DuckDBPyConnection, name: str, files: Sequence[File], folder: Path) -> File:
    """One file in `folder` with the rows of several of one partition, sorted. However many rows there are, memory holds
    only some at a time. Raises `DamagedLake` where there are more or fewer rows than the log says."""
    spec = schema.table(name)
    columns = pa.schema([field for field in spec.schema if field.name not in spec.partition])
    partition = files[0].partition
    path = folder / name / partition_path(spec, partition) / _merged_name()
    listed = ", ".join(f'"{c}"' for c in columns.names)
    order = ", ".join(f'"{c}"' for c in spec.sort if c in columns.names)
    select = f"select {listed} from ({relation(name, files)}){order and ' order by '}{order}"
    rows = 0
    with writer(path, columns) as out:
        for batch in con.execute(select).to_arrow_reader(_at_once(files)):
            out.write_table(pa.Table.from_batches([batch]).cast(columns), row_group_size=ROW_GROUP)
            rows += batch.num_rows
    if rows != (logged := sum(f.rows for f in files)):
        raise DamagedLake(f"its files have {rows} rows, the log says {logged}: see `memlake warehouse check`")
    for file in files:
        if Path(file.path).is_relative_to(folder):
            os.unlink(file.path)
    return File(str(path), partition, rows, path.stat().st_size, joined([f.bounds for f in files]))


def _merged_name() -> str:
    return f"merged-{uuid.uuid4().hex[:12]}.parquet"


def _at_once(files: Sequence[File]) -> int:
    """Rows that are written at once: a row group, or fewer where rows are long."""
    largest = pq.read_metadata(max(files, key=lambda f: f.size).path)
    unpacked = sum(largest.row_group(i).total_byte_size for i in range(largest.num_row_groups))
    return max(1, min(ROW_GROUP, BATCH * max(1, largest.num_rows) // max(1, unpacked)))


def _put(lake: Lake, name: str, old: Sequence[File], new: Sequence[File]) -> bool:
    """Move merged files to their places in the lake, and publish them instead of the old ones. False where these have
    changed. What an error leaves in its place is left for `vacuum`: that the commit was made cannot be ruled out."""
    placed = []
    for file in new:
        target = lake.path / name / partition_path(schema.table(name), file.partition) / Path(file.path).name
        move(Path(file.path), target)
        placed.append(replace(file, path=str(target)))
    done = lake.replace(name, old, placed)
    if not done:
        for file in placed:
            os.unlink(file.path)
    return done


@contextmanager
def _engine(lake: Lake, folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that sorts in bounded memory, and on disk what does not fit."""
    with lake.connect([]) as con:
        con.execute(f"set memory_limit = '{MEMORY}'")
        con.execute(f"set threads = {min(THREADS, os.cpu_count() or 1)}")
        con.execute(f"set temp_directory = {quoted(str(folder / 'spill'))}")
        yield con


@contextmanager
def _alone(lake: Lake) -> Iterator[Path]:
    """The folder of the one compaction that is at work; the kernel frees its lock when it dies."""
    lake.staging.mkdir(exist_ok=True)
    with (lake.staging / "compact.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise Conflict(f"another compaction is at work on {lake.path}: wait until it ends") from e
        folder = _folder(lake)
        shutil.rmtree(folder, ignore_errors=True)  # what a killed one has left
        folder.mkdir(exist_ok=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _folder(lake: Lake) -> Path:
    return lake.staging / "compact"
