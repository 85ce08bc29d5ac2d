"""DuckDB connections, and what ends them while they are at work: Ctrl-C, or a time limit."""

from __future__ import annotations

import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING, Generic, TypeVar

from .errors import one_line

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

T = TypeVar("T")
GRACE = 1.0  # seconds in which work that is told to end must
_open: weakref.WeakSet[duckdb.DuckDBPyConnection] = weakref.WeakSet()
_asked = False  # Ctrl-C came, and no `interruptible` has seen its KeyboardInterrupt leave
_stopped: weakref.WeakSet[threading.Thread] = weakref.WeakSet()  # whose work nobody waits for


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


class Overtime(Exception):
    """Work took longer than it was given."""


class Work(Generic[T]):
    """What a thread of its own is at, while this one waits: so Ctrl-C and time are heeded whatever DuckDB is in the
    midst of, of which some cannot be stopped. There is one at a time."""

    def __init__(self, do: Callable[[], T], seconds: float | None = None):
        """Begins `do`, which has so many seconds; None: all it wants."""
        self._do, self._done = do, threading.Event()
        self._end = None if seconds is None else monotonic() + seconds
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._error: BaseException | None = None
        try:
            self._result = self._do()
        except BaseException as e:
            self._error = e
        finally:
            del self._do
            self._done.set()

    @property
    def left(self) -> float | None:
        """Seconds until its time is over."""
        return None if self._end is None else max(0.0, self._end - monotonic())

    def result(self) -> T:
        """What it has returned or raised; raises `Overtime`, and KeyboardInterrupt for Ctrl-C meanwhile, after which it
        is stopped."""
        try:
            with interruptible():
                if not self._done.wait(self.left):
                    raise Overtime
        except BaseException:
            self.stop()
            raise
        if self._error is not None:
            raise self._error
        return self._result

    def stop(self) -> None:
        """End it, where that can be."""
        _stopped.add(self._thread)
        end = monotonic() + GRACE
        while not self._done.wait(0.02) and monotonic() < end:
            _interrupt_all()  # again, for between two queries nobody hears it


def stuck() -> set[threading.Thread]:
    """Who was stopped, and goes on: who waits for the process to end in order waits for them."""
    return {thread for thread in _stopped if thread.is_alive()}


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _asked
    _asked = True
    _interrupt_all()
    signal.default_int_handler(number, frame)


def _interrupt_all() -> None:
    for con in list(_open):
        with suppress(Exception):  # it is closed; duckdb is not imported here, as it may be under way
            con.interrupt()


def _heed() -> None:
    """Raise the KeyboardInterrupt that somebody has dropped: Ctrl-C came, and nothing is being handled. Also in work
    that was stopped."""
    if threading.current_thread() in _stopped:
        raise KeyboardInterrupt
    if _asked and _in_main_thread() and sys.exc_info()[0] is None:
        raise KeyboardInterrupt


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
