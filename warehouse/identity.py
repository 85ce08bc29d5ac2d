"""Identity: the same input gets the same ids on any machine, in any order, with any number of workers.

Ids of rows are 63 bits (Delta has no unsigned integers): among 300 million rows two collide with a chance of 0.5 %,
which the key's uniqueness check would catch. Digests of things are tagged with their algorithm.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable


def hash63(*parts: int | str) -> int:
    """A 63-bit id of the parts, in [0, 2**63). Each part is prefixed with its type and length, so that
    ("ab", "c") and ("a", "bc"), or 1 and "1", differ."""
    h = hashlib.blake2b(digest_size=8)
    for part in parts:
        data = str(part).encode("utf-8", "surrogatepass")
        h.update(f"{'i' if isinstance(part, int) else 's'}{len(data)}:".encode())
        h.update(data)
    return int.from_bytes(h.digest(), "big") >> 1


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
