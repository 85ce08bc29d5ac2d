"""What training showed, as text."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime

import pyarrow as pa

from memlake.compute.miniatures.text import AROUND, write_shown
from memlake.tests.queries.conftest import done
from memlake.warehouse.identity import hash63

from .test_cells import make_lake, put

WINDOWS = [  # domain, document, anchor, byte_start, byte_end
    ("code", 0, 90, 70, 110),
    ("code", 0, 90, 64, 104),  # the same anchor under another tokenizer
    ("code", 0, 180, 170, 200),  # another window of the same document
    ("code", 1, 12, 0, 30),  # at the document's start
    ("c++ (old)", 2, 100, 90, 120),
    ("code", 5, 100, 90, 120),  # never shown
]
TIMES = {("code", 0): 3, ("code", 1): 1, ("c++ (old)", 2): 2, ("code", 5): 0}


def test_each_window_stands_there_as_often_as_it_was_shown_with_whole_words_around_it(tmp_path):
    lake = make_lake(tmp_path / "lake")
    columns = ("anchor", "byte_start", "byte_end")
    put(lake, "sequences", pa.Table.from_pylist([
        {"sequence_id": n, "document_id": hash63(domain, i), "corpus": "mine", "domain": domain, "tokenizer": "t"}
        | dict(zip(columns, places, strict=True))
        for n, (domain, i, *places) in enumerate(WINDOWS)
    ]))  # fmt: skip
    put(lake, "exposures", pa.Table.from_pylist([
        {"model": model, "document_id": hash63(*document), "exposures": times * (model == "large")}
        for document, times in TIMES.items()
        for model in ("large", "cannot cut there")
    ]))  # fmt: skip
    assert write_shown(lake, "mine", tmp_path / "shown.jsonl") == 2 * 3 + 1 + 2
    lines = (tmp_path / "shown.jsonl").read_text().splitlines()
    found = Counter((line["domain"], line["text"]) for line in map(json.loads, lines))

    texts = dict(lake.connect(["documents"]).execute("select document_id, text from stored.documents").fetchall())
    spans = {("code", 0, 90): (64, 110), ("code", 0, 180): (170, 200), ("code", 1, 12): (0, 30),
             ("c++ (old)", 2, 100): (90, 120)}  # fmt: skip
    assert len(found) == len(spans)
    for (domain, i, _), (first, last) in spans.items():
        text = texts[hash63(domain, i)]
        (shown,) = (t for d, t in found if d == domain and text[first:last] in t)
        begin = text.index(shown)
        end = begin + len(shown)
        assert found[domain, shown] == TIMES[domain, i]
        assert begin <= max(first - AROUND, 0) and end >= min(last + AROUND, len(text))
        assert begin == 0 or text[begin] == " "
        assert end == len(text) or text[end] == " "
        assert len(shown) < last - first + 2 * AROUND + 8  # and no more than a word on each side


def test_a_window_that_was_cut_after_the_training_was_not_shown(tmp_path):
    lake = make_lake(tmp_path / "lake")
    document = hash63("code", 0)
    for n, first in enumerate((64, 170)):
        row = {"sequence_id": n, "document_id": document, "corpus": "mine", "domain": "code", "tokenizer": "t"}
        row |= {"anchor": first + 20, "byte_start": first, "byte_end": first + 40}
        put(lake, "sequences", pa.Table.from_pylist([row]))
    put(lake, "exposures", pa.Table.from_pylist([{"model": "m", "document_id": document, "exposures": 3}]))
    works = "select cell from stored.sequences order by sequence_id"
    (early,), (late,) = lake.connect(["sequences"]).execute(works).fetchall()
    ((training,),) = lake.connect(["exposures"]).execute("select cell from stored.exposures").fetchall()
    at = {early: 1, training: 2, late: 3}
    assert len(at) == 3
    rows = [done(cell) | {"finished_at": datetime(2026, 1, 1, hour, tzinfo=UTC)} for cell, hour in at.items()]
    put(lake, "cells", pa.Table.from_pylist(rows))
    assert write_shown(lake, "mine", tmp_path / "shown.jsonl") == 3
    texts = dict(lake.connect(["documents"]).execute("select document_id, text from stored.documents").fetchall())
    lines = (tmp_path / "shown.jsonl").read_text(encoding="utf-8").splitlines()
    assert all(texts[document][64:104] in json.loads(line)["text"] for line in lines)
