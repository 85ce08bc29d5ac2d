"""How many memorized texts come back from a few tokens?

Share of memorized sequences that some end of the prompt (its last tokens) of this length or shorter calls up, all
domains together. Dashed, for the largest model: those that this very length calls up; where it runs below, a longer
prompt fails although a shorter one does not. The darkest line is the largest model; grey is the same model on control
text.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _style as style

RUN = "`memlake compute run prompt_compression --model MODEL --corpus CORPUS`, or `memlake demo` for everything"


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a family and corpus. Of prompts of several lengths those of which there are most are drawn."""
    rows = rows[rows["window"] == "suffix"]
    if rows.empty:
        return []
    length = int(rows.groupby("prefix_tokens")["sequences"].sum().idxmax())
    return [_panel(panel, length) for panel in style.panels(rows[rows["prefix_tokens"] == length])]


def _panel(panel: style.Panel, length: int) -> ChartType:
    x = alt.X(
        "x:Q",
        title=f"tokens of the prompt kept, of {length}",
        scale=alt.Scale(domain=[0, length], nice=False),
        axis=alt.Axis(values=[round(length * i / 4) for i in range(5)], grid=False),
    )
    y = style.percent([0, 1], "of the memorized")
    rows = style.curves(panel)
    data = rows[["text", "corpus", "colour"]].assign(
        x=rows["kept"],
        y=rows["reached"],
        tip=style.tips(
            rows.assign(kept="at most " + rows["kept"].astype(str) + " tokens"), "reached",
            about=["model", "corpus", "role", "kept"], n="n",
        ),
    )  # fmt: skip
    very = (rows["model"] == panel.largest) & (rows["role"] != "control")
    base = {"x": x, "y": y, "detail": style.CURVE, "color": style.plain("colour")}
    first, last = (panel.label(m) for m in (panel.models[0], panel.largest))  # all lines end at 100 %: no room there
    sizes = f"{first} (pale) to {last}" if first != last else last
    return alt.layer(
        alt.Chart(data).mark_line(strokeWidth=1.8).encode(**base),
        style.hover(data, x, y),
        alt.Chart(data.assign(y=rows["suffices"])[very]).mark_line(strokeWidth=1.2, strokeDash=[3, 2]).encode(**base),
        width=style.WIDTH,
        height=style.HEIGHT,
        title=style.under(panel.title, sizes),
    )
