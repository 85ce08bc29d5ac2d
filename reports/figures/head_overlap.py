"""Are the same heads important for different kinds of text?

One thin mark is one pair of domains: what the two sets of important heads (a fifth of all, by the drop of the
continuation's log-probability) share, as a Jaccard index. The dot is the mean over pairs. The grey mark is the mean
for sets drawn at random from all the model's heads, the black one for sets drawn at random within each layer: only what
lies beyond the black mark speaks of heads rather than layers. The ring is what two halves of one domain share, where
there is enough of it. Beside it: how many pairs share more than chance within layers would (p < 0.05, adjusted for all
pairs of the model).
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _heads as heads
from . import _style as style
from ._models import WIDTH, beside, lines

RUN = heads.RUN


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel."""
    rows = heads.shown(rows)
    if rows.empty:
        return []
    rows, grid, y, height = lines(rows)
    rows["half_jaccard"] = rows["half_jaccard"].astype(float)  # nothing but missing values is no number yet
    values = ["jaccard", "expected_jaccard", "expected_jaccard_by_layer", "half_jaccard"]
    scale = alt.Scale(domain=[0, style.top(rows[values].max().dropna())], nice=False)
    x = alt.X("x:Q", title="important heads shared (Jaccard)", scale=scale, axis=alt.Axis(format="~%", tickCount=5))
    groups = rows.groupby(["y", "colour"])
    means = groups[values].mean().reset_index()
    above = groups["p_by_layer_adjusted"].agg(lambda p: f"{(p < 0.05).sum()} of {len(p)}")
    means["text"] = above.to_list()
    ink = style.plain("colour")

    def at(column: str) -> alt.Chart:
        return alt.Chart(means.assign(x=means[column]).dropna(subset=["x"]))

    pairs = alt.Chart(rows[["y", "colour"]].assign(x=rows["jaccard"]))
    chart = alt.layer(
        *grid,
        pairs.mark_tick(thickness=1.2, size=10, opacity=0.45).encode(x=x, y=y, color=ink),
        at("expected_jaccard").mark_tick(thickness=2, size=13, color=style.CONTROL).encode(x=x, y=y),
        at("expected_jaccard_by_layer").mark_tick(thickness=2, size=13, color=style.INK).encode(x=x, y=y),
        at("half_jaccard")
        .mark_point(size=60, strokeWidth=1.5, opacity=1, fill="transparent")
        .encode(x=x, y=y, stroke=style.plain("colour", alt.Stroke)),
        at("jaccard").mark_point(size=42, filled=True, opacity=1).encode(x=x, y=y, color=ink),
        beside(means, y),
    )
    about = style.title("right: pairs above chance within layers")
    return [chart.properties(width=WIDTH, height=height, title=about)]
