"""Does memorized text become likely earlier in the model than other text?

The mean probability of the target token, were the prediction made after each block (logit lens), with 95 %
intervals, for the largest model of each family. Full colour: memorized sequences. Grey: all unmemorized ones that were
measured. Pale: those matched to a memorized one of which the model is as certain; dashed: their partners. A late rise
of all is the burst that decoding makes at the end; the gap between dashed and pale is memory, the rest is certainty.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _style as style

RUN = "`memlake compute run layer_tokens --model MODEL --corpus CORPUS`, or `memlake demo` for everything"


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a family and corpus."""
    return [_panel(panel) for panel in style.panels(rows) if not panel.studied.empty]


def _panel(panel: style.Panel) -> ChartType:
    x, y = style.depth(), style.percent([0, 1], "probability of the target")
    rows = panel.studied[panel.studied["model"] == panel.largest]
    colours = style.groups(panel.family)
    data = rows[["corpus", "low", "high"]].assign(
        x=rows["depth"], y=rows["probability"], text=rows["group"], colour=rows["group"].map(colours),
        tip=style.tips(
            rows.assign(layer="layer " + rows["layer"].astype(str)), "probability", "low", "high",
            about=["model", "group", "layer"], n="n",
        ),
    )  # fmt: skip
    data = data.sort_values("text", key=lambda t: t.map({g: i for i, g in enumerate(reversed(colours))}), kind="stable")
    partners = style.paired(rows, "depth", "probability", x, y, colours["memorized"])
    title = style.under(panel.title, panel.largest, style.support(rows))
    # narrower than others: the labels are long
    return alt.layer(*style.banded(data, x, y), partners, width=style.WIDTH - 20, height=style.HEIGHT, title=title)
