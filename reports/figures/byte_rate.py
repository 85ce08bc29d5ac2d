"""Which model reproduces the most text, byte by byte?

One dot is one model with its 95 % interval: the share of anchors from which it reproduces so many bytes, and last the
bits that a byte of text costs it (less is better). All models of a corpus are judged at the same anchors, of which
fewer are left the more bytes are asked for. Filled: text the model was trained on. Hollow and grey: text it never saw.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _style as style
from ._models import dots

ABOUT = ["model", "corpus", "role"]


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """For each corpus a row of panels, one a number of bytes; last a row of the bits of each corpus, where most anchors
    are left."""
    rows = rows[rows["note"].isna()]
    charts: list[ChartType] = []
    for corpus, part in rows.groupby("corpus"):
        scale = alt.Scale(domain=[0, style.top(part["high"])], nice=False)
        x = alt.X("x:Q", title="reproduced", scale=scale, axis=alt.Axis(format="~%", tickCount=3))
        part = part.sort_values("horizon", kind="stable")
        part = part.assign(
            x=part["rate"],
            panel=_headings(part, part["horizon"].map("{} bytes".format)),
            tip=style.tips(part, "rate", "low", "high", about=ABOUT, n="n"),
        )
        charts += [row.properties(title=style.title(corpus)) for row in dots(part, part["panel"].unique(), x)]
    return charts + _bits(rows[rows["bits_per_byte"].notna()])


def _bits(rows: pd.DataFrame) -> list[ChartType]:
    for column in ("n", "horizon"):
        rows = rows[rows[column] == rows.groupby("corpus")[column].transform("max")]
    if rows.empty:
        return []
    tips = style.tips(rows, "bits_per_byte", "bits_low", "bits_high", about=ABOUT, said=style.number)
    rows = rows.assign(x=rows["bits_per_byte"], low=rows["bits_low"].clip(0), high=rows["bits_high"], tip=tips)
    rows = rows.assign(panel=_headings(rows, rows["corpus"] + ", " + rows["horizon"].astype(str) + " bytes"))
    scale = alt.Scale(domain=[0, rows[["x", "high"]].max().max()])
    x = alt.X("x:Q", title="bits per byte", scale=scale, axis=alt.Axis(tickCount=4))
    return [row.properties(title=style.title("bits")) for row in dots(rows, sorted(rows["panel"].unique()), x)]


def _headings(rows: pd.DataFrame, about: pd.Series) -> list[str]:
    anchors = zip(about, rows["n"], rows["anchors"], strict=True)
    return [f"{name}\n{n:g} of {asked:g} anchors" for name, n, asked in anchors]
