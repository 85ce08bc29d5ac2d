"""What does screening cost, and what does it miss?

One dot is one screened cell: the share of the true top fifth of heads that screening's leaders hold, as a random audit
of the other heads estimates it, with the lower end of its 95 % interval, against the cost of screening and confirming
as a share of taking away every head on every sequence. Up and to the left is better; the black lines are recall 0.9 and
a tenth of the cost.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _style as style

RUN = "`memlake compute run head_ablation --screen --model MODEL --corpus CORPUS`"


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel for published models, one for miniatures."""
    lower = min(0.05, rows["cost"].min() / 1.2)
    return [_panel(part, bool(miniature), lower) for miniature, part in rows.groupby("miniature")]


def _panel(rows: pd.DataFrame, miniature: bool, lower: float) -> ChartType:
    upper = max(1.0, rows["cost"].max())
    x = alt.X(
        "x:Q",
        title="cost, of all heads on all sequences",
        scale=alt.Scale(type="log", domain=[lower, upper], nice=False),
        axis=alt.Axis(format="~%", values=[v for v in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1) if v >= lower], grid=False),
    )
    y = style.percent([0, 1], "recall of the top fifth")
    data = rows[["recall_low", "model"]].assign(
        x=rows["cost"], y=rows["recall"], colour=rows["family"].map(style.colour),
        tip=style.tips(rows, "recall", about=["model", "corpus", "domain"], is_called="recall"),
    )  # fmt: skip
    aims = alt.Chart(pd.DataFrame({"x": [0.1], "y": [0.9]}))
    families = pd.DataFrame({"family": sorted(rows["family"].unique(), key=style.rank)})
    families = families.assign(
        colour=families["family"].map(style.colour), y=[1 - i / 19 for i in range(len(families))]
    )
    return alt.layer(
        aims.mark_rule(color=style.INK, strokeWidth=0.8).encode(y=y),
        aims.mark_rule(color=style.INK, strokeWidth=0.8).encode(x=x),
        alt.Chart(data)
        .mark_rule(strokeWidth=1, opacity=0.6)
        .encode(x=x, y=alt.Y("recall_low:Q"), y2=alt.Y2("y"), color=style.plain("colour")),
        alt.Chart(data)
        .mark_point(size=40, filled=True, opacity=0.9)
        .encode(x=x, y=y, color=style.plain("colour"), description=style.tip()),
        alt.Chart(families)
        .mark_text(align="left", dx=10)
        .encode(x=alt.value(330), y=y, text=alt.Text("family:N"), color=style.plain("colour")),
        width=330,
        height=270,
        title=style.title("miniatures" if miniature else "published models"),
    )
