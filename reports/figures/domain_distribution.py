"""What is the memorized text made of?

One line is one domain, for the largest model of each family. The dot is the domain's share of all that the model
memorized, with its 95 % interval; the black mark is its share of the corpus, in bytes: where the dot would stand if
all kinds of text were memorized alike. Filled: structural text (code, maths, markup); hollow: free text. A domain
whose size is not known is left out; where none is known, shares are of the sample.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _style as style

ROW = 15  # pixels


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a family and corpus that it was trained on, structural domains first."""
    rows = rows[rows["share"].notna()]
    shown = pd.concat([_weighted(of_model) for _, of_model in rows.groupby(["model", "corpus"])] or [rows])
    scale = alt.Scale(domain=[0, style.top(shown[["high", "expected_share"]].max())], nice=False)
    x = alt.X("x:Q", title="share of what is memorized", scale=scale, axis=alt.Axis(format="~%", tickCount=4))
    return [_panel(panel, x) for panel in style.panels(shown) if not panel.studied.empty]


def _weighted(rows: pd.DataFrame) -> pd.DataFrame:
    by_bytes = rows[rows["weighted_by"] == "bytes"]
    return rows if by_bytes.empty else by_bytes


def _panel(panel: style.Panel, x: alt.X) -> ChartType:
    rows = panel.studied[panel.studied["model"] == panel.largest]
    rows = rows.sort_values(["class", "domain"], ascending=[False, True]).reset_index(drop=True)
    data = rows[["domain", "low", "high"]].assign(y=rows.index, x=rows["share"], expected=rows["expected_share"])
    y = alt.Y("y:Q", scale=alt.Scale(domain=[len(data) - 0.3, -0.7], nice=False), axis=None)
    base, colour = alt.Chart(data), style.colour(panel.family)
    layers = [
        base.mark_rule(color=style.GRID).encode(y=y),
        base.mark_text(align="right", dx=-7, color=style.INK).encode(x=alt.value(0), y=y, text="domain:N"),
        alt.Chart(data[["y"]].assign(x=data["expected"]))
        .mark_tick(thickness=2, size=13, color=style.INK)
        .encode(x=x, y=y),
        base.mark_rule(strokeWidth=1.5, color=colour).encode(x="low:Q", x2="high", y=y),
    ]
    structural = rows["class"] == "structural"
    for part, fill in ((data[structural], colour), (data[~structural], "white")):
        dots = alt.Chart(part).mark_point(size=42, strokeWidth=1.5, opacity=1, stroke=colour, fill=fill)
        layers.append(dots.encode(x=x, y=y))
    of = "by bytes" if rows["weighted_by"].iloc[0] == "bytes" else "as sampled"
    return alt.layer(*layers).properties(
        width=style.WIDTH,
        height=ROW * (len(data) + 0.4),
        title=style.under(panel.title, f"{panel.label(panel.largest)}, {of}"),
    )
