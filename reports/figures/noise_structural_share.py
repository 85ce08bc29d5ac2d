"""Does code outlast prose when hidden states are disturbed?

Of the sequences still produced verbatim, the share from structural domains (code, maths, markup), by the strength of
the noise, with 95 % intervals. A line that rises says that free text is lost first. The darkest line is the largest
model; grey is the same model on control text. A line ends where nothing is left.
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
    rows = rows[rows["share"].notna()]
    return [_panel(panel, x, place) for place, part in style.noises(rows) for panel in style.panels(part)]


def _panel(panel: style.Panel, x: alt.X, place: str) -> ChartType:
    y = style.percent([0, 1], "structural")
    rows = style.curves(panel)
    data = rows[["text", "corpus", "colour", "low", "high"]].assign(x=rows["noise"], y=rows["share"])
    return alt.layer(*style.banded(data, x, y)).properties(
        width=style.WIDTH, height=style.HEIGHT, title=style.under(panel.title, place)
    )
