"""Do later layers undo noise, and less so in memorized text?

Cosine between disturbed and clean hidden states after each layer, over the positions that predict the continuation,
with 95 % intervals, for the largest model of each family at the greatest strength measured. Full colour: memorized
sequences. Pale: unmemorized ones matched to some of these, of which the model is as certain. Grey: all unmemorized
ones. A line that rises after the noise entered is recovery; above the panel stands by how much more the memorized that
have a match recover than it, at the last layer, with its interval.
"""

from __future__ import annotations

import math

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _style as style

RUN = "`memlake compute run noise --model MODEL --corpus CORPUS`, or `memlake demo` for everything"


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a family, corpus, and layer and scope of the noise."""
    rows = rows[(rows["part"] == "continuation") & (rows["role"] != "control")]
    rows = rows[rows["noise"] == rows.groupby("model")["noise"].transform("max")]
    lower = math.floor(10 * rows["cosine"].min()) / 10 if len(rows) else 0
    return [_panel(panel, min(lower, 0.9), place) for place, part in style.noises(rows) for panel in style.panels(part)]


def _panel(panel: style.Panel, lower: float, place: str) -> ChartType:
    y = alt.Y(
        "y:Q",
        title="cosine with the clean state",
        scale=alt.Scale(domain=[lower, 1], nice=False),
        axis=alt.Axis(format=".2~f", tickCount=5),
    )
    rows = panel.studied[panel.studied["model"] == panel.largest]
    colours = style.groups(panel.family)
    rows = rows.sort_values("group", key=lambda g: -g.map(list(colours).index), kind="stable")  # memorized on top
    data = rows[["corpus", "layer"]].assign(
        x=rows["depth"], y=rows["cosine"], low=rows["cosine_low"], high=rows["cosine_high"],
        text=rows["group"], colour=rows["group"].map(colours),
        tip=style.tips(
            rows.assign(layer="layer " + rows["layer"].astype(str)), "cosine", "cosine_low", "cosine_high",
            about=["model", "group", "layer"], said=style.number, n="n",
        ),
    )  # fmt: skip
    strength = f"{panel.largest}, noise {rows['noise'].iloc[0]:g}"
    return alt.layer(
        *style.banded(data, style.depth(), y, lower),
        width=style.WIDTH - 20,  # narrower than others: the labels are long
        height=style.HEIGHT,
        title=style.under(panel.title, strength, place, *_pairs(rows)),
    )


def _pairs(rows: pd.DataFrame) -> list[str]:
    last = rows[(rows["group"] == "memorized") & (rows["layer"] == rows["layer"].max())]
    if last.empty or pd.isna(last["difference"].iloc[0]):
        return [style.support(rows)]
    numbers = [f"{last[column].iloc[0]:+.3f}" for column in ("difference", "difference_low", "difference_high")]
    difference, low, high = (number.replace("-", "\N{MINUS SIGN}") for number in numbers)
    interval = "" if pd.isna(last["difference_low"].iloc[0]) else f" ({low} to {high})"
    return [style.support(rows), f"recovery {difference}{interval}"]
