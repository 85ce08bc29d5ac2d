"""What training showed the miniatures, as text: a corpus in which the duplicates of a window can be counted.

Repetition is then known twice, as recorded (`exposures`) and as counted (`memlake ingest count`). They differ where
texts that were shown hold the same words, which no record of showings knows.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from warehouse.lake import Lake

AROUND = 32  # bytes of the document at least that stand around the window, so that its first tokens are cut as in it
WHITE = b" \t\n\r"

# One row is one anchor: its document, the bytes that its windows cover under all tokenizers, and how often they were
# shown. A tokenizer that could not cut the window there recorded no showing.
SHOWN = """
    select d.domain, encode(d.text) as text, s.first, s.last, e.times
    from (
        select document_id, anchor, min(byte_start) as first, max(byte_end) as last
        from stored.sequences
        where corpus = $corpus
        group by all
    ) s
    join stored.documents d using (document_id)
    join (select document_id, max(exposures) as times from stored.exposures group by all) e using (document_id)
    where e.times > 0
    order by document_id, anchor
"""


def write_shown(lake: Lake, corpus: str, path: Path) -> int:
    """Write each sampled window of a corpus, with a little of its document around it, as often as the miniatures were
    shown it: a JSON line each with `text` and `domain`. Returns the number of lines. The same lake gives the same file.
    """
    part, lines = path.with_name(f".{path.name}-{os.getpid()}"), 0
    with lake.connect(["documents", "sequences", "exposures"]) as con, part.open("w", encoding="utf-8") as file:
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
