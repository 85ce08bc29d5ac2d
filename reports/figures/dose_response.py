"""How often must a text be shown before a model memorizes it?

Share of sequences memorized, by how many times training showed their document (solid, filled). The darkest line is the
largest model; for it stand 95 % intervals and, hollow, on the same axis, broken lines by how many times the window was
counted in a corpus it trained on, each bucket of powers of two at its mean: where one lies on the solid line, counting
says what training showed. Where nothing was recorded, the solid lines are by counts. At 0: text that was never shown,
or is not there, and, hollow and grey, control text.
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
DASHES: dict[str, list[float]] = {"solid": [1, 0], "dashed": [6, 3], "dotted": [1.5, 2.5]}


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
    largest = data[data["largest"]]
    ink = style.plain("colour")
    layers: list[ChartType] = [
        alt.Chart(largest).mark_rule(strokeWidth=1.2, opacity=0.45).encode(x=x, **style.between(y), color=ink)
    ]
    for line in names:
        part = shown[shown["line"] == line]
        curve = alt.Chart(part).mark_line(strokeWidth=2 if line == "solid" else 1.5, strokeDash=DASHES[line])
        layers.append(curve.encode(x=x, y=y, detail=style.CURVE, color=ink))
    for part, size in ((data[~data["largest"]], 10), (largest, 28)):
        dots = alt.Chart(part).mark_point(size=size, opacity=1, strokeWidth=1.3)
        layers.append(
            dots.encode(
                x=x,
                y=y,
                stroke=style.plain("colour", alt.Stroke),
                fill=style.plain("fill", alt.Fill),
                description=style.tip(),
            )
        )
    solid = shown.loc[shown["line"] == "solid", ["text", "x", "y", "colour"]]
    if len(solid):  # the labels stand to the right of all lines
        layers.append(style.end_labels(solid, x, y, last=shown["x"].max()))
    about = [part for line, (text, of) in names.items() for part in style.wrapped(f"{line}: {text}", of)]
    title = style.under(panel.title, *about)
    return alt.layer(*layers, width=style.WIDTH, height=style.HEIGHT + 25, title=title)


def _curves(panel: style.Panel) -> tuple[pd.DataFrame, dict[str, tuple[str, str]]]:
    """The dots of a panel, with the `line` they stand on, and what each line counts. Solid, of all models, is the first
    of: exposures, duplicates in the corpus itself, in others by name. The next two are of the largest model."""
    rows = style.curves(panel)
    rows = rows.assign(of=rows["counted_corpus"].where(rows["dose"] == "duplicates", ""))
    order = sorted(rows["of"].unique(), key=lambda name: (name != "", name not in set(rows["corpus"]), name))
    lines = dict(zip(order, DASHES, strict=False))
    rows = rows[(rows["of"] == order[0]) | (rows["of"].isin(lines) & (rows["model"] == panel.largest))]
    control = rows["role"] == "control"
    rows = rows[~control | (rows["of"] == order[0])]
    names = {of: ("counted in", of) if of else ("shown in", "training") for of in lines}
    counted = rows["of"].map({of: " ".join(name) for of, name in names.items()})
    dose = counted + " " + rows["mean_dose"].map("{:.3g} times".format)
    data = rows[["text", "corpus", "colour", "low", "high"]].assign(
        y=rows["rate"],
        line=rows["of"].map(lines),
        largest=rows["model"] == panel.largest,
        fill=rows["colour"].mask((rows["role"] == "control") | (rows["of"] != order[0]), "white"),
        # control text stands beside what was never shown, not upon it
        x=rows["mean_dose"].where(rows["mean_dose"] > 0, control.map({True: 0.85 * ZERO, False: ZERO})),
        tip=style.tips(rows.assign(dose=dose), "rate", "low", "high", about=["model", "corpus", "role", "dose"], n="n"),
    )
    return data, {line: names[of] for of, line in lines.items()}
