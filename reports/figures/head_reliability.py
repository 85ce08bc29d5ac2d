"""How many examples does a ranking of heads need?

Left: the reliability of the ranking, from halves of the sample and averaged over domains; 1 is a ranking that another
sample would repeat. Right: the smallest mean drop that is found with power 80 %. The ring is the sample that was
measured; dots are projected from it, pale for the fewest examples and dark for the most. No mark: too few documents or
heads.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _heads as heads
from . import _style as style
from ._models import lines

RUN = heads.RUN
MEAN = ["model", "family", "y", "colour"]


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """Two panels."""
    rows = heads.shown(rows)
    if rows.empty:
        return []
    rows, grid, y, height = lines(rows)
    found = rows.loc[rows["detectable_drop"] > 0, "detectable_drop"]
    ends = [found.min() / 1.3, found.max() * 1.3] if len(found) else [0.1, 1]
    steps = [10.0**i * m for i in range(-5, 4) for m in (1, 2, 5)]
    drops = alt.Scale(type="log", domain=ends, nice=False)
    axes = {
        "reliability": alt.X("x:Q", title="reliability", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(tickCount=5)),
        "detectable_drop": alt.X("x:Q", title="nats", scale=drops, axis=alt.Axis(format="~g", values=steps)),
    }
    titles = {"reliability": "reliability of the ranking", "detectable_drop": "smallest drop found"}
    sizes = sorted(rows.loc[rows["projected"], "examples"].unique())
    about = f"dots: {', '.join(f'{n:,}' for n in sizes)} examples"
    panels: list[ChartType] = []
    for column, x in axes.items():
        layers = [*grid, *_dots(rows.assign(x=rows[column]).dropna(subset=["x"]), x, y)]
        panels.append(alt.layer(*layers).properties(width=230, height=height, title=style.title(titles[column], about)))
    return panels


def _dots(data: pd.DataFrame, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """Projected numbers of examples as dots, the measured one, which may differ by domain, as a ring."""
    sizes = sorted(data.loc[data["projected"], "examples"].unique())
    layers = []
    for i, examples in enumerate(sizes):
        part = data[data["examples"] == examples].groupby(MEAN, as_index=False)["x"].mean()
        strength = 0.4 + 0.6 * (i + 1) / len(sizes)
        part["colour"] = [style.pale(c, strength) for c in part["colour"]]
        layers.append(
            alt.Chart(part).mark_point(size=42, filled=True, opacity=1).encode(x=x, y=y, color=style.plain("colour"))
        )
    own = data[~data["projected"]].groupby(MEAN, as_index=False)["x"].mean()
    ring = alt.Chart(own).mark_point(size=60, strokeWidth=1.5, opacity=1, fill="transparent")
    return [*layers, ring.encode(x=x, y=y, stroke=style.plain("colour", alt.Stroke))]
