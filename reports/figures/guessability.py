"""How much of what a model memorizes could be guessed without having seen it?

One dot is one model in one domain, with its 95 % interval: the rate of sequences memorized, leaving out text that
repeats itself, counts up or fills in a template. The black tick is the rate over all text that was judged: the further
right of the dot it stands, the more of what is memorized is guessable; through the dot it says that nothing is. Filled:
text the model was trained on. Hollow and grey: control text.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _style as style
from ._models import by_domain

RUN = "`memlake ingest sample` and `memlake compute run scoring --model MODEL --corpus CORPUS`"


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a domain, structural ones first."""
    rows = rows[rows["rest_rate"].notna()]
    if rows.empty:
        return []
    scale = alt.Scale(domain=[0, style.top(rows[["rest_high", "rate"]].max(axis="columns"))], nice=False)
    x = alt.X("x:Q", title="memorized, guessable left out", scale=scale, axis=alt.Axis(format="~%", tickCount=3))
    about = ["model", "corpus", "role", "domain"]
    left, all_text = style.tips(rows, "rest_rate", "rest_low", "rest_high", about=about), rows["rate"].map(style.share)
    rows = rows.assign(x=rows["rest_rate"], low=rows["rest_low"], high=rows["rest_high"])
    return by_domain(rows.assign(tip=[f"{a}; of all text {b}" for a, b in zip(left, all_text, strict=True)]), x, "rate")
