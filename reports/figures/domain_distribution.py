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
from ._models import across, dot, interval, names, tick

ROW = 15  # pixels


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """A row of panels for each corpus, one a family that was trained on it, structural domains first."""
    rows = rows[rows["share"].notna()]
    shown = pd.concat([_weighted(of_model) for _, of_model in rows.groupby(["model", "corpus"])] or [rows])
    panels = [panel for panel in style.panels(shown) if not panel.studied.empty]
    scale = alt.Scale(domain=[0, style.top(shown[["high", "expected_share"]].max())], nice=False)
    x = alt.X("x:Q", title="share of what is memorized", scale=scale, axis=alt.Axis(format="~%", tickCount=3))
    return [
        row.properties(title=style.title(corpus))
        for corpus in sorted({panel.studied["corpus"].iloc[0] for panel in panels})
        for row in _rows([p for p in panels if p.studied["corpus"].iloc[0] == corpus], x)
    ]


def _weighted(rows: pd.DataFrame) -> pd.DataFrame:
    by_bytes = rows[rows["weighted_by"] == "bytes"]
    return rows if by_bytes.empty else by_bytes


def _rows(panels: list[style.Panel], x: alt.X) -> list[ChartType]:
    """The panels of one corpus."""
    found = pd.concat([panel.studied for panel in panels])
    domains = found.sort_values(["class", "domain"], ascending=[False, True])["domain"].unique()
    at = {domain: float(i) for i, domain in enumerate(domains)}
    headings, parts = [], []
    for panel in panels:
        rows = panel.studied[panel.studied["model"] == panel.largest]
        of = "by bytes" if rows["weighted_by"].iloc[0] == "bytes" else "as sampled"
        headings.append(f"{panel.title.text}\n{panel.largest}\n{of}")
        colour = style.colour(panel.family)
        parts.append(
            rows[["domain", "low", "high", "expected_share"]].assign(
                x=rows["share"],
                y=rows["domain"].map(at),
                colour=colour,
                fill=rows["class"].map({"structural": colour}).fillna("white"),
                shape="circle",
                tip=style.tips(rows, "share", "low", "high", about=["model", "domain"], n="memorized"),
                panel=headings[-1],
            )
        )
    end = len(at) - 0.3
    y = names(at, end)
    layers = [tick("expected_share", style.INK, x, y), interval(x, y), dot(x, y)]
    return across(pd.concat(parts, ignore_index=True), headings, layers, at, ROW * (end + 0.7))
