"""Files read a piece at a time, plain or compressed, in bounded memory whatever stands in them."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from memlake.ingest.source import HEAD
from memlake.warehouse.errors import BadInput

from . import remote

COMPRESSED = ("", ".gz", ".zst", ".zstd")
PIECE = 1 << 18  # bytes
# zstd has no limit on what one call gives back: 4 bytes can stand for 128 KiB, so 4 KiB for 128 MiB.
ZSTD_PIECE = 1 << 12
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"  # how they begin
EMPTY = "empty file"


class CutStream(Exception):
    """A compressed stream ends before its end, or cannot be read any further."""


@dataclass(frozen=True)
class Line:
    """One line without its end; where it has a `problem`, only its first bytes."""

    data: bytes
    problem: str | None = None


def digest(location: str | Path) -> str:
    """Tells a changed file: its size, and the sha256 of its first and last MiB; of a remote one, what its store says
    of its content. Raises `BadInput` where it cannot be read."""
    return stat(location)[0]


def stat(location: str | Path, ends: int = 1 << 20) -> tuple[str, int | None]:
    """The digest of a file, and its bytes as it lies there, still compressed; None where its store does not tell."""
    if remote.is_remote(location):
        return remote.stat(str(location))
    path, h = Path(location), hashlib.sha256()
    try:
        size = path.stat().st_size
        with path.open("rb") as f:
            h.update(f.read(ends))
            f.seek(max(size - ends, 0))
            h.update(f.read(ends))
    except OSError as e:
        raise BadInput(f"{path} cannot be read ({e.strerror})") from e
    return f"{size}:sha256:{h.hexdigest()}", size


def open_file(location: str | Path) -> BinaryIO | remote.RemoteFile:
    """A file as it lies there, still compressed."""
    return remote.open_file(str(location)) if remote.is_remote(location) else Path(location).open("rb")


def pieces(location: str | Path) -> Iterator[bytes]:
    """The decompressed bytes of a file. How it is compressed its first bytes tell, which no text begins with, else its
    name. `CutStream` follows the last good one."""
    named = {".gz": _gzip, ".zst": _zstd, ".zstd": _zstd}.get(Path(location).suffix.lower(), _plain)
    with open_file(location) as f:
        first = f.read(ZSTD_PIECE)
        read = next((read for magic, read in ((GZIP, _gzip), (ZSTD, _zstd)) if first.startswith(magic)), named)
        yield from read(first, f)


def _plain(first: bytes, f: Any) -> Iterator[bytes]:
    return _blocks(first, f, PIECE)


def _blocks(first: bytes, f: Any, size: int) -> Iterator[bytes]:
    while first:
        yield first
        first = f.read(size)


def _gzip(first: bytes, f: Any) -> Iterator[bytes]:
    member, members = None, 0
    for data in _blocks(first, f, PIECE):
        while data:
            if member is None:
                data = data.lstrip(b"\0") if members else data  # what follows a member may be padding
                if not data:
                    break
                member, members = zlib.decompressobj(wbits=31), members + 1
            try:
                piece = member.decompress(data, PIECE)
            except zlib.error as e:
                raise CutStream(f"the gzip stream cannot be read further ({e})") from e
            if piece:
                yield piece
            data, member = (member.unused_data, None) if member.eof else (member.unconsumed_tail, member)
    if not members:
        raise CutStream(EMPTY)
    if member is not None:
        raise CutStream("the gzip stream is cut off")


def _zstd(first: bytes, f: Any) -> Iterator[bytes]:
    import zstandard

    frame, frames = None, 0
    for data in _blocks(first, f, ZSTD_PIECE):
        while data:
            if frame is None:
                frame, frames = zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj(), frames + 1
            try:
                piece = frame.decompress(data)
            except zstandard.ZstdError as e:
                raise CutStream(f"the zstd stream cannot be read further ({e})") from e
            if piece:
                yield piece
            data, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
    if not frames:
        raise CutStream(EMPTY)
    if frame is not None:
        raise CutStream("the zstd stream is cut off")


def lines(location: str | Path, max_bytes: int) -> Iterator[Line]:
    """The lines of a file. One of more than `max_bytes` is never held in memory; it comes as a `problem`, and so do
    a file without any byte, and the end of a stream that is cut off, after all whole lines before it."""
    part, dropped, empty = bytearray(), False, True
    try:
        for piece in pieces(location):
            start, empty = 0, False
            while (end := piece.find(b"\n", start)) >= 0:
                part += piece[start : min(end, start + max_bytes + 1)]
                yield _line(part, dropped, max_bytes)
                part, dropped, start = bytearray(), False, end + 1
            part += piece[start : start + max_bytes + 1]
            if len(part) > max_bytes:
                part, dropped = part[:HEAD], True
    except CutStream as e:
        yield Line(bytes(part[:HEAD]), str(e))
        return
    if empty:
        yield Line(b"", EMPTY)
    elif part:
        yield _line(part, dropped, max_bytes)


def _line(part: bytearray, dropped: bool, max_bytes: int) -> Line:
    if dropped or len(part) > max_bytes:
        return Line(bytes(part[:HEAD]), f"longer than {max_bytes} bytes")
    return Line(bytes(part))
