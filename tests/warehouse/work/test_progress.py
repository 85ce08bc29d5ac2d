"""What is told of long work."""

from __future__ import annotations

import re

import pytest

from memlake.warehouse.words import duration
from memlake.warehouse.work.progress import Progress


def test_hours_are_told_as_hours():
    progress = Progress("scoring", cells=4, rows=40)
    progress._began -= 4 * 3600
    progress.advance(20)
    progress.advance(10, failed=True)
    assert progress.line() == "scoring: 2/4 cells, 4.0 h, 0.00208 rows/s, 80 min left, 1 failed"


def test_a_long_log_is_short_and_says_when_and_which_model(monkeypatch, capsys):
    """Twelve hours of a cell a second, by a clock of our own: the first line after 10 s, none later than 15 min after
    the one before, one for each model that is through."""
    now = 0.0
    monkeypatch.setattr("memlake.warehouse.work.progress.monotonic", lambda: now)
    n = 12 * 3600
    models = {"small": n // 3, "large": n - n // 3}
    with Progress("scoring", n, None, models=models) as progress:
        for i in range(n):
            now += 1
            progress.advance(0, model="small" if i < n // 3 else "large", failed=i == 5)
            progress.tick()
    lines = capsys.readouterr().err.splitlines()
    assert 50 < len(lines) < 65
    assert all(re.match(r"\d\d:\d\d:\d\d scoring: ", line) for line in lines)
    assert lines[0].endswith("10/43200 cells, 10 s, 1 cells/s, 12.0 h left, last small, 1 failed")
    (through,) = [line for line in lines if "through" in line]
    assert through.endswith("scoring: small is through, 14400 cells, 1 of them failed, after 4.0 h")
    assert lines[-1].endswith("43200/43200 cells, 12.0 h, 1 cells/s, 1 failed")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (5399, "90 min"),
        (5400, "1.5 h"),
        (86400, "24.0 h"),
        (172800, "2.0 d"),
    ],
)
def test_durations(seconds, words):
    assert duration(seconds) == words
