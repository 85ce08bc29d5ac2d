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
from ._models import by_domain


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """For each corpus one panel a number of bytes, and one of the bits, where most anchors are left."""
    rows = rows[rows["note"].isna()]
    panels = []
    for corpus, part in rows.groupby("corpus"):
        scale = alt.Scale(domain=[0, style.top(part["high"])], nice=False)
        x = alt.X("x:Q", title="reproduced", scale=scale, axis=alt.Axis(format="~%", tickCount=3))
        panels += [_panel(same.assign(x=same["rate"]), corpus, x) for _, same in part.groupby("horizon")]
        bits = part[part["bits_per_byte"].notna()]
        bits = bits[bits["n"] == bits["n"].max()]
        if len(bits):
            bits = bits[bits["horizon"] == bits["horizon"].max()]
            bits = bits.assign(x=bits["bits_per_byte"], low=bits["bits_low"].clip(0), high=bits["bits_high"])
            scale = alt.Scale(domain=[0, bits[["x", "high"]].max().max()])
            panels.append(_panel(bits, corpus, alt.X("x:Q", title="bits per byte", scale=scale)))
    return panels


def _panel(rows: pd.DataFrame, corpus: str, x: alt.X) -> ChartType:
    """Rows of one horizon."""
    row = rows.iloc[0]
    (panel,) = by_domain(rows.assign(domain="", **{"class": None}), x)
    about = [corpus, f"{row['n']:g} of {row['anchors']:g} anchors"]
    return panel.properties(title=style.title(f"{row['horizon']} bytes", about))
