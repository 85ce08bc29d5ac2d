"""Vectors of bits, a column at a time: position 0 is the highest bit of the first byte (numpy.packbits)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

BYTES = np.arange(256, dtype=np.uint8)[:, None]
COUNT = np.unpackbits(BYTES, axis=1).sum(axis=1, dtype=np.int64)  # bits of a byte that are set
FIRST = np.unpackbits(BYTES, axis=1).argmax(axis=1)  # and the first that is
KEEP = np.array([0xFF00 >> n & 0xFF for n in range(9)], dtype=np.uint8)  # the first n bits of a byte

NIBBLE = np.full(256, 255, dtype=np.uint8)  # of a hex digit
NIBBLE[np.frombuffer(b"0123456789abcdef", dtype=np.uint8)] = np.arange(16)
NIBBLE[np.frombuffer(b"ABCDEF", dtype=np.uint8)] = np.arange(10, 16)


def flat(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of a column of them, one value after the other, and where each ends and the next begins: n + 1."""
    column = pc.fill_null(column, b"")
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1].astype(np.int64)
    found = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]] if data else np.zeros(0, np.uint8)
    return found, ends - ends[0]


def binary(data: np.ndarray, sizes: np.ndarray, like: pa.Array) -> pa.Array:
    """Bytes that lie one value after the other as a column; NULL where `like` is."""
    ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    made = pa.Array.from_buffers(pa.binary(), len(sizes), [None, pa.py_buffer(ends), pa.py_buffer(data)])
    return pc.if_else(pc.is_valid(like), made, None) if like.null_count else made


def from_lists(column: pa.Array, n: np.ndarray) -> pa.Array | None:
    """Lists of so many booleans, or of numbers 0 and 1, packed; None where one is something else. NULL stays."""
    values = column.flatten()
    sizes = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    wrong = sizes != np.where(pc.is_valid(column).to_numpy(zero_copy_only=False), n, 0)
    if values.null_count or wrong.any():
        return None
    bits = values.to_numpy(zero_copy_only=False)
    if bits.dtype != bool and not ((bits == 0) | (bits == 1)).all():
        return None
    packed = (sizes + 7) // 8
    if (sizes % 8).any():  # each begins with a byte of its own
        shifts = (np.cumsum(packed) - packed) * 8 - (np.cumsum(sizes) - sizes)
        apart = np.zeros(packed.sum() * 8, dtype=bool)
        apart[np.arange(len(bits)) + np.repeat(shifts, sizes)] = bits
        bits = apart
    return binary(np.packbits(bits.astype(bool, copy=False)), packed, column)


def from_hex(column: pa.Array) -> pa.Array | None:
    """Hex digits of packed bytes; None where one is something else. NULL stays."""
    data, ends = flat(column.cast(pa.binary()))
    digits, sizes = NIBBLE[data], np.diff(ends)
    if (digits > 15).any() or (sizes % 2).any():
        return None
    return binary(digits[::2] << 4 | digits[1::2], sizes // 2, column)


def count(column: pa.Array, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many of the first `n` bits of each are set, and which is the first that is not: `n` where there is none.

    Bits that a value has not are neither. n: one a row; as in a slice, a negative one leaves out so many at the end."""
    data, ends = flat(column)
    sizes = np.diff(ends)
    limit = np.where(n < 0, np.maximum(8 * sizes + n, 0), np.minimum(n, 8 * sizes))
    at = np.arange(len(data)) - np.repeat(ends[:-1], sizes)  # place of a byte within its value
    keep = KEEP[np.clip(np.repeat(limit, sizes) - 8 * at, 0, 8)]
    sums = np.concatenate([[0], np.cumsum(COUNT[data & keep])])
    unset = ~data & keep
    places = np.flatnonzero(unset)[::-1]  # from behind: the first is what stays
    first = n.copy()
    first[np.repeat(np.arange(len(n)), sizes)[places]] = 8 * at[places] + FIRST[unset[places]]
    return sums[ends[1:]] - sums[ends[:-1]], first
