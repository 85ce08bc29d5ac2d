"""DuckDB connections, and Ctrl-C while they are at work."""

from __future__ import annotations

import signal
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

from .errors import one_line

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

_open: weakref.WeakSet[duckdb.DuckDBPyConnection] = weakref.WeakSet()
_asked = False  # Ctrl-C came, and no `interruptible` has seen its KeyboardInterrupt leave


def connect(path: str | Path = ":memory:") -> duckdb.DuckDBPyConnection:
    """A connection that downloads nothing, and of which Ctrl-C ends the query within `interruptible`."""
    import duckdb

    _heed()
    return watched(duckdb.connect(path, config={"autoinstall_known_extensions": False}))


def watched(con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """The connection, such as a cursor of another, as `connect` makes them."""
    _open.add(con)
    return con


def damage(error: Exception) -> str | None:
    """The line for a file that DuckDB cannot read; None for another error. Of damaged bytes it raises what has no kind
    of its own and names no file."""
    duckdb = sys.modules.get("duckdb")
    if not duckdb or not isinstance(error, duckdb.Error):
        return None
    named = isinstance(error, duckdb.InvalidInputException) and ".parquet" in str(error)
    if type(error) is not duckdb.Error and not isinstance(error, duckdb.IOException) and not named:
        return None
    return f"a file cannot be read ({one_line(error)}): see `memlake warehouse check`"


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C is a KeyboardInterrupt within, at the end at the latest. Where DuckDB is at work it makes a RuntimeError
    of it, which would pass for an error of what was asked, or drops it, while it imports pandas; and who then closes
    the connection waits until the query has come to its end, hours later, unless DuckDB is told."""
    global _asked
    ours = _in_main_thread()
    ours = ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else it is another's to decide
    if ours:
        _asked = False
        signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
        _heed()
    except KeyboardInterrupt:
        _asked = False
        raise
    except Exception as e:
        if isinstance(e.__cause__, KeyboardInterrupt) or (_asked and _in_main_thread()):
            _asked = False
            raise KeyboardInterrupt from e
        raise
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _asked
    _asked = True
    for con in list(_open):
        with suppress(Exception):  # it is closed; duckdb is not imported here, as it may be under way
            con.interrupt()
    signal.default_int_handler(number, frame)


def _heed() -> None:
    """Raise the KeyboardInterrupt that somebody has dropped: Ctrl-C came, and nothing is being handled."""
    if _asked and _in_main_thread() and sys.exc_info()[0] is None:
        raise KeyboardInterrupt


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
