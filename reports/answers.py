"""The findings' rows, as the page and its figures ask for them."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from memlake.queries.finding import find


class Answers(dict[str, pa.Table]):
    """The findings' rows by name, each asked once. ask: the answer to a SELECT."""

    def __init__(self, ask: Callable[[str], pa.Table]):
        self._ask = ask

    def __missing__(self, finding: str) -> pa.Table:
        self[finding] = self._ask(find(finding).text)
        return self[finding]
