"""Findings as files: help, parameters, and that a parameter is never SQL."""

from __future__ import annotations

import re

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memlake.queries.finding import (
    SHELF,
    Finding,
    explained,
    find,
    glossary,
    header,
    literal,
    names,
    parse,
    shared_meaning,
)
from memlake.warehouse import shelf
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


NAMED = """\
-- One row is one thing.
--
-- Columns:
--   family, share, share_low,
--   share_high
--   text          what is said, at such a length that it goes on in a second line, which is the explanation's and no
--                 other column
--   n
select 1
"""


def test_a_column_is_explained_by_the_finding_or_by_the_glossary():
    """`share` is in no glossary: a finding that uses it has to say what it is."""
    with pytest.raises(BadInput, match=r"neither the finding nor glossary.toml explains its column 'share'"):
        explained(NAMED)
    shown = explained(NAMED.replace("family, share, share_low", "family, share_low"))
    assert header(shown) == {
        "family": "training line",
        "share_low": "lower end of its interval",
        "share_high": "upper end of its interval",
        "text": "what is said, at such a length that it goes on in a second line, which is the explanation's and no"
        " other column",
        "n": "sequences",
    }
    assert Finding("made", shown).columns == header(shown)
    assert shown.startswith("-- One row is one thing.\n--\n-- Columns:\n--   family      training line\n")
    assert shown.endswith("--   n           sequences\nselect 1\n") and max(map(len, shown.splitlines())) <= 120
    assert explained(shown) == shown and explained(TEXT) == TEXT


def written(name: str) -> dict[str, str | None]:
    return header(shelf.text(SHELF, name, ".sql"))


@pytest.mark.parametrize("name", names())
def test_a_finding_explains_only_what_is_its_own(name):
    assert find(name).columns.keys() == written(name).keys() and all(find(name).columns.values())
    for column, own in written(name).items():
        try:
            shared = shared_meaning(column)
        except BadInput:
            assert own
        else:
            assert own != shared, f"{column}: only name it"


def test_the_glossary_explains_nothing_that_only_one_finding_names():
    named = [column for name in names() for column, own in written(name).items() if own is None]
    for word in glossary():
        pattern = re.compile(word.replace("*", r"\w+"))
        used = [c for c in named if pattern.fullmatch(c) and (c == word or c not in glossary())]
        assert len(used) > 1, word


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
