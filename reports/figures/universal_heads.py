"""Are there heads that every kind of text depends on?

The dot is the share of a model's heads that are important (in the first fifth) in every domain of the corpus. The grey
mark is the share to be expected, were each domain's heads drawn at random from all, the black one, were they drawn at
random within each layer: only what lies beyond the black mark speaks of heads rather than layers. Beside it: their
number, how often chance within layers gives as many (p), and the number of domains, on which both marks lean heavily.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _heads as heads
from . import _style as style
from ._models import WIDTH, beside, lines

RUN = heads.RUN


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel."""
    rows = heads.shown(rows)
    if rows.empty:
        return []
    rows, grid, y, height = lines(rows)
    shares = ["universal_share", "expected_share", "expected_by_layer_share"]
    scale = alt.Scale(domain=[0, style.top(rows[shares].astype(float).max().dropna())], nice=False)
    x = alt.X("x:Q", title="heads important in all domains", scale=scale, axis=alt.Axis(format="~%", tickCount=5))
    data = rows[["y", "colour"]].assign(x=rows["universal_share"], text=_text(rows))
    nulls = [alt.Chart(data[["y"]].assign(x=rows[share]).dropna()) for share in shares[1:]]
    chart = alt.layer(
        *grid,
        *(
            null.mark_tick(thickness=2, size=13, color=colour).encode(x=x, y=y)
            for null, colour in zip(nulls, (style.CONTROL, style.INK), strict=True)
        ),
        alt.Chart(data.dropna(subset=["x"]))
        .mark_point(size=42, filled=True, opacity=1)
        .encode(x=x, y=y, color=style.plain("colour")),
        beside(data, y),
    )
    return [chart.properties(width=WIDTH, height=height, title=style.title("right: universal heads of all heads"))]


def _text(rows: pd.DataFrame) -> list[str]:
    return [
        r.note
        if isinstance(r.note, str)
        else f"{int(r.universal)} of {r.heads} (p = {r.p_by_layer:.2g}), {r.domains} domains"
        for r in rows.itertuples()
    ]
