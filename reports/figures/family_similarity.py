"""Are the models of one family more alike inside than those of different families?

Filled: the mean similarity of layer profiles between two models of the family, with its least and most alike pair.
Hollow: between one of its models and one of another family. The axis begins just below the least similarity, as its
title says, so that differences are seen: they may be small. Beside it: how often families dealt at random differ as
much, adjusted for the number of families that are tested (p), or that there are too few models to say.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from memlake.reports.text import count

from . import _heads as heads
from . import _style as style

RUN = heads.RUN
ROW = 22  # pixels


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel for published models, one for miniatures."""
    rows = heads.shown(rows)
    least = rows[["within", "across", "within_low"]].astype(float).min().min()
    lower = 1 - style.top(pd.Series([1.02 * (1 - least)])) if least > 0 else -1.0
    return [_panel(part, bool(miniature), lower) for miniature, part in rows.groupby("miniature")]


def _panel(rows: pd.DataFrame, miniature: bool, lower: float) -> ChartType:
    rows = rows.sort_values("family", key=lambda f: f.map(style.rank))
    data = rows[["family", "within", "across", "within_low", "within_high"]].assign(
        at=range(len(rows)),
        colour=rows["family"].map(style.colour),
        text=[_text(row) for _, row in rows.iterrows()],
    )
    y = alt.Y("at:Q", scale=alt.Scale(domain=[len(rows) - 0.4, -0.6], nice=False), axis=None)
    scale = alt.Scale(domain=[lower, 1], nice=False)
    heading = f"similarity of layer profiles, from {lower:g} to 1".replace("-", style.MINUS)
    x = alt.X("x:Q", title=heading, scale=scale, axis=alt.Axis(tickCount=5, format="~g"))
    ink, base = style.plain("colour"), alt.Chart(data)
    points = {
        name: alt.Chart(
            data.assign(
                x=data[name],
                tip=style.tips(data, name, *ends, about=["family"], said=style.number, is_called=f"{name} families"),
            ).dropna(subset=["x"])
        )
        for name, ends in (("across", ()), ("within", ("within_low", "within_high")))
    }
    low = x.copy()
    low.shorthand = "within_low:Q"
    ranges = alt.Chart(data[data["within"].notna()])
    return alt.layer(
        base.mark_rule(color=style.GRID).encode(y=y),
        base.mark_text(align="right", dx=-7).encode(x=alt.value(0), y=y, text=alt.Text("family:N"), color=ink),
        ranges.mark_rule(strokeWidth=1.5).encode(x=low, x2=alt.X2("within_high"), y=y, color=ink),
        points["across"]
        .mark_point(size=48, strokeWidth=1.5, opacity=1, fill="white")
        .encode(x=x, y=y, stroke=style.plain("colour", alt.Stroke), description=style.tip()),
        points["within"]
        .mark_point(size=48, filled=True, opacity=1)
        .encode(x=x, y=y, color=ink, description=style.tip()),
        base.mark_text(align="left", dx=7, color=style.MUTED).encode(x=alt.value(260), y=y, text=alt.Text("text:N")),
        width=260,
        height=ROW * len(rows),
        title=style.title("miniatures" if miniature else "published models"),
    )


def _text(row: pd.Series) -> str:
    tested = row["note"] if isinstance(row["note"], str) else f"p = {row['p_adjusted']:.2g}"
    return f"{count(row['models'], 'model')}, {tested}"
