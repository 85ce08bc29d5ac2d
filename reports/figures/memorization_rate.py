"""How much of its training text does each model produce verbatim?

One dot is one model in one domain, with its 95 % interval. Filled: text the model was trained on. Hollow and grey:
control text it never saw, which says how much can be guessed. Models of a family stand from small to large.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _models as models
from . import _style as style


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a domain, structural ones first."""
    scale = alt.Scale(domain=[0, style.top(rows["high"])], nice=False)
    x = alt.X("x:Q", title="sequences memorized", scale=scale, axis=alt.Axis(format="~%", tickCount=3))
    tips = style.tips(rows, "rate", "low", "high", about=["model", "corpus", "role", "domain"], n="n")
    return models.by_domain(rows.assign(x=rows["rate"], tip=tips), x)
