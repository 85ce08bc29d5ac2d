"""How often must a text be shown before a model memorizes it?

Share of sequences memorized, by how many times training showed their document, with 95 % intervals. The darkest line is
the largest model. For it, broken lines are by how many times the window was counted in a corpus it trained on, each
bucket of powers of two at its mean: where one lies on the solid line, counting says what training showed. Where nothing
was recorded, the solid lines are by counts. At 0: text that was never shown, or is not there, and, hollow and grey,
control text.
"""

from __future__ import annotations

import math

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _counts as counts
from . import _style as style

RUN = "`memlake ingest count`, or `memlake demo`, whose miniatures are trained with recorded exposures"
ZERO = 0.4  # where 0 stands on a logarithmic axis that begins at 1
DASHES: dict[str, list[float]] = {"solid": [1, 0], "dashed": [5, 2], "dotted": [1.5, 2]}


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a family and corpus."""
    rows = counts.one_way(rows[rows["mean_dose"].notna()])
    if rows.empty:
        return []
    doublings = math.ceil(math.log2(max(rows["mean_dose"].max(), 2)))
    ticks = [ZERO, *(2.0**i for i in range(0, doublings + 1, 1 + doublings // 7))]
    return [_panel(panel, ticks, 2.0**doublings) for panel in style.panels(rows)]


def _panel(panel: style.Panel, ticks: list[float], most: float) -> ChartType:
    x = alt.X(
        "x:Q",
        title="times shown, or counted",
        scale=alt.Scale(type="log", base=2, domain=[ZERO * 0.8, most * 1.12], nice=False),
        axis=alt.Axis(values=ticks, labelExpr="datum.value < 1 ? '0' : format(datum.value, '~s')", grid=False),
    )
    y = style.percent([0, 1], "sequences memorized")
    data, names = _curves(panel)
    shown = data[data["x"] >= 1]
    base, ink = alt.Chart(data).encode(x=x), style.plain("colour")
    layers = [base.mark_rule(strokeWidth=1).encode(y="low:Q", y2="high", color=ink)]
    for line in names:
        curve = alt.Chart(shown[shown["line"] == line]).mark_line(strokeWidth=1.8, strokeDash=DASHES[line])
        layers.append(curve.encode(x=x, y=y, detail=["text:N", "corpus:N"], color=ink))
    layers.append(
        base.mark_point(size=26, opacity=1, strokeWidth=1.3).encode(
            y=y, stroke=style.plain("colour", alt.Stroke), fill=style.plain("fill", alt.Fill)
        )
    )
    solid = shown.loc[shown["line"] == "solid", ["text", "x", "y"]]
    if len(solid):  # the labels stand to the right of all lines
        layers.append(style.end_labels(solid.assign(x=solid["x"] * shown["x"].max() / solid["x"].max()), x, y))
    about = [f"{line}: {name}" for line, name in names.items()]
    return alt.layer(*layers).properties(width=style.WIDTH, height=style.HEIGHT, title=style.under(panel.title, *about))


def _curves(panel: style.Panel) -> tuple[pd.DataFrame, dict[str, str]]:
    """The dots of a panel, with the `line` they stand on, and what each line counts. Solid, of all models, is the first
    of: exposures, duplicates in the corpus itself, in others by name. The next two are of the largest model."""
    rows = style.curves(panel)
    rows = rows.assign(of=rows["counted_corpus"].where(rows["dose"] == "duplicates", ""))
    order = sorted(rows["of"].unique(), key=lambda name: (name != "", name not in set(rows["corpus"]), name))
    lines = dict(zip(order, DASHES, strict=False))
    rows = rows[(rows["of"] == order[0]) | (rows["of"].isin(lines) & (rows["model"] == panel.largest))]
    control = rows["role"] == "control"
    rows = rows[~control | (rows["of"] == order[0])]
    data = rows[["text", "corpus", "colour", "low", "high"]].assign(
        y=rows["rate"],
        line=rows["of"].map(lines),
        fill=rows["colour"].mask((rows["role"] == "control") | (rows["of"] != order[0]), "white"),
        # control text stands beside what was never shown, not upon it
        x=rows["mean_dose"].where(rows["mean_dose"] > 0, control.map({True: 0.85 * ZERO, False: ZERO})),
    )
    return data, {line: f"counted in {of}" if of else "shown in training" for of, line in lines.items()}
