"""Put staged files into the folders of their tables, those that are small merged with others of their partition.

A file of its own is moved there. Where several are merged, they stay where they are until all that is published with
them is in the logs: whoever goes on after a kill finds each cell's rows as they were staged, and merges anew. So that
nobody keeps a merged file that no log names, those on their way are written down before (`placed.json`).
"""

from __future__ import annotations

import os
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.transaction import AddAction

from memlake.warehouse import schema
from memlake.warehouse.errors import DamagedLake
from memlake.warehouse.json_files import json_object, write_json
from memlake.warehouse.lake import Lake, add_action
from memlake.warehouse.relation import File, partition_path

from .stage import ROW_GROUP, StagedFile, joined, writer

PLACED = "placed.json"
SMALL = 1 << 20  # bytes below which a file is merged
MERGED = 32 << 20  # bytes of files that are merged into one

Waiting = tuple[Path, StagedFile]  # the folder in which it waits, and the file


def place(
    lake: Lake, run: Path, name: str, files: Sequence[Waiting], transaction: str, anew: bool = False
) -> list[AddAction]:
    """Put files of a table in place; what its log is to be told of them. run: the folder of the run that publishes
    them. transaction: one whose entry in the table's log tells that they are committed. anew: after a kill nobody goes
    on with these files."""
    settle(lake, run)
    alone, together = ([], []) if anew else _parted(files)
    made = list(files) if anew else [_merged(run, name, some) for some in together]
    if made:
        count = lake.log(name).transactions.get(transaction, 0) + 1
        told = {"table": name, "transaction": transaction, "count": count, "files": [file.path for _, file in made]}
        write_json(run / PLACED, told)
    for folder, file in (*alone, *made):
        if (folder / file.path).exists():  # else it was moved before
            move(folder / file.path, lake.path / file.path)
    return [_action(lake, file) for _, file in (*alone, *made)]


def move(path: Path, target: Path) -> None:
    """Move a file to its place; folders above it are made where there are none."""
    try:
        os.replace(path, target)
    except FileNotFoundError:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)


def settle(lake: Lake, run: Path) -> None:
    """Remove what was merged and put in place, and not committed."""
    if not (run / PLACED).exists():
        return
    told = json_object(run / PLACED)
    log = lake.log(told["table"])
    if log.transactions.get(told["transaction"], 0) < told["count"]:
        for path in told["files"]:
            (lake.path / path).unlink(missing_ok=True)
    (run / PLACED).unlink()


def _parted(files: Sequence[Waiting]) -> tuple[list[Waiting], list[list[Waiting]]]:
    """The files that stay as they are, and those that are merged, by what they are merged into."""
    alone: list[Waiting] = []
    small: dict[str, list[tuple[int, Waiting]]] = defaultdict(list)
    for folder, file in files:
        path = folder / file.path
        size = path.stat().st_size if path.exists() else SMALL  # it was moved before
        if size < SMALL:
            small[partition_path(schema.table(file.table), file.partition)].append((size, (folder, file)))
        else:
            alone.append((folder, file))
    together = [some for sized in small.values() for some in _filled(sized)]
    alone += [some[0] for some in together if len(some) == 1]
    return alone, [some for some in together if len(some) > 1]


def _filled(sized: Sequence[tuple[int, Waiting]]) -> Iterator[list[Waiting]]:
    some: list[Waiting] = []
    total = 0
    for size, waiting in sized:
        if total + size > MERGED:
            yield some
            some, total = [], 0
        some.append(waiting)
        total += size
    yield some


def _merged(run: Path, name: str, files: Sequence[Waiting]) -> Waiting:
    """One file of the rows of these."""
    partition = files[0][1].partition
    named = f"{run.name}-{uuid.uuid4().hex[:12]}.parquet"
    path = "/".join(filter(None, (name, partition_path(schema.table(name), partition), named)))
    waiting = run / "merged"
    merged = merge(name, [File(str(f / s.path), partition, s.rows, 0, s.bounds) for f, s in files], waiting / path)
    return waiting, StagedFile(name, path, partition, merged.rows, merged.bounds)


def merge(name: str, files: Sequence[File], path: Path) -> File:
    """Write the rows of several files of a partition to one, sorted as the table says. Memory holds them all: it is for
    small files, for which it takes half the time that DuckDB does. Raises `DamagedLake` where there are more or
    fewer rows than the files are said to have."""
    spec = schema.table(name)
    columns = pa.schema([field for field in spec.schema if field.name not in spec.partition])
    rows = pa.concat_tables([_read(file, columns) for file in files])
    if rows.num_rows != (logged := sum(f.rows for f in files)):
        raise DamagedLake(f"its files have {rows.num_rows} rows, the log says {logged}: see `memlake warehouse check`")
    if by := [(key, "ascending") for key in spec.sort if key in columns.names]:
        rows = rows.sort_by(by)
    with writer(path, columns) as file:
        file.write_table(rows, row_group_size=ROW_GROUP)
    return File(str(path), files[0].partition, rows.num_rows, path.stat().st_size, joined([f.bounds for f in files]))


def _read(file: File, columns: pa.Schema) -> pa.Table:
    """Its rows, in the table's types, since delta-rs rewrites texts as others; what an older file lacks as NULL. As a
    data set, or on several threads, a small file takes twice as long."""
    with pq.ParquetFile(file.path) as opened:
        found = opened.read(use_threads=False)
    held = {name: found[name] for name in found.column_names}
    parts = [held[c.name].cast(c.type) if c.name in held else pa.nulls(found.num_rows, c.type) for c in columns]
    return pa.table(parts, schema=columns)


def _action(lake: Lake, file: StagedFile) -> AddAction:
    path = lake.path / file.path
    placed = File(str(path), file.partition, file.rows, path.stat().st_size, file.bounds)
    return add_action(lake.path / file.table, placed, data_change=True)
