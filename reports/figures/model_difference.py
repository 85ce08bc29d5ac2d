"""Which of two models memorizes more of the same text?

One dot is one pair of models of a family: the rate of the second less that of the first on the sequences that both were
asked about, with its 95 % interval. Filled: a difference that McNemar's test, corrected for all pairs of the family,
finds (p below 0.05). Right of 0 the second memorizes more. Beside it: sequences that only the first memorized, and only
the second.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _style as style
from ._models import ROW, across, beside, dot, interval, names, zero

FOUND = 0.05  # p below which a difference is taken to be one


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a corpus, the pairs of all families in the same places."""
    if rows.empty:
        return []
    ends = [-style.top(-rows["low"]) if rows["low"].min() < 0 else 0, style.top(rows["high"])]
    x = alt.X("x:Q", title="second less first", scale=alt.Scale(domain=ends), axis=alt.Axis(format="~%", tickCount=4))
    pair = rows["model_a"] + ", " + rows["model_b"]
    at: dict[str, float] = {}
    for i, (family, miniature) in enumerate(style.families(rows)):
        own = pair[(rows["family"] == family) & (rows["miniature"] == miniature)].unique()
        at |= {name: len(at) + place + 0.6 * i for place, name in enumerate(own)}
    colour = rows["family"].map(style.colour)
    tips = style.tips(rows.assign(pair=pair), "difference", "low", "high", about=["pair", "corpus"], said=style.points)
    data = rows[["corpus", "low", "high"]].assign(
        x=rows["difference"],
        y=pair.map(at),
        colour=colour,
        fill=colour.where(rows["p_holm"] < FOUND, "white"),
        shape="circle",
        text=rows["only_a"].astype(str) + " : " + rows["only_b"].astype(str),
        tip=[f"{tip}, p {style.number(p)}" for tip, p in zip(tips, rows["p_holm"], strict=True)],
        panel=rows["corpus"],
    )
    end = max(at.values()) + 0.7
    y = names(at, end)
    return across(
        data,
        sorted(rows["corpus"].unique()),
        [zero(), interval(x, y), dot(x, y), beside(y)],
        at,
        ROW * (end + 0.7),
        room=50,
    )
