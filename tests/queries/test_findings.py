"""Each finding against its case, worked by hand in `tests/queries/NAME.toml`."""

from __future__ import annotations

import pytest

from memlake.queries.finding import find, names

from . import random_lake
from .findings import cases, database, rows, same

CASES = [(name, case) for name in names() for case in cases(name)]


@pytest.mark.parametrize(("name", "case"), CASES, ids=lambda v: v if isinstance(v, str) else v["about"][:40])
def test_a_finding_gives_what_the_pencil_gives(name, case):
    assert case["given"] and rows(case["expect"])
    con = database(case["given"])
    result = con.execute(find(name).sql(**case.get("parameters", {}))).to_arrow_table().to_pylist()
    expected = rows(case["expect"])
    assert len(result) == len(expected), result
    for got, row in zip(result, expected, strict=True):
        wrong = {c: (got[c], v) for c, v in row.items() if not same(got[c], v)}
        assert not wrong, f"{row}: (got, expected) {wrong}"


@pytest.mark.parametrize("name", names())
def test_a_finding_returns_the_columns_its_help_names(name):
    con = database(cases(name)[0]["given"])
    finding = find(name)
    assert finding.grain.startswith("One row is ") and len(finding.grain) > 40
    assert list(finding.columns) == con.execute(finding.text).to_arrow_table().column_names


@pytest.fixture(scope="module")
def odd():
    """The lake of random rows."""
    return random_lake.database(random_lake.rows(1, 12))


@pytest.mark.parametrize("name", names())
def test_the_key_of_a_finding_tells_its_rows_apart(name, odd):
    key = find(name).key
    assert key and set(key) <= set(find(name).columns)
    for con in (*(database(case["given"]) for case in cases(name)), odd):
        rows = con.execute(find(name).text).to_arrow_table().select(key).to_pylist()
        assert len({tuple(row.values()) for row in rows}) == len(rows)


@pytest.mark.parametrize("name", names())
def test_a_finding_about_an_empty_lake_is_no_row(name):
    con = database({})
    assert con.execute(find(name).text).fetchall() == []
