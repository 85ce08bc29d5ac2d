"""Write a cell's rows outside the published set: one Parquet file for each table and partition."""

from __future__ import annotations

import fcntl
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from memlake.warehouse import schema
from memlake.warehouse.relation import partition_path
from memlake.warehouse.schema import Table

ROW_GROUP = 100_000  # rows; large enough to compress, small enough to skip


@dataclass(frozen=True)
class StagedFile:
    """A Parquet file that was staged: its table, its path below the lake (or below the folder it waits in), the values
    of its partition, its rows, and the least and greatest value of columns by which it may be told that a row is not in
    it."""

    table: str
    path: str
    partition: dict[str, str | None]
    rows: int
    bounds: Mapping[str, Sequence[Any]] = field(default_factory=dict)


class Staging:
    """Takes a cell's rows in any number of pieces; `files` lists what it wrote.

    A file is named by its cell and by the run that wrote it, so that two runs that do the same cell at the same time
    never write one file.
    """

    def __init__(self, folder: Path, cell: str, run: str):
        self.folder, self.cell, self.run = folder, cell, run
        self._stack = ExitStack()
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._files: dict[str, StagedFile] = {}

    @property
    def files(self) -> list[StagedFile]:
        return list(self._files.values())

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.close()

    def write(self, name: str, piece: pa.Table) -> None:
        """Append rows: all columns but `cell`. Raises ValueError on columns that the table has not."""
        spec = schema.table(name)
        for values, rows in split(spec, conform(spec, piece, self.cell)):
            path = "/".join(filter(None, (name, partition_path(spec, values), f"{self.cell}-{self.run}.parquet")))
            if path not in self._writers:
                self._writers[path] = self._stack.enter_context(writer(self.folder / path, rows.schema))
                self._files[path] = StagedFile(name, path, values, 0)
            self._writers[path].write_table(rows, row_group_size=ROW_GROUP)
            before, found = self._files[path], bounds(spec, rows)
            self._files[path] = replace(
                before,
                rows=before.rows + rows.num_rows,
                bounds=joined([before.bounds, found]) if before.rows else found,
            )


def writer(path: Path, columns: pa.Schema) -> pq.ParquetWriter:
    """Opens a data file, and makes the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return pq.ParquetWriter(path, columns, compression="zstd", compression_level=6, **encodings(columns))


def bounds(spec: Table, rows: pa.Table) -> dict[str, list[Any]]:
    """Least and greatest value of the rows' cell and of the whole numbers in their key."""
    named = [f.name for f in rows.schema if f.name == "cell" or (f.name in spec.key and pa.types.is_integer(f.type))]
    found = {name: pc.min_max(rows[name]).as_py() for name in named}
    return {name: [b["min"], b["max"]] for name, b in found.items() if b["min"] is not None}


def joined(parts: Sequence[Mapping[str, Sequence[Any]]]) -> dict[str, list[Any]]:
    """The bounds of all parts together: of the columns of which each has some."""
    return {
        name: [min(p[name][0] for p in parts), max(p[name][1] for p in parts)]
        for name in parts[0]
        if all(name in p for p in parts)
    }


@contextmanager
def scratch(staging: Path, kind: str) -> Iterator[Path]:
    """A folder `KIND-...` of `staging` for what waits to be published. It is locked while this process works in it, so
    that no other takes it for left behind by a kill; where the block ends in an error, it is left, too. The lock lies
    beside the folder, so that there is no moment at which the folder has none."""
    folder = staging / f"{kind}-{uuid.uuid4().hex[:12]}"
    with locked(folder):
        folder.mkdir()
        yield folder


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold the folder's lock; False if another process does. The kernel frees it when its holder dies."""
    folder.parent.mkdir(exist_ok=True)
    path = folder.with_suffix(".lock")
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        try:
            yield True
        finally:
            path.unlink(missing_ok=True)


def encodings(schema: pa.Schema) -> dict[str, Any]:
    """Floats are split into streams of their bytes, everything else gets a dictionary: `matches` takes a fifth less."""
    leaves = {f.name: f"{f.name}.list.element" if pa.types.is_list(f.type) else f.name for f in schema}
    floats = [leaves[f.name] for f in schema if pa.types.is_floating(getattr(f.type, "value_type", f.type))]
    return {"use_byte_stream_split": floats, "use_dictionary": sorted(set(leaves.values()) - set(floats))}


def conform(spec: Table, piece: pa.Table, cell: str) -> pa.Table:
    """The piece with the table's columns, order and types, and its `cell`; missing columns are NULL."""
    unknown = set(piece.column_names) - set(spec.schema.names)
    if unknown:
        raise ValueError(f"columns that the table has not: {', '.join(sorted(unknown))}")

    def column(field: pa.Field) -> Any:
        if field.name in piece.column_names:
            return piece[field.name].cast(field.type)
        if field.name == "cell":
            return pa.repeat(pa.scalar(cell, field.type), piece.num_rows)
        return pa.nulls(piece.num_rows, field.type)

    return pa.table([column(f) for f in spec.schema], schema=spec.schema)


def split(spec: Table, rows: pa.Table) -> Iterator[tuple[dict[str, str | None], pa.Table]]:
    """The rows of each partition, sorted, without the partition columns. They are put in order once for all partitions,
    and each is a slice."""
    if not rows.num_rows:
        return
    columns = rows.drop_columns(list(spec.partition))
    order = np.arange(rows.num_rows)
    if spec.sort:
        order = pc.sort_indices(rows, [(name, "ascending") for name in spec.sort]).to_numpy()
    partitions = _numbered([rows[key] for key in spec.partition], order)
    ends = np.cumsum(np.bincount(partitions))
    if spec.sort or len(ends) > 1:
        order = order[np.argsort(partitions, kind="stable")]
        columns = columns.combine_chunks().take(pa.array(order))
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        values = {key: rows[key][int(order[start])].as_py() for key in spec.partition}
        yield values, columns.slice(start, end - start)


def _numbered(columns: Sequence[pa.ChunkedArray], order: np.ndarray) -> np.ndarray:
    """For each of some rows, in this order, the number of the values that it has in these columns: equal rows have
    equal ones, from 0 on as they are met."""
    numbers = np.zeros(len(order), dtype=np.int64)
    for column in columns:
        values = column.combine_chunks().dictionary_encode(null_encoding="encode")
        both = numbers * len(values.dictionary) + values.indices.to_numpy()[order]
        numbers = pa.array(both).dictionary_encode().indices.to_numpy()
    return numbers.astype(np.uint16 if numbers.max() < 1 << 16 else np.int64)  # few are sorted by counting
