"""How much of its whole corpus does each model produce verbatim?

One dot is one model, with its 95 % interval. Left: each domain counts with its bytes in the corpus, so that the rate
is one for the corpus. Right: with its sample, as large for a small domain as for a large one. Hollow and grey: control
text that the model never saw. Models of a family stand from small to large.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _style as style
from ._models import dots

WEIGHTS = {"bytes": "the corpus\nweighted by bytes", "sample": "the sample\nas sampled"}


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a weight."""
    rows = rows[rows["rate"].notna()]
    scale = alt.Scale(domain=[0, style.top(rows["high"])], nice=False)
    x = alt.X("x:Q", title="sequences memorized", scale=scale, axis=alt.Axis(format="~%", tickCount=3))
    tips = style.tips(rows, "rate", "low", "high", about=["model", "corpus", "role"], n="n")
    panels = [name for weight, name in WEIGHTS.items() if (rows["weighted_by"] == weight).any()]
    return dots(rows.assign(x=rows["rate"], panel=rows["weighted_by"].map(WEIGHTS), tip=tips), panels, x)
