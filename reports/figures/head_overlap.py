"""Are the same heads important for different kinds of text?

One thin mark is one pair of domains: what the two sets of important heads (a fifth of all, by the drop of the
continuation's log-probability) share, as a Jaccard index. The dot is the mean over pairs; the black mark is the mean
for sets drawn at random from the model's heads. Beside it: how many pairs share more than chance would in 1 of 20.
"""

from __future__ import annotations

import altair as alt
import pandas as pd

from . import _heads as heads
from . import _style as style
from ._lines import WIDTH, beside, lines

RUN = heads.RUN


def draw(rows: pd.DataFrame) -> list[alt.Chart]:
    """One panel."""
    rows = heads.shown(rows)
    if rows.empty:
        return []
    rows, grid, y, height = lines(rows)
    scale = alt.Scale(domain=[0, style.top(rows[["jaccard", "expected_jaccard"]].max())], nice=False)
    x = alt.X("x:Q", title="important heads shared (Jaccard)", scale=scale, axis=alt.Axis(format="~%", tickCount=5))
    means = rows.groupby(["y", "colour"], as_index=False).agg(
        x=("jaccard", "mean"),
        null=("expected_jaccard", "mean"),
        pairs=("p", "size"),
        above=("p", lambda p: (p < 0.05).sum()),
    )
    means["text"] = [f"{m.above} of {m.pairs}" for m in means.itertuples()]
    ink = style.plain("colour")
    pairs = alt.Chart(rows[["y", "colour"]].assign(x=rows["jaccard"]))
    null = alt.Chart(means[["y"]].assign(x=means["null"]))
    chart = alt.layer(
        *grid,
        pairs.mark_tick(thickness=1.2, size=10, opacity=0.45).encode(x=x, y=y, color=ink),
        null.mark_tick(thickness=2, size=13, color=style.INK).encode(x=x, y=y),
        alt.Chart(means).mark_point(size=42, filled=True, opacity=1).encode(x=x, y=y, color=ink),
        beside(means, y),
    )
    return [chart.properties(width=WIDTH, height=height, title=style.title("", "right: pairs above chance (p < 0.05)"))]
