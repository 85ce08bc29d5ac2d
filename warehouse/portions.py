"""What memory cannot hold at once, in parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def portions(items: Iterable[T], rows: Callable[[T], int], most: int) -> Iterator[list[T]]:
    """The items in order, as many at a time as have at most so many rows together; one that has more comes alone."""
    portion: list[T] = []
    total = 0
    for item in items:
        if portion and total + rows(item) > most:
            yield portion
            portion, total = [], 0
        portion.append(item)
        total += rows(item)
    if portion:
        yield portion
