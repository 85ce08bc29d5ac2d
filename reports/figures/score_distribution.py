"""Is text either memorized or not, or is there much in between?

Each line is the histogram of a model's scores: the share of sequences with so many tokens of the continuation
produced, all domains together. A peak at 100 % is text produced verbatim. The darkest line is the largest model;
grey is the same model on control text. The vertical axis goes by the square root, so that rare scores are seen and
none is still at the bottom.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _style as style

BINS = 16  # where continuations differ in length; the last level, every token produced, stands for itself


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a family and corpus. Its levels are tokens where all continuations have as many, else sixteenths."""
    rows = rows[rows["n"] > 0]
    lengths = rows["n_tokens"].unique()
    last = int(lengths[0]) if len(lengths) == 1 else BINS
    rows = rows.assign(level=rows["n_match"] * last // rows["n_tokens"])
    heading = f"tokens produced, of {last}" if len(lengths) == 1 else f"{last}ths of the tokens produced"
    return [_panel(panel, last, heading) for panel in style.panels(rows)]


def _panel(panel: style.Panel, last: int, heading: str) -> ChartType:
    axis = alt.Axis(format="~%", values=[0, 0.01, 0.05, 0.1, 0.25, 0.5, 1])
    y = alt.Y("y:Q", title="share of sequences", scale=alt.Scale(type="sqrt", domain=[0, 1]), axis=axis)
    x = alt.X(
        "x:Q",
        title=heading,
        scale=alt.Scale(domain=[-0.5, last + 0.5], nice=False),
        axis=alt.Axis(values=[last * i // 4 for i in range(5)]),
    )
    rows = style.curves(panel)
    curve = ["text", "colour"]
    about = rows.drop_duplicates("text").set_index("text")[["model", "role"]]
    levels = rows.groupby([*curve, "level"], sort=False, as_index=False)["sequences"].sum()
    levels["y"] = levels["sequences"] / levels.groupby(curve)["sequences"].transform("sum")
    levels = levels.join(about, on="text")
    levels["x"] = levels["level"] - 0.5  # each level is a step, from half before it to half after
    end = levels[levels["level"] == last].assign(x=last + 0.5)
    steps = pd.concat([levels, end], ignore_index=True)[[*curve, "x", "y"]]
    line = (
        alt.Chart(steps)
        .mark_line(interpolate="step-after", strokeWidth=1.5)
        .encode(x=x, y=y, detail=alt.Detail("text:N"), color=style.plain("colour"))
    )
    middle = levels.assign(x=levels["level"], tip=_tips(levels, last))
    return alt.layer(
        line,
        style.end_labels(steps, x, y, power=0.5),
        style.hover(middle, x, y),
        width=style.WIDTH,
        height=style.HEIGHT,
        title=panel.title,
    )


def _tips(levels: pd.DataFrame, last: int) -> list[str]:
    said = levels.assign(at=levels["level"].map(f"{{}} of {last}".format))
    return style.tips(said, "y", about=["model", "role", "at"], n="sequences")
