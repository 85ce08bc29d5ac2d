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
from ._models import WIDTH, beside, lines

WEIGHTS = {"sample": "of the sample", "bytes": "of the corpus, by bytes"}


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a weight, control corpora left out."""
    rows = rows[rows["share"].notna() & (rows["role"] != "control")]
    if rows.empty:
        return []
    rows, grid, y, height = lines(rows)
    return [
        _panel(part, grid, y).properties(
            width=WIDTH, height=height, title=style.title(name, "right: times as likely as free text")
        )
        for weight, name in WEIGHTS.items()
        if not (part := rows[rows["weighted_by"] == weight]).empty
    ]


def _panel(rows: pd.DataFrame, grid: list[alt.Chart], y: alt.Y) -> ChartType:
    scale = alt.Scale(domain=[0, 1], nice=False)
    x = alt.X(
        "x:Q", title="structural share of what is memorized", scale=scale, axis=alt.Axis(format="~%", tickCount=5)
    )
    data = rows[["y", "colour", "low", "high"]].assign(
        x=rows["share"], text=[_ratio(row) for _, row in rows.iterrows()]
    )
    ink = style.plain("colour")
    return alt.layer(
        *grid,
        alt.Chart(data[["y"]].assign(x=rows["expected_share"]))
        .mark_tick(thickness=2, size=13, color=style.INK)
        .encode(x=x, y=y),
        alt.Chart(data).mark_rule(strokeWidth=1.5).encode(x="low:Q", x2="high", y=y, color=ink),
        alt.Chart(data).mark_point(size=42, filled=True, opacity=1).encode(x=x, y=y, color=ink),
        beside(data, y),
    )


def _ratio(row: pd.Series) -> str:
    """`1.7 (0.4 to 12)`; empty where a class is missing, `> 0.4` where no free text is memorized."""
    if pd.isna(row["ratio_low"]):
        return ""
    if pd.isna(row["ratio"]):
        return f"> {row['ratio_low']:.2g}"
    return f"{row['ratio']:.2g} ({row['ratio_low']:.2g} to {row['ratio_high']:.2g})"
