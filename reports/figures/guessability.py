"""How much of what a model memorizes could be guessed without having seen it?

One dot is one model in one domain, with its 95 % interval: the rate of sequences memorized, leaving out text that
repeats itself, counts up or fills in a template. The tick is the rate over all text that was judged: the further right
of the dot it stands, the more of what is memorized is guessable. Filled: text the model was trained on. Hollow and
grey: control text.
"""

from __future__ import annotations

import altair as alt
import pandas as pd

from . import _style as style
from ._models import by_domain, heights, places_of

RUN = "`memlake ingest sample` and `memlake compute run scoring --model MODEL --corpus CORPUS`"


def draw(rows: pd.DataFrame) -> list[alt.Chart]:
    """One panel a domain, structural ones first."""
    rows = rows[rows["rest_rate"].notna()]
    if rows.empty:
        return []
    scale = alt.Scale(domain=[0, style.top(rows[["rest_high", "rate"]].max(axis="columns"))], nice=False)
    x = alt.X("x:Q", title="memorized, guessable left out", scale=scale, axis=alt.Axis(format="~%", tickCount=3))
    dots = by_domain(rows.assign(x=rows["rest_rate"], low=rows["rest_low"], high=rows["rest_high"]), x)
    y = heights(rows, places_of(rows)[0])
    return [_with_ticks(panel, rows.assign(x=rows["rate"], y=y)) for panel in dots]


def _with_ticks(panel: alt.LayerChart, rows: pd.DataFrame) -> alt.LayerChart:
    """A panel of dots, which names its domain in its title, with the rates over all text under the dots."""
    axes = panel.layer[-1].encoding
    ticks = alt.Chart(rows.loc[rows["domain"] == panel.title.text, ["x", "y"]])
    ticks = ticks.mark_tick(orient="vertical", size=9, thickness=1.6, color=style.INK).encode(x=axes.x, y=axes.y)
    return alt.layer(ticks, *panel.layer).properties(width=panel.width, height=panel.height, title=panel.title)
