"""How much of its prompt does a memorized text need?

The shortest end of the prompt (its last tokens) that still calls up the whole continuation, as a share of the prompt.
One dot is the median over what a model memorized in a domain, its line the middle half. Hollow and grey: control text,
memorized only in that it can be guessed. Models of a family stand from small to large.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _models as models
from . import _style as style

RUN = "`memlake compute run prompt_compression --model MODEL --corpus CORPUS`, or `memlake demo` for everything"


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a domain, structural ones first."""
    rows = rows[rows["window"] == "suffix"]
    rows = rows.assign(x=rows["median"], low=rows["lower"], high=rows["upper"])
    tips = style.tips(rows, "median", "lower", "upper", about=["model", "corpus", "role", "domain"], n="n")
    axis = alt.Axis(format="~%", values=[0, 0.5, 1])
    x = alt.X("x:Q", title="of the prompt needed", scale=alt.Scale(domain=[0, 1], nice=False), axis=axis)
    return models.by_domain(rows.assign(tip=tips), x)
