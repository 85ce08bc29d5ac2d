"""Do later blocks amplify or damp what short-circuiting a block changes?

Each line begins at a short-circuited block and follows the distance between its model's residual stream and the
whole model's through the later blocks (mean over sequences, logarithmic), for the largest model of each family; the
darkest line is the latest block, and all panels have one axis. Dashed: what our bound allows at most, as far as it
stays on the picture; above the panel stands how many bounds lie beyond. Where a model has many blocks, six of them
stand for all.
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
    panels = [panel for panel in style.panels(rows) if not panel.studied.empty]
    if not panels:
        return []
    drawn = pd.concat([p.studied.loc[p.studied["model"] == p.largest, "difference"] for p in panels])
    ends = math.floor(math.log10(drawn.min())), math.ceil(math.log10(ROOM * drawn.max()))
    return [_panel(panel, [10.0**end for end in ends]) for panel in panels]


def _panel(panel: style.Panel, domain: list[float]) -> ChartType:
    rows = panel.studied[panel.studied["model"] == panel.largest]
    rows = rows.assign(x=(rows["after_block"] + 1) / rows["n_layers"])
    blocks = sorted(rows["block"].unique())
    shown = blocks if len(blocks) <= LINES else [blocks[i * (len(blocks) - 1) // (LINES - 1)] for i in range(LINES)]
    colours = {b: style.pale(style.colour(panel.family), 0.35 + 0.65 * i / LINES) for i, b in enumerate(shown, 1)}
    rows = rows[rows["block"].isin(shown)].assign(colour=rows["block"].map(colours))
    x = style.depth()
    y = alt.Y(
        "y:Q",
        title="distance from the whole model",
        scale=alt.Scale(type="log", domain=domain, nice=False),
        axis=alt.Axis(format="~g", values=[10.0**i for i in range(-12, 13)]),
    )
    at = "block " + rows["block"].astype(str) + " short-circuited, after block " + rows["after_block"].astype(str)
    lines = rows[["x", "block", "colour"]].assign(
        y=rows["difference"],
        tip=style.tips(
            rows.assign(at=at), "difference", "difference_low", "difference_high", about=["model", "at"],
            said=style.number,
        ),
    )  # fmt: skip
    bounds = rows[["x", "block", "colour"]].assign(y=rows["bound"]).dropna()
    beyond = int((bounds["y"] > domain[1]).sum())
    bounds = bounds[bounds["y"] <= domain[1]]
    about = f"{beyond} of {beyond + len(bounds)} bounds are beyond" if beyond else "all bounds are shown"
    if not beyond + len(bounds):
        about = "no bounds"
    ink, each = style.plain("colour"), alt.Detail("block:N")
    return alt.layer(
        alt.Chart(bounds).mark_line(strokeWidth=1.2, strokeDash=[3, 2]).encode(x=x, y=y, detail=each, color=ink),
        alt.Chart(lines).mark_line(strokeWidth=1.8).encode(x=x, y=y, detail=each, color=ink),
        alt.Chart(lines.drop_duplicates("block"))
        .mark_point(size=22, filled=True, opacity=1)
        .encode(x=x, y=y, color=ink),
        style.hover(lines, x, y),
        width=style.WIDTH,
        height=style.HEIGHT,
        title=style.under(panel.title, panel.largest, about),
    )
