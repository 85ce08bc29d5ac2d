"""How much of what is memorized survives noise?

Share of the sequences memorized without noise that are still produced verbatim when noise is added to the hidden
states, by its strength, with 95 % intervals. The darkest line is the largest model; grey is the same model on control
text. Dashed, for the largest model: the share that is produced of unmemorized text, matched to some of the memorized,
of which it is as certain.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _style as style

RUN = "`memlake compute run noise --model MODEL --corpus CORPUS`, or `memlake demo` for everything"


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a family, corpus, and layer and scope of the noise."""
    x = style.noise(rows)
    return [_panel(panel, x, place) for place, part in style.noises(rows) for panel in style.panels(part)]


def _panel(panel: style.Panel, x: alt.X, place: str) -> ChartType:
    y = style.percent([0, 1], "produced verbatim")
    rows = style.curves(panel)
    data = rows[["text", "corpus", "colour", "low", "high"]].assign(
        x=rows["noise"],
        y=rows["rate"],
        tip=style.tips(
            rows.assign(noise=rows["noise"].map("noise {:g}".format)), "rate", "low", "high",
            about=["model", "corpus", "role", "group", "noise"], n="n",
        ),
    )  # fmt: skip
    matched = (rows["group"] == "matched") & (rows["model"] == panel.largest) & (rows["role"] != "control")
    support = style.support(rows[(rows["model"] == panel.largest) & (rows["role"] != "control")])
    dashed = alt.Chart(data[matched]).mark_line(strokeWidth=1.2, strokeDash=[3, 2])
    return alt.layer(
        *style.banded(data[rows["group"] == "memorized"], x, y),
        style.hover(data[matched], x, y),
        dashed.encode(x=x, y=y, detail=alt.Detail("corpus:N"), color=style.plain("colour")),
        width=style.WIDTH,
        height=style.HEIGHT,
        title=style.under(panel.title, place, support),
    )
