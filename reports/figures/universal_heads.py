"""Are there heads that every kind of text depends on?

The dot is the share of a model's heads that are important (in the first fifth) in every domain of the corpus; the
black mark is the share to be expected, were domains independent. Beside it: their number, and the number of domains,
on which the expectation leans heavily.
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
    scale = alt.Scale(domain=[0, style.top(rows[["universal_share", "expected_share"]].max())], nice=False)
    x = alt.X("x:Q", title="heads important in all domains", scale=scale, axis=alt.Axis(format="~%", tickCount=5))
    data = rows[["y", "colour"]].assign(x=rows["universal_share"], text=_text(rows))
    known = data["x"].notna()
    null = alt.Chart(data.loc[known, ["y"]].assign(x=rows["expected_share"]))
    chart = alt.layer(
        *grid,
        null.mark_tick(thickness=2, size=13, color=style.INK).encode(x=x, y=y),
        alt.Chart(data[known])
        .mark_point(size=42, filled=True, opacity=1)
        .encode(x=x, y=y, color=style.plain("colour")),
        beside(data, y),
    )
    return [chart.properties(width=WIDTH, height=height, title=style.title("", "right: universal heads of all heads"))]


def _text(rows: pd.DataFrame) -> list[str]:
    return [
        r.note if isinstance(r.note, str) else f"{int(r.universal)} of {r.heads}, {r.domains} domains"
        for r in rows.itertuples()
    ]
