"""Identity: the same input gets the same ids on any machine, in any order, with any number of workers.

Ids of rows are 63 bits (Delta has no unsigned integers): among 300 million rows two collide with a chance of 0.5 %,
which the key's uniqueness check would catch. Digests of things are tagged with their algorithm.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


def hash63(*parts: int | str) -> int:
    """A 63-bit id of the parts, in [0, 2**63). Each part is prefixed with its type and length, so that
    ("ab", "c") and ("a", "bc"), or 1 and "1", differ."""
    h = hashlib.blake2b(digest_size=8)
    for part in parts:
        data = str(part).encode("utf-8", "surrogatepass")
        h.update(f"{'i' if isinstance(part, int) else 's'}{len(data)}:".encode())
        h.update(data)
    return int.from_bytes(h.digest(), "big") >> 1


def hash63_each(*parts: str | pa.Array) -> pa.Array:
    """`hash63` of each row of some columns of text, without NULL; a text is the same for all rows."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    pieces: list[bytes | pa.Array] = []
    for part in parts:
        if isinstance(part, str):
            data = part.encode("utf-8", "surrogatepass")
            pieces.append(b"s%d:%s" % (len(data), data))
        else:
            size = pc.binary_length(part).cast(pa.string()).cast(pa.binary())
            pieces += [b"s", size, b":", part.cast(pa.binary())]
    messages = pc.binary_join_element_wise(*pieces, b"").to_pylist()
    digests = b"".join([hashlib.blake2b(message, digest_size=8).digest() for message in messages])
    return pa.array((np.frombuffer(digests, ">u8") >> 1).astype(np.int64))


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text. NaN is refused (ValueError)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def tagged(tag: str, value: object) -> str:
    """`tag-` and 128 bits of the hash of `value`'s canonical JSON; fit for a file's name."""
    return f"{tag}-{hashlib.blake2b(canonical(value).encode(), digest_size=16).hexdigest()}"


def sha256(chunks: Iterable[bytes]) -> str:
    """`sha256:` and the hex digest of the chunks in order."""
    h = hashlib.sha256()
    for chunk in chunks:
        h.update(chunk)
    return f"sha256:{h.hexdigest()}"
