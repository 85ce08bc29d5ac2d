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


def duration(seconds: float) -> str:
    """Seconds as `12 s`, `3 min`, `2.5 h` or `4.1 d`."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= (2 if unit != "h" else 1.5) * size:
            return f"{seconds / size:.{1 if unit != 'min' and seconds < 100 * size else 0}f} {unit}"
    return f"{seconds:.0f} s"
