"""What does a model memorize beyond what can be guessed?

One mark is one model in one domain of a corpus it trained on: its rate less that of a control, with the 95 % interval
of the difference. Filled dot: a control with the same tokenizer, by whole sequences. Diamond: one with any tokenizer,
by the bytes after an anchor. Hollow: the model itself, on other text of the domain that it never saw. Of several
controls of a kind the one that reproduces most is shown. At 0 the model does no better than its control.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _style as style
from ._models import ROW, places_of

MARKS = {  # basis: shape, filled
    "sequence": ("circle", True),
    "anchor": ("diamond", True),
    "held-out corpus": ("circle", False),
}


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a corpus and domain, structural domains first."""
    rows = strongest(rows)
    if rows.empty:
        return []
    at, height = places_of(rows)
    below = [basis for basis in MARKS if basis in set(rows["basis"])].index  # one under the other
    rows = rows.assign(
        y=rows["model"].map(at) + 0.27 * rows["basis"].map(below), colour=rows["family"].map(style.colour)
    )
    left = -style.top(-rows["low"]) if rows["low"].min() < 0 else 0
    scale = alt.Scale(domain=[left, style.top(rows["high"])], nice=False)
    x = alt.X("adjusted_rate:Q", title="rate less the control's", scale=scale, axis=alt.Axis(format="~%", tickCount=4))
    y = alt.Y("y:Q", scale=alt.Scale(domain=[height + 0.3, -0.7], nice=False), axis=None)
    order = rows.sort_values(["class", "corpus", "domain"], ascending=[False, True, True])
    places = order[["corpus", "domain"]].drop_duplicates().itertuples(index=False)
    return [
        _panel(rows[(rows["corpus"] == corpus) & (rows["domain"] == domain)], at, x, y).properties(
            width=130, height=ROW * (height + 1), title=style.title(domain, corpus)
        )
        for corpus, domain in places
    ]


def strongest(rows: pd.DataFrame) -> pd.DataFrame:
    """For each model, domain and basis the control of the highest rate; pairs that cannot be compared left out."""
    known = rows[rows["adjusted_rate"].notna()].reset_index(drop=True)
    return known.loc[known.groupby(["model", "corpus", "domain", "basis"])["control_rate"].idxmax()]


def _panel(rows: pd.DataFrame, places: dict[str, float], x: alt.X, y: alt.Y) -> ChartType:
    names = pd.DataFrame({"text": list(places), "y": list(places.values())})
    base = alt.Chart(rows)
    plain = style.plain("colour")
    layers = [
        alt.Chart(names).mark_rule(color=style.GRID).encode(y=y),
        alt.Chart(names).mark_text(align="right", dx=-7, color=style.INK).encode(x=alt.value(0), y=y, text="text:N"),
        alt.Chart(pd.DataFrame({"adjusted_rate": [0]})).mark_rule(color=style.MUTED, strokeDash=[3, 3]).encode(x=x),
        base.mark_rule(strokeWidth=1.3).encode(x="low:Q", x2="high", y=y, color=plain),
    ]
    for basis, (shape, filled) in MARKS.items():
        fill = style.plain("colour", alt.Fill) if filled else alt.value("white")
        layers.append(
            alt.Chart(rows[rows["basis"] == basis])
            .mark_point(shape=shape, size=36, strokeWidth=1.4, opacity=1)
            .encode(x=x, y=y, stroke=style.plain("colour", alt.Stroke), fill=fill)
        )
    return alt.layer(*layers)
