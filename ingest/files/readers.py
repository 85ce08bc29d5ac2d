"""Files of records, local or remote, read a piece at a time: JSON lines and Parquet."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from memlake.ingest.source import HEAD

from . import streams
from .records import Record, Refused

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

JSON_LINES = tuple(kind + packed for kind in (".jsonl", ".ndjson", ".json") for packed in streams.COMPRESSED)
PARQUET = (".parquet",)
BATCH = 8 << 20  # bytes of a Parquet file that are made records at a time
# The reason of a reject that is no single record, but an unknown number of them.
LOST_REST = re.compile(r"(the (gzip|zstd) stream|the Parquet file|row group \d+) (is cut off|cannot be read)")
MAX_ROWS = 1000  # and rows: a dictionary can make a file much smaller than its texts


def is_lost_rest(reason: str) -> bool:
    """Whether the reject of this reason is the rest of a file, or of a row group, and not a single record."""
    return LOST_REST.match(reason) is not None


def records(location: str, fields: Collection[str] | None, max_bytes: int) -> Iterator[Record]:
    """The records of a file, in order; which kind it is its name tells, JSON lines where it tells nothing.

    fields: what is needed of a Parquet file, None for all. max_bytes: a longer line of JSON is a problem and is never
    held.
    """
    if location.lower().endswith(PARQUET):
        return parquet_rows(location, fields)
    return json_lines(location, max_bytes)


def json_lines(location: str, max_bytes: int) -> Iterator[Record]:
    """The objects of a file of JSON lines, plain, .gz or .zst."""
    for position, line in enumerate(streams.lines(location, max_bytes)):
        try:
            if line.problem:
                raise Refused(line.problem)
            fields = parse(line.data.removeprefix(codecs.BOM_UTF8))
        except Refused as e:
            yield Record(position, {}, line.data, str(e))
        else:
            yield Record(position, fields, line.data)


def parse(line: bytes) -> dict[str, Any]:
    """The object of one line; raises `Refused`."""
    if not line.strip():
        raise Refused("empty line")
    try:
        record = json.loads(line.decode())
    except UnicodeDecodeError as e:
        raise Refused("not UTF-8") from e
    except (ValueError, RecursionError) as e:  # RecursionError: nested a thousand deep
        raise Refused("malformed JSON") from e
    if not isinstance(record, dict):
        raise Refused("not a JSON object")
    return record


def parquet_rows(location: str, fields: Collection[str] | None) -> Iterator[Record]:
    """The rows of a Parquet file, of each the columns that it has of these fields (None: all). A field may be a column
    as it is spelt, or lead into one along its dots.

    A file or a row group that cannot be read is one record with its problem; the other row groups are read.
    """
    return _parquet(location, fields, MAX_ROWS, batch_records)


def parquet_batches(location: str, fields: Collection[str], rows: int) -> Iterator[tuple[int, pa.RecordBatch] | Record]:
    """The same as batches of at most so many rows, each with the place of its first; a record is what cannot be
    read."""
    return _parquet(location, fields, rows, lambda batch, position: [(position, batch)])


def _parquet(
    location: str,
    fields: Collection[str] | None,
    max_rows: int,
    take: Callable[[pa.RecordBatch, int], Iterable[T]],
) -> Iterator[T | Record]:
    """What `take` makes of each batch and the place of its first row."""
    import pyarrow.parquet as pq

    with streams.open_file(location) as f:
        head = f.read(HEAD)
        f.seek(0)
        if not head:
            yield Record(0, {}, head, streams.EMPTY)
            return
        try:
            file = pq.ParquetFile(f, pre_buffer=False, buffer_size=1 << 20)  # pages, not whole columns of a row group
        except (ValueError, OSError) as e:
            yield Record(0, {}, head, _damage("the Parquet file", e))
            return
        names = file.schema_arrow.names
        columns = [n for n in names if fields is None or any(f == n or f.startswith(f"{n}.") for f in fields)]
        position = 0
        for group in range(file.num_row_groups):
            known = file.metadata.row_group(group)
            rows = min(max(BATCH * known.num_rows // max(known.total_byte_size, 1), 1), max_rows)
            at = position
            try:
                for batch in file.iter_batches(rows, row_groups=[group], columns=columns, use_threads=False):
                    yield from take(batch, at)
                    at += batch.num_rows
            except (ValueError, OSError) as e:
                yield Record(at, {}, b"", _damage(f"row group {group}", e))
            position += known.num_rows


def batch_records(batch: pa.RecordBatch, position: int) -> Iterator[Record]:
    """The rows of a batch, of which the first has this place in the file."""
    try:
        found = batch.to_pylist(maps_as_pydicts="lossy")
    except UnicodeDecodeError:  # Arrow does not check what a column of text holds
        if batch.num_rows == 1:
            yield Record(position, {}, b"", "not UTF-8")
        else:
            for i in range(batch.num_rows):
                yield from batch_records(batch.slice(i, 1), position + i)
        return
    for i, fields in enumerate(found):
        yield Record(position + i, fields)


def _damage(what: str, error: Exception) -> str:
    """Why damaged bytes cannot be read, in few words; raises the error where the bytes are not at fault."""
    if isinstance(error, OSError) and error.errno:
        raise error
    return f"{what} cannot be read ({' '.join(str(error).split())[:80]})"
