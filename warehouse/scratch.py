"""What DuckDB may take: memory, and where it spills, which is a folder for each process below that for temporary files.

A process holds a lock on its folder as long as it lives, however it ends. So what a killed one has left is told from
what another is at work in, also from another container, and the next command removes it.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from time import time
from typing import TYPE_CHECKING
from uuid import uuid4

from .errors import BadInput
from .relation import quoted

if TYPE_CHECKING:
    import duckdb

PREFIX = "memlake-spill-"
YOUNG = 60.0  # seconds within which a folder may not be locked yet by who made it
SHARE = 0.5  # of what is free on the disk, as much as what a connection spills may take


def limit(con: duckdb.DuckDBPyConnection, memory: str | None = None) -> None:
    """Give a connection a folder of its own to spill to, which it makes when it needs it and removes when it is closed,
    no more than half of the disk that is free, and so much memory ('8GB'); by default what DuckDB takes, 80 % of that
    of the machine or the container. Raises `BadInput` for another text."""
    import duckdb

    folder = _of_process()
    con.execute(f"set temp_directory = {quoted(str(folder / uuid4().hex))}")
    con.execute(f"set max_temp_directory_size = '{int(shutil.disk_usage(folder).free * SHARE)}B'")
    try:
        if memory is not None:
            con.execute(f"set memory_limit = {quoted(memory)}")
    except duckdb.Error as e:
        raise BadInput(f"--memory wants a size like 8GB, not {memory!r}") from e


@cache
def _of_process() -> Path:
    sweep()
    folder = Path(mkdtemp(prefix=PREFIX))
    lock = os.open(folder, os.O_RDONLY)  # closed with the process
    fcntl.flock(lock, fcntl.LOCK_EX)
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # and not a fork of it
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


def sweep() -> None:
    """Remove the folders of processes that are no more."""
    with suppress(OSError):
        for folder in Path(gettempdir()).glob(f"{PREFIX}*"):
            with suppress(OSError):  # somebody else's, or gone meanwhile
                _sweep(folder)


def _sweep(folder: Path) -> None:
    if time() - folder.stat(follow_symlinks=False).st_mtime < YOUNG:
        return
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    finally:
        os.close(lock)
