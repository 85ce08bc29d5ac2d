"""Sequences that a model cannot take: they are left out of what is measured of it, and stand in `rejects`.

Scoring writes their rows; the other experiments take what scoring took.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from memlake.warehouse.lake import Lake

from .cells import ModelCell, RangeCell
from .settings import RangeSettings

# SQL: why a model cannot take a sequence that has tokens; NULL where it can. The variables are `Subject.limits`
UNFIT = """case
    when prefix_tokens + $bos < 1 then 'no prompt, so that nothing predicts its first token (--bos would)'
    when len(tokens) + $bos > $positions then 'longer than the positions of the model'
    when list_max(tokens) >= $vocabulary then 'a token beyond the vocabulary of the model'
end"""


def rejected(settings: RangeSettings, tokenizer: str) -> str:
    """The `source` in `rejects` of the sequences of a cell's domain and sample that its model cannot take under its
    condition."""
    return "/".join([settings.domain, tokenizer, settings.sample, settings.model, settings.condition])


def left_out(lake: Lake, cells: Iterable[ModelCell]) -> Iterator[str]:
    """A line for each cell and reason: how many sequences were left out."""
    of = {cell.id: cell.settings for cell in cells if isinstance(cell, RangeCell) and "rejects" in cell.tables}
    with lake.connect(["rejects"]) as con:
        reasons = con.execute(
            "select cell, reason, count(*) from stored.rejects where list_contains(?, cell) group by all order by all",
            [list(of)],
        ).fetchall()
    for cell, reason, n in reasons:
        s = of[cell]
        many = "1 sequence" if n == 1 else f"{n} sequences"
        yield f"{s.model} cannot take {many} of {s.corpus} ({s.domain}), see `rejects`: {reason}"
