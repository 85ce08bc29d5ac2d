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
from ._models import WIDTH, beside, dot, lines, tick

RUN = heads.RUN


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel."""
    rows = heads.shown(rows)
    if rows.empty:
        return []
    rows, y, height = lines(rows)
    values = ["jaccard", "expected_jaccard", "expected_jaccard_by_layer", "half_jaccard"]
    rows[values] = rows[values].astype(float)  # nothing but missing values is no number yet
    scale = alt.Scale(domain=[0, style.top(rows[values].max().dropna())], nice=False)
    x = alt.X("x:Q", title="important heads shared (Jaccard)", scale=scale, axis=alt.Axis(format="~%", tickCount=5))
    groups = rows.groupby(["line", "y", "colour"])
    means = groups[values].mean().reset_index()
    means["text"] = groups["p_by_layer_adjusted"].agg(lambda p: f"{(p < 0.05).sum()} of {len(p)}").to_list()
    means = means.assign(x=means["jaccard"], fill=means["colour"], shape="circle")
    means["tip"] = style.tips(means, "jaccard", about=["line"], is_called="mean over pairs")
    pairs = rows[["y", "colour"]].assign(
        x=rows["jaccard"],
        tip=style.tips(rows.assign(pair=rows["domain_a"] + " and " + rows["domain_b"]), "jaccard",
                       about=["line", "pair"]),
    )  # fmt: skip
    half = x.copy()
    half.shorthand = "half_jaccard:Q"
    ink = style.plain("colour")
    pair = alt.Chart(pairs).mark_tick(orient="vertical", thickness=1.2, size=10, opacity=0.45)
    ring = alt.Chart().mark_point(size=60, strokeWidth=1.5, opacity=1, fill="transparent")
    layers = [
        pair.encode(x=x, y=y, color=ink, description=style.tip()),
        tick("expected_jaccard", style.CONTROL, x, y),
        tick("expected_jaccard_by_layer", style.INK, x, y),
        ring.encode(x=half, y=y, stroke=style.plain("colour", alt.Stroke)),
        dot(x, y),
        beside(y),
    ]
    about = style.title("right: pairs above chance within layers")
    return [alt.layer(*layers, data=means, width=WIDTH, height=height, title=about)]
