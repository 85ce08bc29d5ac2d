"""Does code outlast prose when hidden states are disturbed?

Of the sequences still produced verbatim, the share from structural domains (code, maths, markup), by the strength of
the noise, with 95 % intervals, for the largest model of each family. Above each dot stands how many sequences (times
seeds) are left: the share is of those alone, so where they are few it says little, whatever its place; hollow below
ten. No dot: nothing is left. Dots that rise, their intervals apart, would say that free text is lost first.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _style as style

RUN = "`memlake compute run noise --model MODEL --corpus CORPUS`, or `memlake demo` for everything"
FEW = 10  # sequences


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a family, corpus, and layer and scope of the noise."""
    x = style.noise(rows)
    rows = rows[rows["share"].notna() & (rows["role"] != "control")]
    return [_panel(panel, x, place) for place, part in style.noises(rows) for panel in style.panels(part)]


def _panel(panel: style.Panel, x: alt.X, place: str) -> ChartType:
    y = style.percent([0, 1], "structural")
    rows = panel.studied[panel.studied["model"] == panel.largest]
    colour = style.colour(panel.family)
    data = rows[["low", "high"]].assign(
        x=rows["noise"],
        y=rows["share"],
        fill=["white" if n < FEW else colour for n in rows["n"]],
        text=rows["n"].astype(str),
        tip=style.tips(rows, "share", "low", "high", about=["model", "corpus"], n="n"),
    )
    base = alt.Chart().encode(x=x)
    title = style.under(panel.title, panel.largest, place, "sequences left:")
    title.offset = 22
    return alt.layer(
        base.mark_rule(strokeWidth=1.5, color=colour).encode(**style.between(y)),
        base.mark_point(size=36, strokeWidth=1.5, opacity=1, stroke=colour).encode(
            y=y, fill=style.plain("fill", alt.Fill), description=style.tip()
        ),
        base.mark_text(color=style.MUTED).encode(y=alt.YValue(-10), text=alt.Text("text:N")),
        data=data,
        width=style.WIDTH,
        height=style.HEIGHT,
        title=title,
    )
