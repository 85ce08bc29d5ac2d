"""Where in the model does attention serve memorization more than ability?

One block at a time is short-circuited; the bars are means over the blocks of a quarter of the depth, both relative to
the whole model, with 95 % intervals. Colour: share of the memorized sequences that is lost. Grey: share of the correct
predictions on control text that is lost. A long coloured bar over a short grey one is memory without ability. Models
of a family stand from small to large; one with fewer than four blocks has no bars in some quarters.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _style as style
from ._models import across, interval, names, places_of

RUN = "`memlake compute run short_circuit --model MODEL --corpus CORPUS`, or `memlake demo` for everything"
QUARTERS = {1: "first quarter", 2: "second quarter", 3: "third quarter", 4: "last quarter"}
ENDS = ["x", "low", "high"]
LEAST, BAR, ROW = -0.5, 7, 20  # where the axis begins at the earliest; pixels of a bar, and of a model with its two


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a quarter, the models in the same places in all."""
    if rows.empty:
        return []
    several = rows.groupby("model")["corpus"].transform("nunique") > 1
    line = rows["model"].where(~several, rows["model"] + " on " + rows["corpus"])
    at, end = places_of(rows.assign(model=line))
    bars = _bars(rows.assign(y=line.map(at)))
    least = max(LEAST, min(0.0, bars["x"].min()))
    bars["text"] = [style.share(x).replace("-", style.MINUS) if x < least else "" for x in bars["x"]]
    bars[ENDS] = bars[ENDS].clip(least, 1)
    bars["zero"] = 0.0
    x = alt.X(
        "x:Q",
        title="lost",
        scale=alt.Scale(domain=[least, 1], nice=False),
        axis=alt.Axis(format="~%", values=[-0.5, -0.25, 0, 0.25, 0.5, 0.75, 1]),
    )
    y = names(at, end)
    bar = alt.Chart().mark_bar(height=BAR - 1, opacity=0.55)
    said = alt.Chart().mark_text(align="left", dx=3, fontSize=9, color=style.INK)
    layers = [
        bar.encode(x=x, x2=alt.X2("zero"), y=y, color=style.plain("colour"), description=style.tip()),
        interval(x, y),
    ]
    if bars["text"].any():  # what is cut off
        layers.append(said.encode(x=x, y=y, text=alt.Text("text:N")))
    return across(bars, list(QUARTERS.values()), layers, at, ROW * (end + 0.7))


def _bars(rows: pd.DataFrame) -> pd.DataFrame:
    """Two bars a row: `x` from `low` to `high`, its place `y`, its `colour`, its `panel`."""
    parts = []
    for name, shift, colours, lost in (
        ("exact", -1, rows["family"].map(style.colour), "memorized sequences lost"),
        ("held_out", 1, pd.Series(style.CONTROL, rows.index), "correct predictions lost"),
    ):
        values = {"x": f"{name}_drop", "low": f"{name}_drop_low", "high": f"{name}_drop_high"}
        panel = rows["quarter"].map(QUARTERS)
        parts.append(
            pd.DataFrame({k: rows[v] for k, v in values.items()}).assign(
                y=rows["y"] + shift * BAR / 2 / ROW,
                colour=colours,
                panel=panel,
                tip=style.tips(rows.assign(panel=panel), *values.values(), about=["model", "panel"], is_called=lost),
            )
        )
    return pd.concat(parts, ignore_index=True).dropna(subset="x")
