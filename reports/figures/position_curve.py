"""Does a model that starts a text also finish it?

Share of tokens produced at each position of the continuation, with 95 % intervals. Solid: the model goes on from
its own output (greedy). Dashed: it is given the true tokens before (forced); the gap is what its own errors cost.
The darkest line is the largest model; grey is the same model on control text.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _style as style


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a family and corpus."""
    last = int(rows["position"].max())
    return [_panel(panel, last) for panel in style.panels(rows)]


def _panel(panel: style.Panel, last: int) -> ChartType:
    x = alt.X(
        "x:Q",
        title="token of the continuation",
        scale=alt.Scale(domain=[1, last + 1], nice=False),
        axis=alt.Axis(values=[1, *(round((last + 1) * i / 4) for i in range(1, 5))], grid=False),
    )
    y = style.percent([0, 1], "tokens produced")
    rows = style.curves(panel)
    rows["x"] = rows["position"] + 1  # people count tokens from 1
    about, named = ["model", "corpus", "role", "token"], rows.assign(token="token " + rows["x"].astype(str))
    greedy = rows[["text", "corpus", "colour", "x", "greedy_low", "greedy_high"]].assign(
        y=rows["greedy"], tip=style.tips(named, "greedy", "greedy_low", "greedy_high", about=about)
    )
    forced = rows[["text", "corpus", "colour", "x"]].assign(
        y=rows["forced"],
        tip=style.tips(named, "forced", "forced_low", "forced_high", about=about, is_called="forced"),
    )
    greedy, forced = greedy.dropna(subset=["y", "greedy_low"]), forced.dropna(subset=["y"])
    base = alt.Chart(greedy).encode(x=x, detail=style.CURVE)
    low = y.copy()
    low.shorthand = "greedy_low:Q"
    layers: list[ChartType] = [
        base.mark_area(opacity=0.15).encode(y=low, y2=alt.Y2("greedy_high"), fill=style.plain("colour", alt.Fill)),
        base.mark_line(strokeWidth=2).encode(y=y, color=style.plain("colour")),
        alt.Chart(forced)
        .mark_line(strokeWidth=1.2, strokeDash=[3, 2])
        .encode(x=x, y=y, detail=style.CURVE, color=style.plain("colour")),
        style.end_labels(greedy if len(greedy) else forced, x, y),
        style.hover(forced, x, y),
        style.hover(greedy, x, y),
    ]
    return alt.layer(*layers, width=style.WIDTH, height=style.HEIGHT, title=panel.title)
