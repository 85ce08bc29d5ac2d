"""Lines of JSON as columns, a block of lines at a time.

Arrow reads a block in which all is as it should be; any other is read line by line, which says what is wrong with it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json

from memlake.ingest.files import streams
from memlake.warehouse.errors import BadInput

LONGEST = 16 << 20  # bytes of a line
DOUBTFUL = (b"NaN", b"Inf")  # Arrow takes more spellings of them than Python


def read(path: Path, types: Mapping[str, pa.DataType | None], rows: int) -> Iterator[dict[str, Any]]:
    """The fields `types` of so many lines at a time, each an array of its type, or a list of what stands there. A type
    of None: what its first value is. Raises `BadInput`, naming file and line."""
    before = 0
    for block, problem in _blocks(path, rows):
        columns = None if problem else _by_arrow(block, types)
        if columns is None:
            found = list(_by_line(path, block, problem, before))
            columns = {name: [row.get(name) for row in found] for name in types}
        yield columns
        before += rows


def _blocks(path: Path, rows: int) -> Iterator[tuple[bytes, str | None]]:
    """So many whole lines at a time, and what is wrong with the line that follows them."""
    parts: list[bytes] = []
    lines = unfinished = 0  # lines in `parts`, and bytes after them
    pieces = streams.pieces(path)
    try:
        for piece in pieces:
            ends = np.flatnonzero(np.frombuffer(piece, np.uint8) == ord("\n")) + 1
            start = 0
            while lines + len(ends) >= rows:
                end, ends = int(ends[rows - lines - 1]), ends[rows - lines :]
                yield b"".join([*parts, piece[start:end]]), None
                parts, lines, unfinished, start = [], 0, 0, end
            parts.append(piece[start:])
            lines += len(ends)
            unfinished = len(piece) - int(ends[-1]) if len(ends) else unfinished + len(piece) - start
            if unfinished > LONGEST:
                any(b"\n" in rest for rest in pieces)  # the stream may be cut off before its end
                yield _whole(parts), _too_long()
                return
    except streams.CutStream as e:
        yield _whole(parts), str(e)
        return
    if lines or unfinished:
        yield b"".join(parts), None
    elif not parts:
        yield b"", streams.EMPTY


def _whole(parts: list[bytes]) -> bytes:
    data = b"".join(parts)
    return data[: data.rfind(b"\n") + 1]


def _too_long() -> str:
    return f"longer than {LONGEST} bytes"


def _by_arrow(block: bytes, types: Mapping[str, pa.DataType | None]) -> dict[str, Any] | None:
    """None where a line is not one object, or a value not of its type."""
    data = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    ends = ends if block.endswith(b"\n") else np.append(ends, len(block))
    starts = np.concatenate([[0], ends[:-1] + 1])
    # An object does not go on after a line that ends with one's end, where the next begins with one's beginning.
    if (ends - starts).min() < 3 or (ends - starts).max() > LONGEST or (data[starts] != ord("{")).any():
        return None
    if (data[np.where(data[ends - 1] == ord("\r"), ends - 2, ends - 1)] != ord("}")).any():
        return None
    if any(text[:1] in block and text in block for text in DOUBTFUL):
        return None
    try:
        block.decode()
        first = json.loads(block[: ends[0]])
        known = {name: kind or _kind(first.get(name)) for name, kind in types.items()}
        table = pa.json.read_json(
            io.BytesIO(block),
            read_options=pa.json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=pa.json.ParseOptions(explicit_schema=pa.schema(known), unexpected_field_behavior="ignore"),
        )
    except (ValueError, RecursionError):  # UnicodeDecodeError and Arrow's are of the former
        return None
    return {name: table[name].combine_chunks() for name in types} if table.num_rows == len(ends) else None


def _kind(value: object) -> pa.DataType:
    """The type of a column by one of its values."""
    if isinstance(value, list):
        return pa.list_(pa.bool_() if value and isinstance(value[0], bool) else pa.int64())
    return pa.int64() if type(value) is int else pa.string()


def _by_line(path: Path, block: bytes, problem: str | None, before: int) -> Iterator[dict[str, Any]]:
    """The objects of a block, before which there are so many lines."""
    lines = block.removesuffix(b"\n").split(b"\n") if block else []
    for number, line in enumerate(lines, before + 1):
        try:
            row = json.loads(line) if len(line) <= LONGEST else _too_long()
        except (ValueError, RecursionError):
            row = "malformed JSON"
        if not isinstance(row, dict):
            raise BadInput(f"{path} line {number}: {row if isinstance(row, str) else 'not a JSON object'}")
        yield row
    if problem:
        raise BadInput(f"{path} line {before + len(lines) + 1}: {problem}")
