"""Match vectors from a file, as columns of `matches`: what the file gives is taken, what it leaves out is derived.

Nothing is judged here: the audit compares what is given with the vector.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from memlake.ingest.files import streams
from memlake.ingest.names import name_problem
from memlake.warehouse import schema
from memlake.warehouse.errors import BadInput

BATCH = 10_000  # rows
LONGEST = 16 << 20  # bytes of a line of JSON
NAMES = ("model", "corpus", "domain", "tokenizer")  # they become folders of the lake, where '' would be NULL
REQUIRED = ("model", "corpus", "domain", "sequence_id", "n_tokens", "match")
SEQUENCE = {"tokenizer": pa.string(), "tokens": schema.INTS}
MEASURED = {c.name: c.type for c in schema.table("matches").columns if c.name not in ("cell", "anchor_id")}
TYPES = MEASURED | SEQUENCE | {"sequence_id": pa.string()}
VECTORS = ("match", "forced_match")


def read(path: Path, folders: Mapping[str, str | None]) -> Iterator[pa.Table]:
    """The rows of a Parquet or JSONL file in pieces, with every column of `TYPES`; a missing one is what its folders
    say of it, or NULL.

    `match` and `forced_match` come packed, whether they were lists of booleans, packed bytes or, in JSON, their hex
    digits. Raises `BadInput`, naming file and row, where a required column is missing or a value has the wrong type.
    """
    at, by_folder = 0, {name: _from_folder(path, name, value) for name, value in folders.items() if name in TYPES}
    for columns in _rows(path):
        height = len(next(iter(columns.values()), []))
        for name, value in by_folder.items():
            columns[name] = [value if own is None else own for own in columns.get(name, [None] * height)]
        piece = typed(path, columns, at)
        at += piece.num_rows
        yield piece


def given_columns(path: Path) -> set[str]:
    """Those of `TYPES` that the file's first rows have."""
    first = next(_rows(path), {})
    return {name for name, values in first.items() if any(value is not None for value in values)}


def derive(piece: pa.Table) -> pa.Table:
    """Fill n_match, score, first_mismatch, memorized, forced_n_match and sum_logprob where the file leaves them out."""
    rows = piece.to_pylist()
    for row in rows:
        bits = unpacked(row["match"], row["n_tokens"])
        _default(row, "n_match", int(bits.sum()))
        _default(row, "score", row["n_match"] / max(row["n_tokens"], 1))
        _default(row, "first_mismatch", int(np.argmin(bits)) if not bits.all() else row["n_tokens"])
        _default(row, "memorized", row["first_mismatch"] == row["n_tokens"])
        if row["forced_match"] is not None:
            _default(row, "forced_n_match", int(unpacked(row["forced_match"], row["n_tokens"]).sum()))
        if row["logprobs"] is not None:
            _default(row, "sum_logprob", float(np.sum(row["logprobs"], dtype=np.float64)))
    return pa.Table.from_pylist(rows, schema=piece.schema)


def unpacked(packed: bytes, n: int) -> np.ndarray:
    """The first `n` bits of a packed match vector; position 0 is the highest bit of the first byte (numpy.packbits)."""
    return np.unpackbits(np.frombuffer(packed, dtype=np.uint8))[:n].astype(bool)


def _default(row: dict[str, Any], name: str, value: object) -> None:
    if row[name] is None:
        row[name] = value


def _from_folder(path: Path, name: str, value: str | None) -> object:
    """What a folder says of a column, in the column's type."""
    try:
        return pa.scalar(value, pa.string()).cast(TYPES[name]).as_py()
    except pa.ArrowException as e:
        raise BadInput(f"{path}: in the folder {name}={value}, {name} is not {TYPES[name]}") from e


def _rows(path: Path) -> Iterator[dict[str, list[Any]]]:
    return _parquet(path) if path.suffix.lower() == ".parquet" else _jsonl(path)


def _parquet(path: Path) -> Iterator[dict[str, list[Any]]]:
    try:
        file = pq.ParquetFile(path)
        names = [n for n in file.schema_arrow.names if n in TYPES]
        for batch in file.iter_batches(BATCH, columns=names):
            yield batch.to_pydict()
    except (pa.ArrowException, OSError) as e:
        raise BadInput(f"{path} cannot be read as Parquet: {str(e).splitlines()[0]}") from e


def _jsonl(path: Path) -> Iterator[dict[str, list[Any]]]:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(streams.lines(path, LONGEST), 1):
        try:
            row = json.loads(line.data) if not line.problem else line.problem
        except (ValueError, RecursionError):
            row = "malformed JSON"
        if not isinstance(row, dict):
            raise BadInput(f"{path} line {number}: {row if isinstance(row, str) else 'not a JSON object'}")
        rows.append(row)
        if len(rows) == BATCH:
            yield {name: [r.get(name) for r in rows] for name in TYPES}
            rows = []
    if rows:
        yield {name: [r.get(name) for r in rows] for name in TYPES}


def typed(path: Path, columns: dict[str, list[Any]], at: int) -> pa.Table:
    """The columns with their declared types, NULL where they are not given; `at` is the row of the file at which they
    begin. Raises `BadInput`."""
    height = len(next(iter(columns.values()), []))
    columns = {name: columns.get(name, [None] * height) for name in TYPES}
    for name in REQUIRED:
        if None in columns[name]:
            raise BadInput(f"{path} row {at + columns[name].index(None) + 1}: no {name}")
    for name in NAMES:
        for value in {v for v in columns[name] if isinstance(v, str)}:
            if problem := name_problem(value, name):
                raise BadInput(f"{path} row {at + columns[name].index(value) + 1}: {problem}")
    columns["sequence_id"] = [str(v) if isinstance(v, str | int) else v for v in columns["sequence_id"]]
    for name in VECTORS:
        pairs = zip(columns[name], columns["n_tokens"], strict=True)
        columns[name] = [_packed(path, name, vector, n, at + i) for i, (vector, n) in enumerate(pairs)]
    arrays = []
    for name, kind in TYPES.items():
        try:
            arrays.append(pa.array(columns[name], kind))
        except (pa.ArrowException, TypeError, OverflowError, UnicodeEncodeError) as e:
            reason = str(e).splitlines()[0]
            raise BadInput(f"{path} rows {at + 1} to {at + height}: {name} is not {kind} ({reason})") from e
    return pa.table(arrays, schema=pa.schema(list(TYPES.items())))


def _packed(path: Path, name: str, vector: object, n_tokens: object, at: int) -> bytes | None:
    if vector is None or isinstance(vector, bytes):
        return vector
    if isinstance(vector, str):
        try:
            return bytes.fromhex(vector)
        except ValueError as e:
            raise BadInput(f"{path} row {at + 1}: {name} is text, but not hex digits of packed bytes") from e
    if not isinstance(vector, list) or any(type(v) not in (bool, int) or v not in (0, 1) for v in vector):
        raise BadInput(f"{path} row {at + 1}: {name} is neither packed bytes nor a list of booleans")
    if len(vector) != n_tokens:
        raise BadInput(f"{path} row {at + 1}: {name} has {len(vector)} entries, n_tokens is {n_tokens}")
    return np.packbits(np.array(vector, dtype=bool)).tobytes()
