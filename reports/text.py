"""Text for the eye: how numbers are written, and what in a text is code or a link. All of it is plain text, which the
templates escape."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

CODE = r"`(?P<code>[^`]+)`"
ARXIV = r"\b(?P<arxiv>\d{4}\.\d{5})\b"


@dataclass(frozen=True)
class Piece:
    """A part of a text. kind: `text`, `code` (which stood between backticks), or `arxiv` (the number of a paper)."""

    kind: str
    text: str


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a text, each on one line."""
    return [" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n")]


def links(text: str) -> list[Piece]:
    """The text with its arXiv numbers apart."""
    return _cut(ARXIV, text)


def code_and_links(text: str) -> list[Piece]:
    """The text with its code and its arXiv numbers apart."""
    return _cut(f"{CODE}|{ARXIV}", text)


def _cut(pattern: str, text: str) -> list[Piece]:
    pieces: list[Piece] = []
    end = 0
    for match in re.finditer(pattern, text):
        found = [Piece(kind, part) for kind, part in match.groupdict().items() if part]
        pieces += [Piece("text", text[end : match.start()]), *found]
        end = match.end()
    return [piece for piece in (*pieces, Piece("text", text[end:])) if piece.text]


def value(v: object) -> str:
    """One value of a table: numbers short."""
    if isinstance(v, bool):
        return "yes" if v else "no"
    if isinstance(v, int):
        return f"{v:,}"
    if isinstance(v, float):
        v = float(f"{v:.12g}")  # sums over threads differ in their last digits: these must not decide how it is rounded
        return f"{v:.4g}".replace("-", "\N{MINUS SIGN}")
    if isinstance(v, datetime):
        return v.isoformat(sep=" ", timespec="seconds")
    return str(v)


def markdown(text: str) -> str:
    """The text as Markdown, in which nothing of it is emphasis, a link or HTML."""
    return re.sub(r"([\\`*_~&\[\]<>#|])", r"\\\1", " ".join(text.split()))


def count(n: int, what: str) -> str:
    """`1 row`, `1,200 rows`."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"
