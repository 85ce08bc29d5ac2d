"""Files in a store that fsspec knows: `hf://datasets/...`, `https://...`, `s3://...`, and whatever has its package.

What goes wrong on the way is the store's fault and not the file's: it is raised as `BadInput`, so that the cell fails
and the next run tries again, and never becomes a reject.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memlake.warehouse.errors import BadInput, one_line
from memlake.warehouse.extras import need

LOCAL = "file://"
AGAIN = "run the same command again"
# Where a store says what a file's content is: the hub, S3, Google Cloud, web servers.
CONTENT = ("blob_id", "ETag", "etag", "md5Hash", "Content-MD5", "Last-Modified", "LastModified")


def is_remote(location: str | Path) -> bool:
    """Is it a URL of a store; `file://` is none."""
    return "://" in str(location) and not str(location).startswith(LOCAL)


def find(url: str) -> tuple[list[tuple[str, str]], bool]:
    """The files at a URL, as (name, URL), and whether it is a folder: then all that lie in it, and their names are
    relative to it; on a web server, which has no folders, it ends in a slash.

    Raises `BadInput` where there is nothing, and where the store cannot be asked.
    """
    fs, path = _store(url)
    with _asking(url):
        if not url.endswith("/") and fs.info(path)["type"] == "file":
            return [(url.rsplit("/", 1)[1], url)], False
        inside = sorted(fs.find(path))
    root = path.rstrip("/") + "/"
    return [(file.removeprefix(root), str(fs.unstrip_protocol(file))) for file in inside], True


def stat(url: str) -> tuple[str, int | None]:
    """What tells a changed file, and its bytes: its size, where the store tells it, and what the store says of its
    content (a hash or tag, else a date, else nothing)."""
    fs, path = _store(url)
    with _asking(url):
        info = fs.info(path)
    content, size = next((f"{key}:{info[key]}" for key in CONTENT if info.get(key)), ""), info.get("size")
    return f"{size}:{content}", size


def open_file(url: str) -> RemoteFile:
    """The file, to be read and closed."""
    fs, path = _store(url)
    with _asking(url):
        return RemoteFile(url, fs.open(path, "rb"))


class RemoteFile:
    """A file that is read over the network. A read that fails, or ends before the file does, raises `BadInput`."""

    def __init__(self, url: str, file: Any):
        self.url, self.file = url, file
        self.size: int | None = getattr(file, "size", None)

    def read(self, size: int = -1) -> bytes:
        with _asking(self.url):
            start = self.file.tell()
            data: bytes = self.file.read(size)
        if self.size is not None:
            wanted = self.size - start if size is None or size < 0 else min(size, self.size - start)
            if len(data) < wanted:
                raise BadInput(f"{self.url} broke off after {start + len(data)} of {self.size} bytes: {AGAIN}")
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        with _asking(self.url):
            return int(self.file.seek(offset, whence))

    def tell(self) -> int:
        return int(self.file.tell())

    def close(self) -> None:
        self.file.close()

    @property
    def closed(self) -> bool:
        return bool(self.file.closed)

    def __enter__(self) -> RemoteFile:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


def _store(url: str) -> tuple[Any, str]:
    """The store of a URL and the path in it."""
    from fsspec.core import url_to_fs

    if url.startswith("hf://"):
        need("huggingface_hub")
    try:
        fs, path = url_to_fs(url)
    except (ValueError, ImportError) as e:  # no such protocol; its package is missing
        raise BadInput(f"{url} cannot be read: {one_line(e)}") from e
    return fs, path


@contextmanager
def _asking(url: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as e:  # some stores say so of whatever they cannot reach
        raise BadInput(f"there is no file or folder {url} ({_said(e.__cause__ or e)})") from e
    except Exception as e:  # each store's library has errors of its own
        raise BadInput(f"{url} cannot be read ({_said(e)}): {AGAIN}") from e


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {one_line(error)}"
