"""What need not be computed twice: Arrow tables in `kept/` of the lake, outside of every table, each under the hash of
what it was computed from (`warehouse.identity.tagged`).

Nothing depends on them. A file that is missing, damaged or cannot be read is computed again, and where none can be
written none is kept. A file is written beside its place and then takes it, so that processes need no lock. Where the
files of a shelf grow beyond its room, those go that were not used for longest.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from itertools import accumulate

import pyarrow as pa

from memlake.warehouse.lake import Lake

ROOM = 2**30  # bytes of a shelf
DIGEST = 32


class Kept:
    """The tables of one kind, in `kept/SHELF` of a lake. room: bytes that its files may take."""

    def __init__(self, lake: Lake, shelf: str, room: int = ROOM):
        self.folder, self._room = lake.path / "kept" / shelf, room
        self._used: int | None = None  # bytes of the files, as far as this process knows

    def get(self, key: str) -> pa.Table | None:
        """The table that was put here under the key: columns, types, rows and their order are the same; or None."""
        path = self.folder / key
        try:
            content = memoryview(path.read_bytes())
            digest, body = content[:DIGEST], content[DIGEST:]
            if digest != _digest(key, body):
                return None
            with suppress(OSError):  # it may be somebody else's
                os.utime(path)
            return pa.ipc.open_file(pa.py_buffer(body)).read_all()
        except (OSError, pa.ArrowException):
            return None

    def put(self, key: str, rows: pa.Table) -> None:
        """Keep a table under a key, that of a file, if that can be."""
        part = self.folder / f"{key}-{uuid.uuid4().hex[:12]}.part"
        with suppress(OSError, pa.ArrowException):  # then it is computed again
            body = _packed(rows)
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                with part.open("wb") as file:
                    file.write(_digest(key, body))
                    file.write(body)
                os.replace(part, self.folder / key)
            finally:
                part.unlink(missing_ok=True)
            self._make_room(len(body) + DIGEST)

    def _make_room(self, added: int) -> None:
        """Remove what was not used for longest, down to three quarters of the room, where all is more than that."""
        if self._used is None:
            self._used = sum(size for _, size, _ in self._files())
        else:
            self._used += added
        if self._used <= self._room:
            return
        files = sorted(self._files(), reverse=True)  # others write too: what there is now
        sizes = accumulate(size for _, size, _ in files)
        self._used = 0
        for so_far, (_, _, path) in zip(sizes, files, strict=True):
            if so_far <= self._room * 3 / 4:
                self._used = so_far
            else:
                with suppress(OSError):  # another process may have removed it
                    os.unlink(path)

    def _files(self) -> Iterator[tuple[float, int, str]]:
        """When it was last used, bytes and path of every file; those that a kill has left half-written, too."""
        with os.scandir(self.folder) as found:
            for entry in found:
                with suppress(OSError):
                    stat = entry.stat(follow_symlinks=False)
                    yield stat.st_mtime, stat.st_size, entry.path


def _packed(rows: pa.Table) -> pa.Buffer:
    """As Arrow's own file, which has a form for every type that DuckDB answers with."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(rows)
    return sink.getvalue()


def _digest(key: str, body: pa.Buffer | memoryview) -> bytes:
    """It stands before the content: what is damaged, cut off or lies under another name is told from what was kept."""
    return hashlib.blake2b(body, digest_size=DIGEST, key=key.encode()[:64]).digest()
