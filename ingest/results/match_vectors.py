"""Match vectors from a file, as columns of `matches`: what the file gives is taken, what it leaves out is derived.

Columns are taken as Arrow holds them; only one of a type that says little (a pandas column of objects, say) is looked
at value by value, and so is one with a value that cannot be taken, to say which.

Nothing is judged here: the audit compares what is given with the vector.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from memlake.ingest.names import name_problem
from memlake.warehouse import schema
from memlake.warehouse.errors import BadInput

from . import bits, json_lines

BATCH = 10_000  # rows
NAMES = ("model", "corpus", "domain", "tokenizer")  # they become folders of the lake, where '' would be NULL
REQUIRED = ("model", "corpus", "domain", "sequence_id", "n_tokens", "match")
SEQUENCE = {"tokenizer": pa.string(), "tokens": schema.INTS}
MEASURED = {c.name: c.type for c in schema.table("matches").columns if c.name not in ("cell", "anchor_id")}
TYPES = MEASURED | SEQUENCE | {"sequence_id": pa.string()}
VECTORS = ("match", "forced_match")
# A float is a rounded double, as JSON's numbers are; of these columns the values tell the type.
JSON = TYPES | {name: pa.list_(pa.float64()) for name, kind in TYPES.items() if kind == schema.FLOATS}
JSON_TYPES = JSON | dict.fromkeys((*VECTORS, "sequence_id"))

Values: TypeAlias = "pa.Array | list[Any]"  # a column as the file gives it


def read(path: Path, folders: Mapping[str, str | None]) -> Iterator[pa.Table]:
    """The rows of a Parquet or JSONL file in pieces, with every column of `TYPES`; a missing one is what its folders
    say of it, or NULL.

    `match` and `forced_match` come packed, whether they were lists of booleans, packed bytes or, in JSON, their hex
    digits. Raises `BadInput`, naming file and row, where a required column is missing or a value has the wrong type.
    """
    at, by_folder = 0, {name: _from_folder(path, name, value) for name, value in folders.items() if name in TYPES}
    for columns in _rows(path):
        height = _height(columns)
        for name, value in by_folder.items():
            columns[name] = _filled(columns.get(name, pa.nulls(height)), value)
        piece = typed(path, columns, at)
        at += piece.num_rows
        yield piece


def given_columns(path: Path) -> set[str]:
    """Those of `TYPES` that the file's first rows have."""
    first = next(_rows(path), {})
    return {name for name, values in first.items() if _has_value(values)}


def derive(piece: pa.Table) -> pa.Table:
    """Fill n_match, score, first_mismatch, memorized, forced_n_match and sum_logprob where the file leaves them out."""
    rows = {name: piece[name].combine_chunks() for name in piece.column_names}
    n = rows["n_tokens"].to_numpy(zero_copy_only=False)
    n_match, first_mismatch = bits.count(rows["match"], n)
    rows["n_match"] = pc.coalesce(rows["n_match"], pa.array(n_match))
    score = pc.divide(rows["n_match"].cast(pa.float64(), safe=False), pa.array(np.maximum(n, 1).astype(np.float64)))
    rows["score"] = pc.coalesce(rows["score"], score)
    rows["first_mismatch"] = pc.coalesce(rows["first_mismatch"], pa.array(first_mismatch))
    rows["memorized"] = pc.coalesce(rows["memorized"], pc.equal(rows["first_mismatch"], rows["n_tokens"]))
    forced = rows["forced_match"]
    if forced.null_count < len(forced):
        of_forced = pc.if_else(pc.is_valid(forced), pa.array(bits.count(forced, n)[0]), None)
        rows["forced_n_match"] = pc.coalesce(rows["forced_n_match"], of_forced)
    rows["sum_logprob"] = pc.coalesce(rows["sum_logprob"], _sums(rows["logprobs"]))
    return pa.table(rows, schema=piece.schema)


def _sums(lists: pa.Array) -> pa.Array:
    """The sum of each list, added up in double precision as numpy does; NULL for NULL."""
    given = np.flatnonzero(pc.is_valid(lists))
    sums, sizes = np.zeros(len(lists)), pc.list_value_length(lists.take(pa.array(given))).to_numpy()
    for size in np.unique(sizes):
        rows = given[sizes == size]
        values = lists.take(pa.array(rows)).flatten().to_numpy(zero_copy_only=False)
        sums[rows] = values.astype(np.float64).reshape(len(rows), size).sum(axis=1)
    return pc.if_else(pc.is_valid(lists), pa.array(sums), None)


def _from_folder(path: Path, name: str, value: str | None) -> pa.Scalar:
    """What a folder says of a column, in the column's type."""
    try:
        return pa.scalar(value, pa.string()).cast(TYPES[name])
    except pa.ArrowException as e:
        raise BadInput(f"{path}: in the folder {name}={value}, {name} is not {TYPES[name]}") from e


def _filled(values: Values, by_folder: pa.Scalar) -> Values:
    """The column with what its folder says where the file gives nothing."""
    if isinstance(values, pa.Array):
        if not values.null_count:
            return values
        if values.null_count == len(values):
            return pa.repeat(by_folder, len(values))
        values = values.to_pylist()
    return [by_folder.as_py() if own is None else own for own in values]


def _height(columns: Mapping[str, Values]) -> int:
    return len(next(iter(columns.values()), []))


def _has_value(values: Values) -> bool:
    return any(v is not None for v in values) if isinstance(values, list) else values.null_count < len(values)


def _rows(path: Path) -> Iterator[dict[str, Values]]:
    return _parquet(path) if path.suffix.lower() == ".parquet" else json_lines.read(path, JSON_TYPES, BATCH)


def _parquet(path: Path) -> Iterator[dict[str, Values]]:
    try:
        file = pq.ParquetFile(path)
        names = [n for n in file.schema_arrow.names if n in TYPES]
        for batch in file.iter_batches(BATCH, columns=names):
            batch.validate(full=True)  # of text that it is UTF-8
            yield {name: _decoded(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
    except (pa.ArrowException, OSError) as e:
        raise BadInput(f"{path} cannot be read as Parquet: {str(e).splitlines()[0]}") from e


def _decoded(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def typed(path: Path, columns: Mapping[str, Values], at: int) -> pa.Table:
    """The columns with their declared types, NULL where they are not given; `at` is the row of the file at which they
    begin. Raises `BadInput`."""
    height = _height(columns)
    columns = {name: columns.get(name, pa.nulls(height)) for name in TYPES}
    for name in REQUIRED:
        if (place := _place(columns[name], None)) >= 0:
            raise BadInput(f"{path} row {at + place + 1}: no {name}")
    for name in NAMES:
        for value in _texts(columns[name]):
            if problem := name_problem(value, name):
                raise BadInput(f"{path} row {at + _place(columns[name], value) + 1}: {problem}")
    columns["sequence_id"] = _as_text(columns["sequence_id"])
    n_tokens = columns["n_tokens"]
    for name in VECTORS:
        columns[name] = _packed(path, name, columns[name], n_tokens, at)
    arrays = []
    for name, kind in TYPES.items():
        try:
            arrays.append(_array(columns[name], kind))
        except (pa.ArrowException, TypeError, OverflowError, UnicodeEncodeError) as e:
            reason = str(e).splitlines()[0]
            raise BadInput(f"{path} rows {at + 1} to {at + height}: {name} is not {kind} ({reason})") from e
    return pa.table(arrays, schema=pa.schema(list(TYPES.items())))


def _place(values: Values, value: object) -> int:
    """Where the value is met first; -1 where it is not."""
    if isinstance(values, pa.Array):
        if value is not None:
            return int(pc.index(values, pa.scalar(value, values.type)).as_py())
        return int(pc.index(values.is_null(), True).as_py()) if values.null_count else -1
    return values.index(value) if value in values else -1


def _texts(values: Values) -> list[str]:
    """The texts of a column, each once, as they are met."""
    found = pc.unique(values).to_pylist() if _is_text(values) else _listed(values)
    return list(dict.fromkeys(v for v in found if isinstance(v, str)))


def _is_text(values: Values) -> bool:
    return isinstance(values, pa.Array) and _castable(values.type, pa.string())


def _listed(values: Values) -> list[Any]:
    return values.to_pylist() if isinstance(values, pa.Array) else values


def _as_text(values: Values) -> Values:
    """A column of ids, of which numbers are their digits."""
    if isinstance(values, pa.Array):
        if _is_text(values) or pa.types.is_integer(values.type):
            return values.cast(pa.string())
        values = values.to_pylist()
    return [str(v) if isinstance(v, str | int) else v for v in values]


def _array(values: Values, kind: pa.DataType) -> pa.Array:
    """The column in this type; raises what Arrow does where a value is not of it."""
    if isinstance(values, pa.Array):
        if values.type == kind:
            return values
        if _castable(values.type, kind):
            try:
                return values.cast(kind)
            except pa.ArrowException:
                pass  # `pa.array` says what is wrong with which value
        values = values.to_pylist()
    return pa.array(values, kind)


def _castable(given: pa.DataType, kind: pa.DataType) -> bool:
    """Does Arrow's cast take the same values as `pa.array`, if any, and make the same of them?"""
    is_a = pa.types
    if is_a.is_null(given):
        return True
    if is_a.is_list(kind):
        return _is_list(given) and _castable(given.value_type, kind.value_type)
    if is_a.is_string(kind):
        return is_a.is_string(given) or is_a.is_large_string(given) or is_a.is_string_view(given)
    if is_a.is_binary(kind):
        return is_a.is_binary(given) or is_a.is_large_binary(given) or is_a.is_fixed_size_binary(given)
    if is_a.is_floating(kind):
        return is_a.is_float32(given) or is_a.is_float64(given)
    return is_a.is_integer(kind) and is_a.is_integer(given)


def _is_list(given: pa.DataType) -> bool:
    return pa.types.is_list(given) or pa.types.is_large_list(given) or pa.types.is_fixed_size_list(given)


def _packed(path: Path, name: str, values: Values, n_tokens: Values, at: int) -> Values:
    """A column of vectors, packed; raises `BadInput`."""
    if isinstance(values, pa.Array) and (packed := _packed_whole(values, n_tokens)) is not None:
        return packed
    pairs = zip(_listed(values), _listed(n_tokens), strict=True)
    return [_packed_one(path, name, vector, n, at + i) for i, (vector, n) in enumerate(pairs)]


def _packed_whole(values: pa.Array, n_tokens: Values) -> pa.Array | None:
    """None where a value must be looked at by itself."""
    kind = values.type
    if _castable(kind, pa.binary()):
        return values.cast(pa.binary())
    if _castable(kind, pa.string()):
        return bits.from_hex(values.cast(pa.string()))
    of_bits = _is_list(kind) and (pa.types.is_boolean(kind.value_type) or pa.types.is_integer(kind.value_type))
    if of_bits and isinstance(n_tokens, pa.Array) and pa.types.is_integer(n_tokens.type):
        return bits.from_lists(values.cast(pa.list_(kind.value_type)), n_tokens.to_numpy(zero_copy_only=False))
    return None


def _packed_one(path: Path, name: str, vector: object, n_tokens: object, at: int) -> bytes | None:
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
