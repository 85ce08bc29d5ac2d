"""Names that become folders of the lake: of a corpus, a domain, a tokenizer, ..."""

from __future__ import annotations

MAX_NAME = 80  # bytes


def name_problem(name: object, what: str = "domain") -> str | None:
    """Why a name that becomes a folder's cannot be used; None where it can. `what`: it is the name of."""
    if not isinstance(name, str):
        return f"{what} is not text"
    if not name.strip():
        return f"{what} is empty"
    if "\0" in name:
        return f"{what} holds a NUL byte"
    try:
        if len(name.encode()) > MAX_NAME:
            return f"{what} has more than {MAX_NAME} bytes"
    except UnicodeEncodeError:
        return f"{what} holds a lone surrogate"
    return None
