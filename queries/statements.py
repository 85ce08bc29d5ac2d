"""Where statements end: at a `;` that stands in no quotes and no comment."""

from __future__ import annotations

import re
from collections.abc import Iterator

MARK = re.compile(
    r"(?P<quoted>\be'(?:[^'\\]|\\.|'')*'"  # with escapes
    r"|'(?:[^']|'')*'"
    r'|"(?:[^"]|"")*"'
    r"|(?<![\w$])\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$)"
    r"|(?P<comment>--[^\n]*|/\*)"
    r"|(?P<open>['\"]|(?<![\w$])\$(?:[^\W\d]\w*)?\$)"  # of which the end is missing
    r"|(?P<end>;)",
    re.S | re.I,
)
COMMENT = re.compile(r"/\*|\*/")


def split(text: str) -> list[str]:
    """The statements in a text, each with its `;`; comments alone are none. At least one, so that what is wrong with
    the text can be told."""
    ends = [place for kind, _, place in _marks(text) if kind == "end"]
    pieces = [text[a:b] for a, b in zip([0, *ends], [*ends, len(text)], strict=True)]
    return [piece.lstrip() for piece in pieces if not _is_empty(piece)] or [text]


def is_whole(text: str) -> bool:
    """Does the text end with the `;` of a statement, comments apart?"""
    marks = list(_marks(text))
    ends = [place for kind, _, place in marks if kind == "end"]
    return bool(ends) and marks[-1][0] != "open" and _is_empty(text[ends[-1] :])


def _is_empty(text: str) -> bool:
    """Is there nothing but comments and `;`?"""
    bare, place = "", 0
    for kind, start, end in _marks(text):
        if kind in ("comment", "end"):
            bare, place = bare + text[place:start], end
    return not (bare + text[place:]).strip()


def _marks(text: str) -> Iterator[tuple[str, int, int]]:
    """What is in quotes or a comment, the `;` outside of them, and, last, an opening without an end: kind, from, to."""
    place = 0
    while found := MARK.search(text, place):
        kind, place = found.lastgroup or "", found.end()
        kind = "quoted" if kind == "tag" else kind
        if found["comment"] == "/*":  # they nest
            depth = 1
            while depth and (mark := COMMENT.search(text, place)):
                place, depth = mark.end(), depth + (1 if mark[0] == "/*" else -1)
            if depth:
                kind = "open"
        if kind == "open":
            yield kind, found.start(), len(text)
            return
        yield kind, found.start(), place
