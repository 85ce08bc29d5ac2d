"""What figures with one line a model share."""

from __future__ import annotations

import altair as alt
import pandas as pd

from . import _style as style
from .memorization_rate import ROW, places_of

WIDTH = 300  # pixels


def lines(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[alt.Chart], alt.Y, float]:
    """The rows with their height `y` and `colour`; a rule and a name for each model, or model and corpus where it has
    several; the vertical axis; the height in pixels."""
    several = rows.groupby("model")["corpus"].transform("nunique") > 1
    rows = rows.assign(model=rows["model"].where(~several, rows["model"] + ", " + rows["corpus"]))
    at, end = places_of(rows)
    names = pd.DataFrame({"text": list(at), "y": list(at.values())})
    y = alt.Y("y:Q", scale=alt.Scale(domain=[end, -0.7], nice=False), axis=None)
    base = alt.Chart(names)
    grid = [
        base.mark_rule(color=style.GRID).encode(y=y),
        base.mark_text(align="right", dx=-7, color=style.INK).encode(x=alt.value(0), y=y, text="text:N"),
    ]
    return rows.assign(y=rows["model"].map(at), colour=rows["family"].map(style.colour)), grid, y, ROW * (end + 0.7)


def beside(rows: pd.DataFrame, y: alt.Y) -> alt.Chart:
    """Each row's `text` to the right of the axes."""
    text = alt.Chart(rows).mark_text(align="left", dx=7, color=style.MUTED)
    return text.encode(x=alt.value(WIDTH), y=y, text="text:N")
