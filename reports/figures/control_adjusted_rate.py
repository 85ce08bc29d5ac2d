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
from ._models import ROW, across, dot, interval, names, places_of, zero

MARKS = {  # basis: shape, filled
    "sequence": ("circle", True),
    "anchor": ("diamond", True),
    "held-out corpus": ("circle", False),
}


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """A row of panels a corpus, one a domain, structural domains first."""
    rows = strongest(rows)
    if rows.empty:
        return []
    at, height = places_of(rows)
    below = [basis for basis in MARKS if basis in set(rows["basis"])].index  # one under the other
    colour = rows["family"].map(style.colour)
    tips = style.tips(rows, "adjusted_rate", "low", "high", about=["model", "corpus", "domain"], said=style.points)
    data = rows[["corpus", "domain", "basis", "low", "high"]].assign(
        x=rows["adjusted_rate"],
        y=rows["model"].map(at) + 0.27 * rows["basis"].map(below),
        colour=colour,
        fill=colour.where(rows["basis"].map({basis: filled for basis, (_, filled) in MARKS.items()}), "white"),
        shape=rows["basis"].map({basis: shape for basis, (shape, _) in MARKS.items()}),
        tip=[f"{tip}, over {control}" for tip, control in zip(tips, rows["control"], strict=True)],
        panel=rows["domain"],
    )
    left = -style.top(-rows["low"]) if rows["low"].min() < 0 else 0
    scale = alt.Scale(domain=[left, style.top(rows["high"])], nice=False)
    x = alt.X("x:Q", title="rate less the control's", scale=scale, axis=alt.Axis(format="~%", tickCount=4))
    y = names(at, height + 0.3)
    layers = [zero(), interval(x, y), dot(x, y, 36)]
    domains = rows.sort_values(["class", "domain"], ascending=[False, True])
    return [
        row.properties(title=style.title(corpus))
        for corpus, part in domains.groupby("corpus")
        for row in across(
            data[data["corpus"] == corpus], part["domain"].unique().tolist(), layers, at, ROW * (height + 1)
        )
    ]


def strongest(rows: pd.DataFrame) -> pd.DataFrame:
    """For each model, domain and basis the control of the highest rate; pairs that cannot be compared left out."""
    known = rows[rows["adjusted_rate"].notna()].reset_index(drop=True)
    return known.loc[known.groupby(["model", "corpus", "domain", "basis"])["control_rate"].idxmax()]
