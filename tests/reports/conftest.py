from __future__ import annotations

from datetime import UTC, datetime

import pytest

from memlake.reports import page
from memlake.reports.answers import Scope, read
from memlake.warehouse.lake import Lake

from .made_up import make

NOW = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
EVIL = "<script>alert('x')</script>"
EVIL_CORPUS = '"><img src=http://evil.example/x onerror=alert(1)> & co'


@pytest.fixture(scope="session")
def lake(tmp_path_factory) -> Lake:
    """Two families in three sizes, one of a name that is no family of ours, two domains, a control corpus; names that
    would run if they were not escaped."""
    return make(
        tmp_path_factory.mktemp("reports") / f"lake {EVIL.replace('/', '')}",
        ["pythia", f"family {EVIL}"],
        domains={"code": "structural", EVIL: "free_text"},
        roles={EVIL_CORPUS: "trained", f"held out {EVIL}": "control"},
        n=16,
    )


@pytest.fixture(scope="session")
def text(lake) -> str:
    """The whole page of `lake`."""
    return page_of(lake)


def page_of(lake: Lake, *only: str) -> str:
    """The page about these findings, or all."""
    with read(lake, Scope(only)) as reading:
        return page.draw(reading, NOW).html
