"""How many examples does a ranking of heads need?

Left: the reliability of the ranking, from halves of the sample and averaged over domains; 1 is a ranking that another
sample would repeat. Right: the smallest mean drop that is found with power 80 %. The ring is the sample that was
measured; dots are projected from it, pale for the fewest examples and dark for the most. No mark: too few documents or
heads.
"""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _heads as heads
from . import _style as style
from ._models import dot, lines

RUN = heads.RUN
MEAN = ["line", "family", "y", "colour", "fill"]


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """Two panels side by side."""
    rows = heads.shown(rows)
    if rows.empty:
        return []
    rows, y, height = lines(rows)
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
    bare = y.copy()
    bare["axis"] = alt.Axis(values=y["axis"]["values"], labels=False)
    panels = [
        alt.layer(
            dot(x, y if i == 0 else bare, 48),
            data=_dots(rows.assign(x=rows[column]).dropna(subset=["x"]), sizes, titles[column]),
            width=300,
            height=height,
            title=style.title(titles[column], about),
        )
        for i, (column, x) in enumerate(axes.items())
    ]
    return [alt.hconcat(*panels)]


def _dots(data: pd.DataFrame, sizes: Sequence[int], value: str) -> pd.DataFrame:
    """Projected numbers of examples as dots, the measured one, which may differ by domain, as a ring."""
    strengths = {n: 0.4 + 0.6 * i / len(sizes) for i, n in enumerate(sizes, 1)}
    data = data.assign(examples=data["examples"].where(data["projected"], 0))
    paler = [style.pale(c, strengths.get(n, 1)) for c, n in zip(data["colour"], data["examples"], strict=True)]
    data = data.assign(colour=paler, fill=pd.Series(paler, data.index).where(data["projected"], "transparent"))
    data = data.groupby([*MEAN, "examples"], as_index=False)["x"].mean().sort_values("examples", ascending=False)
    named = data.assign(by=data["examples"].map(lambda n: f"{n:,} examples" if n else "as measured"))
    return data.assign(shape="circle", tip=style.tips(named, "x", about=["line", "by"], said=style.number))
