"""Text for the eye, and that templates leave its escaping to Jinja2."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from memlake.reports import page, text
from memlake.reports.text import Piece

TEMPLATES = {path.name: path.read_text() for path in (Path(page.__file__).parent / "templates").glob("*.html")}


def test_code_and_arxiv_numbers_stand_apart():
    found = text.code_and_links("See 2304.11158: `a < b`, of `x` (12345.678).")
    assert found == [
        Piece("text", "See "), Piece("arxiv", "2304.11158"), Piece("text", ": "), Piece("code", "a < b"),
        Piece("text", ", of "), Piece("code", "x"), Piece("text", " (12345.678)."),
    ]  # fmt: skip
    assert text.links("`x` 2304.11158") == [Piece("text", "`x` "), Piece("arxiv", "2304.11158")]
    assert text.links("") == []


def test_paragraphs_are_one_line_each():
    assert text.paragraphs("\na b\n  c\n\nd\n") == ["a b c", "d"]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (True, "yes"), (False, "no"), (1234567, "1,234,567"), (-0.393749999999999, "\N{MINUS SIGN}0.3937"),
        (0.39374999999999999, "0.3937"), (1e-9, "1e\N{MINUS SIGN}09"), (2.0, "2"), ("<b>", "<b>"),
        (datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC), "2026-01-02 03:04:05+00:00"),
    ],
)  # fmt: skip
def test_values_are_short(value, written):
    assert text.value(value) == written


def test_counts_have_a_plural():
    assert [text.count(n, "row") for n in (0, 1, 1200)] == ["0 rows", "1 row", "1,200 rows"]


def test_templates_quote_what_they_put_in_attributes_and_trust_nothing_but_figures():
    escapes = page.TEMPLATES.autoescape
    assert all(escapes(name) is not name.endswith(".md") for name in TEMPLATES) and escapes(None)
    assert len(TEMPLATES) >= 5
    for name, template in TEMPLATES.items():
        assert not re.search(r"=\s*\{\{", template), name
    trusted = [
        found for template in TEMPLATES.values() for found in re.findall(r"\{\{[^}]*\bsafe\b[^}]*\}\}", template)
    ]
    assert trusted == ["{{ panel | safe }}"]
    assert not any("autoescape" in template for template in TEMPLATES.values())
