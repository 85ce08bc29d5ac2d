"""How often must a text be shown before a model memorizes it?

Share of sequences memorized, by how many times training showed their document, with 95 % intervals. Each number of
exposures stands for itself. At 0: documents of the same corpus that were never shown, and, hollow and grey, control
text. The darkest line is the largest model.
"""

from __future__ import annotations

import math

import altair as alt
import pandas as pd

from . import _style as style

RUN = "`memlake demo`, whose miniatures are trained with recorded exposures"
ZERO = 0.4  # where 0 stands on a logarithmic axis that begins at 1


def draw(rows: pd.DataFrame) -> list[alt.Chart]:
    """One panel a family and corpus."""
    rows = rows[rows["exposures"].notna()]
    if rows.empty:
        return []
    doublings = math.ceil(math.log2(max(rows["exposures"].max(), 2)))
    ticks = [ZERO, *(2.0**i for i in range(0, doublings + 1, 1 + doublings // 9))]
    return [_panel(panel, ticks, 2.0**doublings) for panel in style.panels(rows)]


def _panel(panel: style.Panel, ticks: list[float], most: float) -> alt.LayerChart:
    x = alt.X(
        "x:Q",
        title="times shown in training",
        scale=alt.Scale(type="log", base=2, domain=[ZERO * 0.8, most * 1.12], nice=False),
        axis=alt.Axis(values=ticks, labelExpr="datum.value < 1 ? '0' : format(datum.value, '~s')", grid=False),
    )
    y = style.percent([0, 1], "sequences memorized")
    rows = style.curves(panel)
    control = rows["role"] == "control"
    data = rows[["text", "corpus", "colour", "low", "high"]].assign(
        y=rows["rate"],
        fill=rows["colour"].mask(control, "white"),
        # control text stands beside what was never shown, not upon it
        x=rows["exposures"].astype(float).where(rows["exposures"] > 0, control.map({True: 0.85 * ZERO, False: ZERO})),
    )
    shown = data[data["x"] >= 1]
    base, ink = alt.Chart(data).encode(x=x), style.plain("colour")
    layers = [
        base.mark_rule(strokeWidth=1).encode(y="low:Q", y2="high", color=ink),
        alt.Chart(shown).mark_line(strokeWidth=1.8).encode(x=x, y=y, detail=["text:N", "corpus:N"], color=ink),
        base.mark_point(size=26, opacity=1, strokeWidth=1.3).encode(
            y=y, stroke=style.plain("colour", alt.Stroke), fill=style.plain("fill", alt.Fill)
        ),
    ]
    if len(shown):
        layers.append(style.end_labels(shown, x, y))
    return alt.layer(*layers).properties(width=style.WIDTH, height=style.HEIGHT, title=panel.title)
