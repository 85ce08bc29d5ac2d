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

RUN = "`memlake compute run short_circuit --model MODEL --corpus CORPUS`, or `memlake demo` for everything"
QUARTERS = {1: "first quarter", 2: "second quarter", 3: "third quarter", 4: "last quarter"}
ENDS = ["x", "low", "high"]
BAR, ROW = 7, 20  # pixels of a bar, and of a model with its two


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a quarter, the models in the same places in all."""
    places, at = {}, 0.0
    for panel in style.panels(rows):
        for model in panel.models:
            places[model, panel.studied["corpus"].iloc[0]] = at
            at += 1
        at += 0.5
    several = rows.groupby("model")["corpus"].nunique() > 1
    names = pd.DataFrame({"text": [f"{m} on {c}" if several[m] else m for m, c in places], "y": places.values()})
    least = max(-0.5, min(0.0, rows["held_out_drop"].min()))
    x = alt.X(
        "x:Q",
        title="lost",
        scale=alt.Scale(domain=[least, 1], nice=False),
        axis=alt.Axis(format="~%", values=[-0.5, -0.25, 0, 0.25, 0.5, 0.75, 1]),
    )
    y = alt.Y("y:Q", scale=alt.Scale(domain=[at - 1, -0.5], nice=False), axis=None)
    bars = _bars(rows.assign(y=[places[key] for key in zip(rows["model"], rows["corpus"], strict=True)]))
    bars[ENDS] = bars[ENDS].clip(least, 1)
    return [
        _panel(bars[bars["quarter"] == quarter], names, x, y).properties(
            height=ROW * (at - 0.5), title=style.title(name, "of the blocks")
        )
        for quarter, name in QUARTERS.items()
    ]


def _bars(rows: pd.DataFrame) -> pd.DataFrame:
    """Two bars a row: `x` from `low` to `high`, its place `y`, its `colour`."""
    parts = []
    for name, shift, colours in (
        ("exact", -1, rows["family"].map(style.colour)),
        ("held_out", 1, pd.Series(style.CONTROL, rows.index)),
    ):
        values = {"x": f"{name}_drop", "low": f"{name}_drop_low", "high": f"{name}_drop_high"}
        parts.append(
            rows[["quarter"]].assign(
                y=rows["y"] + shift * BAR / 2 / ROW, colour=colours, **{k: rows[v] for k, v in values.items()}
            )
        )
    return pd.concat(parts, ignore_index=True).dropna(subset="x")


def _panel(bars: pd.DataFrame, names: pd.DataFrame, x: alt.X, y: alt.Y) -> ChartType:
    base, ink = alt.Chart(bars), style.plain("colour")
    return alt.layer(
        alt.Chart(names).mark_text(align="right", dx=-7, color=style.INK).encode(x=alt.value(0), y=y, text="text:N"),
        base.mark_bar(height=BAR - 1, opacity=0.55).encode(x=x, x2=alt.datum(0), y=y, color=ink),
        base.mark_rule(strokeWidth=1.2).encode(x="low:Q", x2="high", y=y, color=ink),
    ).properties(width=130)
