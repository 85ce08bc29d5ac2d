"""At what depth does a model make up its mind?

Share of positions at which the likeliest token, read off after each block (logit lens), is already the model's
final one, right or wrong, with 95 % intervals, on memorized sequences. The darkest line is the largest model; grey is
the same model on unmemorized sequences matched to memorized ones of which it is as certain; dashed: their partners.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _style as style

RUN = "`memlake compute run layer_tokens --model MODEL --corpus CORPUS`, or `memlake demo` for everything"


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a family and corpus."""
    rows = rows[rows["group"] != "unmemorized"]
    return [_panel(panel) for panel in style.panels(rows) if not panel.studied.empty]


def _panel(panel: style.Panel) -> ChartType:
    x, y = style.depth(), style.percent([0, 1], "agrees with the final token")
    rows = panel.studied
    matched = rows[(rows["group"] == "matched") & (rows["model"] == panel.largest)]
    memorized = rows[rows["group"] == "memorized"].sort_values(
        "model", key=lambda m: m.map(panel.models.index), kind="stable"
    )
    data = pd.concat(
        [
            matched.assign(text="matched", colour=style.CONTROL),
            memorized.assign(text=memorized["model"].map(panel.label), colour=memorized["model"].map(panel.shade)),
        ]
    )
    data = data.assign(layer="layer " + data["layer"].astype(str))
    data["tip"] = style.tips(data, "agreement", "low", "high", about=["model", "group", "layer"], n="n")
    data = data[["text", "corpus", "colour", "low", "high", "depth", "agreement", "tip"]]
    data = data.rename(columns={"depth": "x", "agreement": "y"})
    largest = rows[rows["model"] == panel.largest]
    partners = style.paired(largest, "depth", "agreement", x, y, style.colour(panel.family))
    title = style.under(panel.title, style.support(largest))
    # narrower than others: the labels are long
    return alt.layer(*style.banded(data, x, y), partners, width=style.WIDTH - 8, height=style.HEIGHT, title=title)
