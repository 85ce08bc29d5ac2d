"""Words for numbers in what is printed."""

from __future__ import annotations


def counted(n: int, one: str, many: str = "") -> str:
    """`1 file`, `2 files`; many: a plural that does not end in s alone."""
    return f"{n} {one if n == 1 else many or one + 's'}"


def volume(size: float) -> str:
    """Bytes as kB, MB, GB or TB."""
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 999.95:
            return f"{size:,.1f} {unit}"
    return f"{size / 1000:,.1f} TB"
