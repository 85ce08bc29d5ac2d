"""Do later blocks amplify or damp what short-circuiting a block changes?

Each line begins at a short-circuited block and follows the distance between its model's residual stream and the
whole model's through the later blocks (mean over sequences, logarithmic), for the largest model of each family; the
darkest line is the latest block. Dashed: what our bound allows at most, where it stays on the picture. Where a model
has many blocks, some of them stand for all.
"""

from __future__ import annotations

import math

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _style as style

RUN = "`memlake compute run short_circuit --model MODEL --corpus CORPUS`, or `memlake demo` for everything"
LINES = 6
ROOM = 100  # how far above the largest difference bounds are followed


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a family and corpus."""
    rows = rows[rows["difference"] > 0]
    return [_panel(panel) for panel in style.panels(rows) if not panel.studied.empty]


def _panel(panel: style.Panel) -> ChartType:
    rows = panel.studied[panel.studied["model"] == panel.largest]
    rows = rows.assign(x=(rows["after_block"] + 1) / rows["n_layers"])
    blocks = sorted(rows["block"].unique())
    shown = blocks if len(blocks) <= LINES else [blocks[i * (len(blocks) - 1) // (LINES - 1)] for i in range(LINES)]
    colours = {b: style.pale(style.colour(panel.family), 0.35 + 0.65 * i / LINES) for i, b in enumerate(shown, 1)}
    rows = rows[rows["block"].isin(shown)].assign(colour=rows["block"].map(colours))
    low, high = rows["difference"].min(), rows["difference"].max()
    domain = [10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(ROOM * high))]
    x = style.depth()
    y = alt.Y(
        "y:Q",
        title="distance from the whole model",
        scale=alt.Scale(type="log", domain=domain, nice=False),
        axis=alt.Axis(format="~g", values=[10.0**i for i in range(-12, 13)]),
    )
    lines = rows[["x", "block", "colour"]].assign(y=rows["difference"])
    bounds = rows[["x", "block", "colour"]].assign(y=rows["bound"]).dropna()
    bounds = bounds[bounds["y"] <= domain[1]]
    ink = style.plain("colour")
    return alt.layer(
        alt.Chart(bounds).mark_line(strokeWidth=1.2, strokeDash=[3, 2]).encode(x=x, y=y, detail="block:N", color=ink),
        alt.Chart(lines).mark_line(strokeWidth=1.8).encode(x=x, y=y, detail="block:N", color=ink),
        alt.Chart(lines.drop_duplicates("block"))
        .mark_point(size=22, filled=True, opacity=1)
        .encode(x=x, y=y, color=ink),
    ).properties(width=style.WIDTH, height=style.HEIGHT, title=style.under(panel.title, panel.largest))
