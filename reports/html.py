"""Pieces of HTML. Whatever comes from a lake is data: these functions escape it."""

from __future__ import annotations

import re
from datetime import datetime
from html import escape

import pyarrow as pa

SHOWN = 100  # rows of a table that stand in the page


def table(rows: pa.Table, more: str = "") -> str:
    """Rows as a table, at most `SHOWN` of them. `more` says where the others are, as plain text."""
    kinds = ["r" if pa.types.is_integer(t) or pa.types.is_floating(t) else "" for t in rows.schema.types]
    head = "".join(_tag("th", escape(name), kind) for name, kind in zip(rows.column_names, kinds, strict=True))
    body = "".join(
        f"<tr>{''.join(_cell(v, kind) for v, kind in zip(row.values(), kinds, strict=True))}</tr>\n"
        for row in rows.slice(0, SHOWN).to_pylist()
    )
    left = rows.num_rows - SHOWN
    note = f"<p class=note>{left:,} more rows are not shown{escape(more and f': {more}')}</p>" if left > 0 else ""
    return f"<div class=scroll><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>{note}"


def fold(summary: str, content: str, is_open: bool = False) -> str:
    """Content under a line that opens it. `summary` is plain text, `content` HTML."""
    return f"<details{' open' if is_open else ''}><summary>{escape(summary)}</summary>\n{content}\n</details>\n"


def prose(text: str) -> str:
    """Plain text as paragraphs; `such` words as code, arXiv numbers as links."""
    paragraphs = (" ".join(p.split()) for p in text.strip().split("\n\n"))
    coded = (re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(p)) for p in paragraphs)
    return "\n".join(f"<p>{links(p)}</p>" for p in coded)


def links(escaped: str) -> str:
    """Text that is escaped already, its arXiv numbers as links."""
    return re.sub(r"\b(\d{4}\.\d{5})\b", r'<a href="https://arxiv.org/abs/\1">\1</a>', escaped)


def value(v: object) -> str:
    """One value for the eye: numbers short, NULL as a dash, text escaped."""
    if v is None:
        return "<span class=null>\N{EN DASH}</span>"
    if isinstance(v, bool):
        return "yes" if v else "no"
    if isinstance(v, int):
        return f"{v:,}"
    if isinstance(v, float):
        v = float(
            f"{v:.12g}"
        )  # sums over threads differ in their last digits, which must not decide how 0.39375 rounds
        return f"{v:.4g}".replace("-", "\N{MINUS SIGN}")
    if isinstance(v, datetime):
        return v.isoformat(sep=" ", timespec="seconds")
    return escape(str(v))


def count(n: int, what: str) -> str:
    """`1 row`, `1,200 rows`."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _cell(v: object, kind: str) -> str:
    return _tag("td", value(v), "long" if isinstance(v, str) and len(v) > 60 else kind)


def _tag(name: str, content: str, kind: str) -> str:
    return f"<{name}{kind and f' class={kind}'}>{content}</{name}>"
