"""Ctrl-C ends what it interrupts, also where somebody drops its KeyboardInterrupt."""

from __future__ import annotations

import signal
from contextlib import suppress

import pytest

from memlake.warehouse.connections import connect, interruptible


def drop_ctrl_c() -> None:
    """As DuckDB does while it imports pandas."""
    with suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_that_was_dropped_comes_at_the_end():
    with pytest.raises(KeyboardInterrupt), interruptible():
        drop_ctrl_c()


def test_ctrl_c_that_was_dropped_comes_with_the_next_connection():
    with pytest.raises(KeyboardInterrupt), interruptible():
        drop_ctrl_c()
        connect()
        raise AssertionError("it went on")


def test_ctrl_c_that_was_dropped_comes_at_the_end_of_a_part():
    with pytest.raises(KeyboardInterrupt), interruptible():
        with interruptible():
            drop_ctrl_c()
        raise AssertionError("it went on")


def test_an_error_that_follows_from_ctrl_c_is_ctrl_c():
    with pytest.raises(KeyboardInterrupt), interruptible():
        drop_ctrl_c()
        raise ValueError("no pandas")


def test_who_clears_up_after_ctrl_c_is_not_disturbed():
    cleared = []
    with pytest.raises(KeyboardInterrupt), interruptible():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            with connect() as con, interruptible():
                cleared += con.execute("select 1").fetchall()
    assert cleared == [(1,)]


def test_ctrl_c_that_was_told_of_is_over():
    with interruptible():
        with suppress(KeyboardInterrupt), interruptible():
            signal.raise_signal(signal.SIGINT)
        connect().close()
    with interruptible():
        connect().close()
