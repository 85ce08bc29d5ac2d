"""Numbers in words."""

from __future__ import annotations

import pytest

from memlake.warehouse.words import counted, volume


def test_one_and_many():
    assert [counted(n, "file") for n in (0, 1, 2)] == ["0 files", "1 file", "2 files"]
    assert [counted(n, "log entry", "log entries") for n in (1, 3)] == ["1 log entry", "3 log entries"]


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (0, "0.0 kB"),
        (999, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_951, "1.0 MB"),
        (16_200_000, "16.2 MB"),
        (999_960_000, "1.0 GB"),
        (1_234_000_000, "1.2 GB"),
        (43_210_000_000_000, "43.2 TB"),
        (43_210_000_000_000_000, "43,210.0 TB"),
    ],
)
def test_bytes(size, said):
    assert volume(size) == said
