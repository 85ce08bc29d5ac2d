"""Which attention heads does verbatim text depend on?

Layers from bottom to top, heads from left to right, for the largest model of each family. The darker a head, the less
likely the continuation becomes when the head's output is replaced by the mean of its layer's other heads, averaged over
domains, on a square-root scale up to the strongest head, whose drop stands above. Grey: the continuation becomes
likelier. Empty: screening dropped the head before it was measured.
"""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd
from altair.typing import ChartType

from . import _heads as heads
from . import _style as style

RUN = heads.RUN
STEPS = 8  # shades


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a family and corpus."""
    return [_panel(panel) for panel in style.panels(heads.shown(rows))]


def cells(rows: pd.DataFrame) -> pd.DataFrame:
    """Runs of neighbouring heads of one shade, from head `x` up to head `x2`: a model of 2,560 heads takes hundreds of
    shapes. shade: -STEPS to STEPS."""
    drops = rows.groupby(["layer", "head"], as_index=False)["mean_drop"].mean().dropna()
    relative = drops["mean_drop"] / (drops["mean_drop"].abs().max() or 1)
    drops["shade"] = (np.sign(relative) * np.ceil(STEPS * np.sqrt(relative.abs()) - 0.5)).astype(int)
    drops = drops.sort_values(["layer", "head"])
    before = drops.shift()
    joined = (
        (drops["layer"] == before["layer"])
        & (drops["head"] == before["head"] + 1)
        & (drops["shade"] == before["shade"])
    )
    runs = drops.groupby((~joined).cumsum())
    found = runs.agg(layer=("layer", "first"), shade=("shade", "first"), x=("head", "first"), x2=("head", "last"))
    return found.assign(x2=found["x2"] + 1, y=found["layer"], y2=found["layer"] + 1)


def _panel(panel: style.Panel) -> ChartType:
    rows = panel.studied[panel.studied["model"] == panel.largest]
    layers, width = int(rows["layer"].max()) + 1, int(rows["head"].max()) + 1
    data = cells(rows)
    ink = style.colour(panel.family)
    data["colour"] = [style.pale(ink if s >= 0 else style.CONTROL, 0.04 + 0.96 * abs(s) / STEPS) for s in data["shade"]]
    x = alt.X("x:Q", title="head", scale=alt.Scale(domain=[0, width], nice=False), axis=_whole(width))
    y = alt.Y("y:Q", title="layer", scale=alt.Scale(domain=[0, layers], nice=False), axis=_whole(layers))
    most = rows.groupby(["layer", "head"])["mean_drop"].mean().max()
    about = f"{rows['domain'].nunique()} domains; strongest head {most:.2g} nats"
    heading = style.under(panel.title, panel.largest, about.replace("-", "\N{MINUS SIGN}"))
    frame = pd.DataFrame({"x": [0], "x2": [width], "y": [0], "y2": [layers]})
    place = {"x": x, "x2": "x2:Q", "y": y, "y2": "y2:Q"}
    return alt.layer(
        alt.Chart(frame).mark_rect(fill="white", stroke=style.CONTROL, strokeWidth=0.7).encode(**place),
        alt.Chart(data).mark_rect().encode(**place, color=style.plain("colour")),
    ).properties(width=style.WIDTH, height=style.HEIGHT, title=heading)


def _whole(n: int) -> alt.Axis:
    """Some whole numbers below n, at the middle of their cells."""
    step = max(1, 2 ** int(np.ceil(np.log2(n / 8))))
    return alt.Axis(values=[i + 0.5 for i in range(0, n, step)], labelExpr="floor(datum.value)", grid=False)
