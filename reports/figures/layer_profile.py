"""At what depth do the heads lie that verbatim text depends on?

The mean drop of the continuation's log-probability when one head of a layer is replaced, by relative depth (0: first
layer, 1: last), as a share of the model's largest. Between layers the line is straight. The darkest line is the
largest model. Below 0: without such heads the text becomes likelier.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _heads as heads
from . import _style as style

RUN = heads.RUN


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a family and corpus."""
    rows = heads.shown(rows)
    rows = rows[rows["relative"].notna()]
    if rows.empty:
        return []
    lower = max(-0.5, min(0.0, rows["relative"].min()))
    return [_panel(panel, lower) for panel in style.panels(rows)]


def _panel(panel: style.Panel, lower: float) -> ChartType:
    x = alt.X(
        "x:Q",
        title="relative depth of the layer",
        scale=alt.Scale(domain=[0, 1], nice=False),
        axis=alt.Axis(values=[0, 0.5, 1], grid=False),
    )
    y = style.percent([lower, 1], "drop, of the largest")
    rows = style.curves(panel)
    depth = rows["depth"].map("depth {:.2g}".format)
    data = rows[["text", "corpus", "colour"]].assign(
        x=rows["depth"],
        y=rows["relative"].clip(lower=lower),
        tip=style.tips(rows.assign(depth=depth), "relative", about=["model", "corpus", "depth"]),
    )
    return alt.layer(
        alt.Chart(data).mark_line(strokeWidth=1.8).encode(x=x, y=y, detail=style.CURVE, color=style.plain("colour")),
        style.end_labels(data, x, y, lower=lower),
        style.hover(data, x, y),
        width=style.WIDTH,
        height=style.HEIGHT,
        title=style.under(panel.title, cut) if (cut := _cut(rows, lower)) else panel.title,
    )


def _cut(rows: pd.DataFrame, lower: float) -> str:
    """What of the lines is not on the picture."""
    low = rows["relative"].min()
    return f"cut off: down to {style.share(low)}".replace("-", style.MINUS) if low < lower else ""
