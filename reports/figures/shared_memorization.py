"""Do two models memorize the same texts?

Below the diagonal: of the texts that at least one model of a pair reproduces, the share that both do (Jaccard
index, in percent). Above it: what that share would be were the two independent within each domain. The more the
lower half outdoes the upper, the more is shared. All pairs are compared by the bytes after an anchor. A dash: neither
model reproduced anything; empty: never measured on the same text.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _style as style

ALSO = ("memorization_rate",)  # the finding that knows families and sizes
CELL = 25  # pixels


def draw(rows: pd.DataFrame, models: pd.DataFrame) -> list[ChartType]:
    """One panel a corpus."""
    models = models.assign(rank=models["family"].map(style.rank)).sort_values(["miniature", "rank", "params", "model"])
    order = models.drop_duplicates("model").set_index("model")["family"]
    return [_panel(part, order, corpus) for corpus, part in rows[rows["n"] > 0].groupby("corpus")]


def _panel(rows: pd.DataFrame, order: pd.Series, corpus: str) -> ChartType:
    met = {*rows["model_a"], *rows["model_b"]}
    order = order[[m in met for m in order.index]]
    place = {model: i for i, model in enumerate(order.index)}
    cells = []
    for row in rows.itertuples():
        early, late = sorted((place[row.model_a], place[row.model_b]))
        pair = f"{row.model_a} and {row.model_b}"
        ends = "" if pd.isna(row.low) else f" ({style.share(row.low)} to {style.share(row.high)})"
        said = (
            f"{pair}: {style.share(row.jaccard)}{ends}",
            f"{pair}, if independent: {style.share(row.expected_jaccard)}",
        )
        cells.append({"x": early, "y": late, "value": row.jaccard, "tip": said[0]})
        cells.append({"x": late, "y": early, "value": row.expected_jaccard, "tip": said[1]})
    table = pd.DataFrame(cells)
    known = table["value"].notna()
    table["text"] = ["\N{EN DASH}" if v != v else f"{100 * v:.0f}" for v in table["value"]]
    table["ink"] = ["white" if v > 0.55 else style.INK for v in table["value"]]
    names = pd.DataFrame({"at": range(len(order)), "text": order.index, "colour": order.map(style.colour).to_numpy()})
    across = alt.Scale(domain=[-0.5, len(order) - 0.5], nice=False)
    down = alt.Scale(domain=[len(order) - 0.5, -0.5], nice=False)
    x, y = alt.X("x:Q", scale=across, axis=None), alt.Y("y:Q", scale=down, axis=None)
    shades = alt.Scale(domain=[0, 0.5, 1], range=["#f1f6fb", "#7fb1d8", "#08427f"])
    colour = alt.Color("value:Q", scale=shades, legend=None)
    side = max(CELL * len(order), 120)
    pixels = side / len(order) - 1
    text = alt.Chart(names).mark_text(align="right", dx=-6)
    ink = alt.Color("colour:N", scale=None)
    layers = [
        alt.Chart(table[known])
        .mark_rect(width=pixels, height=pixels)
        .encode(x=x, y=y, color=colour, description=style.tip()),
        alt.Chart(table)
        .mark_text(fontSize=10)
        .encode(x=x, y=y, text=alt.Text("text:N"), color=alt.Color("ink:N", scale=None)),
        text.encode(x=alt.value(0), y=alt.Y("at:Q", scale=down, axis=None), text=alt.Text("text:N"), color=ink),
        alt.Chart(names)
        .mark_text(align="right", dx=-6, angle=270)
        .encode(x=alt.X("at:Q", scale=across, axis=None), y=alt.value(side), text=alt.Text("text:N"), color=ink),
    ]
    title = style.title(corpus, "below the diagonal: observed; above: if independent")
    return alt.layer(*layers, width=side, height=side, title=title)
