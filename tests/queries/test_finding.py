"""Findings as files: help, parameters, and that a parameter is never SQL."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memlake.queries.finding import Finding, find, literal, names, parse
from memlake.warehouse.errors import BadInput, UnknownName

TEXT = """\
-- One row is one thing:
-- a made-up one.
--
-- Columns:
--   n      a number
--   words  a text
with parameters as (select
    64 as n,            -- how many, at least 1
    'it''s' as words,   -- what is said
    0.5 as p,           -- a share
    [1, 2] as levels,   -- whole numbers
    false as loud       -- or not
)
select n, words, p, levels, loud, 64 as n from parameters
"""
MADE = Finding("made", TEXT)


def answer(**values):
    return duckdb.sql(MADE.sql(**values)).fetchone()


def test_the_help_and_the_parameters_are_the_files():
    assert MADE.grain == "One row is one thing: a made-up one."
    assert MADE.columns == {"n": "a number", "words": "a text"}
    assert {p.name: p.doc for p in MADE.parameters.values()} == {
        "n": "how many, at least 1",
        "words": "what is said",
        "p": "a share",
        "levels": "whole numbers",
        "loud": "or not",
    }


def test_without_parameters_the_query_is_the_file():
    assert MADE.sql() == TEXT
    assert [float(v) if k == 2 else v for k, v in enumerate(answer())] == [64, "it's", 0.5, [1, 2], False, 64]


def test_a_parameter_takes_the_place_of_its_default_only():
    assert answer(n=32)[0] == 32 and answer(n="32")[0] == 32 and answer(n=32)[5] == 64
    assert float(answer(p="1e-9")[2]) == 1e-9 and float(answer(p=1)[2]) == 1
    assert answer(levels=[5])[3] == [5] and answer(levels="[5, 6]")[3] == [5, 6]
    assert answer(loud="true")[4] is True and answer(loud=True)[4] is True


@pytest.mark.parametrize(
    "text", ["x", "it's", "') from read_text('/etc/passwd') --", "\\' or 1=1 --", "$$ \\1 \\g<name> {n}", "a\nb", ""]
)
def test_a_text_is_only_a_text(text):
    assert answer(words=text)[1] == text


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_any_text_is_only_a_text(text):
    assert answer(words=text)[1] == text


@pytest.mark.parametrize(
    "value", ["1; drop table x", "1.5", 1.5, "true", True, "'1'", "NULL", None, "[1]", "", "1 + 1"]
)
def test_a_whole_number_is_only_a_whole_number(value):
    with pytest.raises(BadInput, match="n wants a value like 64"):
        literal(MADE.parameters["n"], value)


@pytest.mark.parametrize("value", ["[1.5]", "[]", "1", '["x"]', [[1]], "[1, (select 1)]"])
def test_a_list_is_only_a_list_of_its_kind(value):
    with pytest.raises(BadInput, match="levels wants a value like"):
        literal(MADE.parameters["levels"], value)


@pytest.mark.parametrize("value", ["NaN", "Infinity", float("nan"), "x"])
def test_a_number_is_finite(value):
    with pytest.raises(BadInput, match="p wants a value like"):
        literal(MADE.parameters["p"], value)


def test_unknown_names_name_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'levels'"):
        MADE.sql(level=[1])
    with pytest.raises(UnknownName, match="did you mean 'memorization_rate'"):
        find("memorisation_rate")


def test_pairs_are_split_at_the_first_equals_sign():
    assert parse(["a=1", "b=x=y"]) == {"a": "1", "b": "x=y"}
    with pytest.raises(BadInput, match="key=value"):
        parse(["a"])


@pytest.mark.parametrize("name", names())
def test_every_finding_explains_itself(name):
    finding = find(name)
    for part in ("Why this number:", "Leaves out:", "Units:", "Source:", "Columns:"):
        assert part in finding.help, part
    assert "as (select\n" not in finding.text or finding.parameters
    assert max(map(len, finding.text.splitlines())) <= 120
