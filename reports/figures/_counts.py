"""What the figures about n-gram counts share: of the ways in which a sequence was counted, the ones they show."""

from __future__ import annotations

import pandas as pd

RUN = "`memlake ingest count`, or `memlake demo` for everything"
COUNTED = ["model", "corpus", "counted_corpus"]


def one_way(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of one way of counting for each model, corpus and counted corpus: under the sequences' own tokenizer
    before another, of all of the counted corpus before a sample of it. Rows that count nothing stay."""
    worse = 2 * rows["own"].eq(False) + rows["complete"].eq(False)
    rows = rows[worse == worse.groupby([rows[c] for c in COUNTED], dropna=False).transform("min")]
    name = rows["counted_tokenizer"].fillna("")
    return rows[name == name.groupby([rows[c] for c in COUNTED], dropna=False).transform("min")]


def one_corpus(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of one counted corpus for each model and corpus: that of the sequences where it was counted."""
    place = rows["counted_corpus"].mask(rows["counted_corpus"] == rows["corpus"], "")
    return rows[place == place.groupby([rows["model"], rows["corpus"]]).transform("min")]
