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
from ._models import WIDTH, beside, dot, lines, tick

RUN = heads.RUN


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel."""
    rows = heads.shown(rows)
    if rows.empty:
        return []
    rows, y, height = lines(rows)
    shares = ["universal_share", "expected_share", "expected_by_layer_share"]
    data = rows[["y", "colour"]].assign(
        **{share: rows[share].astype(float) for share in shares},  # nothing but missing values is no number yet
        x=rows["universal_share"].astype(float),
        fill=rows["colour"],
        shape="circle",
        text=_text(rows),
        tip=[f"{tip}, {text}" for tip, text in zip(style.tips(rows, "universal_share"), _text(rows), strict=True)],
    )
    scale = alt.Scale(domain=[0, style.top(data[shares].max().dropna())], nice=False)
    x = alt.X("x:Q", title="heads important in all domains", scale=scale, axis=alt.Axis(format="~%", tickCount=5))
    layers = [tick(shares[1], style.CONTROL, x, y), tick(shares[2], style.INK, x, y), dot(x, y), beside(y)]
    about = style.title("right: universal heads of all heads")
    return [alt.layer(*layers, data=data, width=WIDTH, height=height, title=about)]


def _text(rows: pd.DataFrame) -> list[str]:
    return [
        r.note
        if isinstance(r.note, str)
        else f"{int(r.universal)} of {r.heads} (p = {r.p_by_layer:.2g}), {r.domains} domains"
        for r in rows.itertuples()
    ]
