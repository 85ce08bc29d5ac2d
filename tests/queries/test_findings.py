"""Each finding against its case, worked by hand in `tests/queries/NAME.toml`."""

from __future__ import annotations

import pytest

from memlake.queries.finding import find, names

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


@pytest.mark.parametrize("name", names())
def test_a_finding_about_an_empty_lake_is_no_row(name):
    con = database({})
    assert con.execute(find(name).text).fetchall() == []
