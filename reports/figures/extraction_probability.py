"""How much could an adversary extract who may try many times?

Share of sequences that n samples from the prefix hold at least once with probability p or more, with 95 %
intervals (bands, of the smallest and the largest p), for the largest model of each family. Nothing is sampled: the
probability of each continuation is exact. Grey: the same model on control text, at the smallest p. The vertical axis
ends where the intervals do, the same in all panels.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _style as style


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a family and corpus."""
    rows = rows[rows["rate"].notna()]
    panels = list(style.panels(rows))
    upper = style.top(
        pd.concat([p.studied.loc[p.studied["model"] == p.largest, "high"] for p in panels] or [rows.high])
    )
    return [_panel(panel, [rows["attempts"].min(), rows["attempts"].max()], upper) for panel in panels]


def _panel(panel: style.Panel, across: list[int], upper: float) -> ChartType:
    x = alt.X(
        "x:Q",
        title="n, samples drawn",
        scale=alt.Scale(type="log", domain=[int(a) for a in across], nice=False),
        axis=alt.Axis(values=[10**i for i in range(0, 13, 2)], labelExpr=style.SIZE_LABELS, grid=False),
    )
    y = style.percent([0, upper], "sequences extractable")
    rows = style.curves(panel)
    levels = sorted(rows["probability"].unique())
    control = rows["role"] == "control"
    rows = rows[(rows["model"] == panel.largest) & (~control | (rows["probability"] == levels[0]))]
    rows = rows.sort_values("probability", ascending=False, kind="stable")  # the easiest on top
    shades = {p: style.pale(style.colour(panel.family), 1 - 0.6 * i / len(levels)) for i, p in enumerate(levels)}
    control = rows["role"] == "control"
    data = rows[["corpus", "top_k", "temperature", "low", "high"]].assign(
        x=rows["attempts"],
        y=rows["rate"],
        colour=rows["probability"].map(shades).mask(control, style.CONTROL),
        text=rows["probability"].map("p = {:g}".format).mask(control, "control"),
        tip=style.tips(
            rows.assign(p=rows["probability"].map("p = {:g}".format), n=rows["attempts"].map("n = {:,}".format)),
            "rate", "low", "high", about=["model", "corpus", "p", "n"],
        ),
    )  # fmt: skip
    detail = [*style.CURVE, alt.Detail("top_k:N"), alt.Detail("temperature:N")]
    base = alt.Chart(data).encode(x=x, detail=detail)
    outer = alt.Chart(data[rows["probability"].isin([levels[0], levels[-1]])]).encode(x=x, detail=detail)
    return alt.layer(
        outer.mark_area(opacity=0.13, clip=True).encode(**style.between(y), fill=style.plain("colour", alt.Fill)),
        base.mark_line(strokeWidth=1.8, clip=True).encode(y=y, color=style.plain("colour")),
        style.end_labels(data, x, y, upper=upper),
        style.hover(data, x, y),
        width=style.WIDTH,
        height=style.HEIGHT,
        title=style.under(panel.title, panel.largest),
    )
