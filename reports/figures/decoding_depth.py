"""How deep in the model is the next token settled?

For each model the depth from which the likeliest token (logit lens) stays the final one: the mean as a dot with its
95 % interval, the middle half of the positions as a bar. Full colour: memorized sequences. Pale: unmemorized ones
matched to some of these, of which the model is as certain; to the right: how many have a match, and their mean depth
less that of the matched. Grey: all unmemorized ones that were measured. Models of a family stand from small to large.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _style as style

RUN = "`memlake compute run layer_tokens --model MODEL --corpus CORPUS`, or `memlake demo` for everything"
ROW, GAP = 11, 0.8  # pixels of one group; groups between models


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a family and corpus."""
    return [_panel(panel) for panel in style.panels(rows) if not panel.studied.empty]


def _panel(panel: style.Panel) -> ChartType:
    colours = style.groups(panel.family)
    step = len(colours) + GAP
    places = {model: i * step for i, model in enumerate(panel.models)}
    end = len(panel.models) * step - GAP
    x = style.depth()
    y = alt.Y("y:Q", scale=alt.Scale(domain=[end - 0.5, -0.5], nice=False), axis=None)
    rows = panel.studied
    data = rows[["low", "high", "quartile_1", "quartile_3"]].assign(
        x=rows["depth"],
        y=rows["model"].map(places) + rows["group"].map({g: i for i, g in enumerate(colours)}),
        colour=rows["group"].map(colours),
        tip=style.tips(rows, "depth", "low", "high", about=["model", "group"], n="n"),
    )
    names = pd.DataFrame(
        {"text": [panel.label(m) for m in places], "y": [at + (len(colours) - 1) / 2 for at in places.values()]}
    )
    found = rows[rows["group"] == "memorized"]
    beside = pd.DataFrame({"y": found["model"].map(places), "text": [_beside(row) for _, row in found.iterrows()]})
    base, ink = alt.Chart(data), style.plain("colour")
    return alt.layer(
        alt.Chart(beside)
        .mark_text(align="left", dx=7, color=style.MUTED)
        .encode(x=alt.XValue("width"), y=y, text=alt.Text("text:N")),
        alt.Chart(names)
        .mark_text(align="right", dx=-7, color=style.INK)
        .encode(x=alt.value(0), y=y, text=alt.Text("text:N")),
        base.mark_bar(height=ROW - 4, opacity=0.3).encode(
            x=alt.X("quartile_1:Q"), x2=alt.X2("quartile_3"), y=y, color=ink
        ),
        base.mark_rule(strokeWidth=1.5).encode(x=alt.X("low:Q"), x2=alt.X2("high"), y=y, color=ink),
        base.mark_point(size=32, opacity=1, filled=True).encode(x=x, y=y, color=ink, description=style.tip()),
        width=style.WIDTH - 16,  # narrower than others: the text beside it is long
        height=ROW * end,
        title=panel.title,
    )


def _beside(row: pd.Series) -> str:
    """What the pairs of a model say."""
    if row["note"] == "no common support":
        return "no match"
    difference = "" if pd.isna(row["difference"]) else f": {row['difference']:+.2f}".replace("-", "\N{MINUS SIGN}")
    return f"{row['pairs']:.0f} of {row['n']}{difference}"
