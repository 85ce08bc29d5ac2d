"""Which of two models memorizes more of the same text?

One dot is one pair of models of a family: the rate of the second less that of the first on the sequences that both were
asked about, with its 95 % interval. Filled: a difference that McNemar's test, corrected for all pairs of the family,
finds (p below 0.05). Right of 0 the second memorizes more. Beside it: sequences that only the first memorized, and only
the second.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _style as style
from ._models import ROW

WIDTH, FOUND = 200, 0.05  # pixels; p below which a difference is taken to be one


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a family and corpus."""
    if rows.empty:
        return []
    ends = [-style.top(-rows["low"]) if rows["low"].min() < 0 else 0, style.top(rows["high"])]
    x = alt.X("difference:Q", title="second less first", scale=alt.Scale(domain=ends), axis=alt.Axis(format="~%"))
    return [
        _panel(part, style.title(f"{family} (miniatures)" if miniature else family, corpus, style.colour(family)), x)
        for family, miniature in style.families(rows)
        for corpus, part in rows[(rows["family"] == family) & (rows["miniature"] == miniature)].groupby("corpus")
    ]


def _panel(rows: pd.DataFrame, title: alt.TitleParams, x: alt.X) -> ChartType:
    colour = title.color
    rows = rows.assign(
        y=range(len(rows)), text=rows["model_a"] + ", " + rows["model_b"],
        counts=rows["only_a"].astype(str) + " : " + rows["only_b"].astype(str),
        fill=[colour if p < FOUND else "white" for p in rows["p_holm"]],
    )  # fmt: skip
    y = alt.Y("y:Q", scale=alt.Scale(domain=[len(rows) - 0.3, -0.7], nice=False), axis=None)
    base = alt.Chart(rows)
    layers = [
        base.mark_rule(color=style.GRID).encode(y=y),
        base.mark_text(align="right", dx=-7, color=style.INK).encode(x=alt.value(0), y=y, text="text:N"),
        base.mark_text(align="left", dx=7, color=style.MUTED).encode(x=alt.value(WIDTH), y=y, text="counts:N"),
        alt.Chart(pd.DataFrame({"difference": [0]})).mark_rule(color=style.MUTED, strokeDash=[3, 3]).encode(x=x),
        base.mark_rule(strokeWidth=1.3, color=colour).encode(x="low:Q", x2="high", y=y),
        base.mark_point(size=42, strokeWidth=1.5, opacity=1, stroke=colour).encode(
            x=x, y=y, fill=style.plain("fill", alt.Fill)
        ),
    ]
    return alt.layer(*layers).properties(width=WIDTH, height=ROW * (len(rows) + 0.4), title=title)
