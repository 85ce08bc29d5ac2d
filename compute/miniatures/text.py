"""What training showed the miniatures, as text: a corpus in which the duplicates of a window can be counted.

Repetition is then known twice, as recorded (`exposures`) and as counted (`memlake ingest count`). They differ where
texts that were shown hold the same words, which no record of showings knows.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from memlake.warehouse.lake import Lake

AROUND = 32  # bytes of the document at least that stand around the window, so that its first tokens are cut as in it
WHITE = b" \t\n\r"

# One row is one anchor: its document, the bytes that its windows cover under all tokenizers, and how often they were
# shown. A tokenizer that could not cut the window there recorded no showing; what was cut after a training it did not
# show.
SHOWN = """
    with works as (
        select cell, max(finished_at) as finished_at from stored.cells where outcome = 'done' group by cell
    ), windows as (
        select document_id, anchor, min(byte_start) as first, max(byte_end) as last, max(exposures) as times
        from stored.sequences s
        join stored.exposures e using (document_id)
        left join works cut on cut.cell = s.cell
        left join works trained on trained.cell = e.cell
        where corpus = $corpus and exposures > 0 and (cut.finished_at > trained.finished_at) is not true
        group by all
    )
    select d.domain, encode(d.text) as text, first, last, times
    from windows
    join stored.documents d using (document_id)
    order by document_id, anchor
"""


def write_shown(lake: Lake, corpus: str, path: Path) -> int:
    """Write each sampled window of a corpus, with a little of its document around it, as often as the miniatures were
    shown it: a JSON line each with `text` and `domain`. Returns the number of lines. The same lake gives the same file.
    """
    part, lines = path.with_name(f".{path.name}-{os.getpid()}"), 0
    tables = ["documents", "sequences", "exposures", "cells"]
    with lake.connect(tables) as con, part.open("w", encoding="utf-8") as file:
        for domain, text, first, last, times in con.execute(SHOWN, {"corpus": corpus}).fetchall():
            line = json.dumps({"text": _around(text, first, last), "domain": domain}) + "\n"
            file.write(line * times)
            lines += times
    part.replace(path)
    return lines


def _around(text: bytes, first: int, last: int) -> str:
    """The bytes [first, last) with `AROUND` more on both sides, and on to the next white space or the document's end:
    where words begin and end, tokens do."""
    begin, end = max(first - AROUND, 0), min(last + AROUND, len(text))
    while begin and text[begin] not in WHITE:
        begin -= 1
    while end < len(text) and text[end] not in WHITE:
        end += 1
    return text[begin:end].decode()
