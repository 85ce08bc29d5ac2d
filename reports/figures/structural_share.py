"""Do models memorize code, maths and markup more than prose?

The dot is the share of structural text in what a model memorized, with its 95 % interval; the black mark is the share
of structural text in what it was asked: where the dot would stand if the model did not care. Beside it: how many
times as likely structural text is memorized as free text, with its interval. On the left each domain counts with its
sample, as in the published shares; on the right with its bytes in the corpus.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _style as style
from ._models import across, beside, dot, interval, lines, tick

WEIGHTS = {"sample": "of the sample", "bytes": "of the corpus, by bytes"}


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a weight, control corpora left out."""
    rows = rows[rows["share"].notna() & (rows["role"] != "control")]
    if rows.empty:
        return []
    rows, y, height = lines(rows)
    scale = alt.Scale(domain=[0, 1], nice=False)
    x = alt.X(
        "x:Q", title="structural share of what is memorized", scale=scale, axis=alt.Axis(format="~%", tickCount=5)
    )
    data = rows[["y", "colour", "low", "high", "expected_share"]].assign(
        x=rows["share"],
        fill=rows["colour"],
        shape="circle",
        text=[_ratio(row) for _, row in rows.iterrows()],
        tip=style.tips(rows, "share", "low", "high", n="memorized"),
        panel=rows["weighted_by"].map(WEIGHTS),
    )
    panels = [name for weight, name in WEIGHTS.items() if (rows["weighted_by"] == weight).any()]
    about = style.title("right: times as likely as free text")
    rows_of_panels = across(
        data,
        panels,
        [tick("expected_share", style.INK, x, y), interval(x, y), dot(x, y), beside(y)],
        rows["line"],
        height,
        room=90,
        widest=300,
    )
    return [row.properties(title=about) for row in rows_of_panels]


def _ratio(row: pd.Series) -> str:
    """`1.7 (0.4 to 12)`; empty where a class is missing, `> 0.4` where no free text is memorized."""
    if pd.isna(row["ratio_low"]):
        return ""
    if pd.isna(row["ratio"]):
        return f"> {row['ratio_low']:.2g}"
    return f"{row['ratio']:.2g} ({row['ratio_low']:.2g} to {row['ratio_high']:.2g})"
