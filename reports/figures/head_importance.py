"""Which attention heads does verbatim text depend on?

Layers from bottom to top, heads from left to right, for the largest model of each family. The darker a head, the less
likely the continuation becomes when the head's output is replaced by the mean of its layer's other heads, averaged over
domains. All panels have one logarithmic scale, in nats, up to the strongest head of all; it stands last. Grey: the
continuation becomes likelier. Empty: screening dropped the head before it was measured.
"""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from altair.typing import ChartType

from . import _heads as heads
from . import _style as style

RUN = heads.RUN
STEPS, DECADES = 12, 3  # shades; from the end of the scale down to the first of them


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a family and corpus, and the scale."""
    panels = list(style.panels(heads.shown(rows)))
    means = [_means(panel.studied[panel.studied["model"] == panel.largest]) for panel in panels]
    most = max((drops["mean_drop"].abs().max() for drops in means if len(drops)), default=0) or 1
    charts: list[ChartType] = [_panel(panel, drops, most) for panel, drops in zip(panels, means, strict=True)]
    return [*charts, _scale(most)] if charts else []


def _means(rows: pd.DataFrame) -> pd.DataFrame:
    """The drop of each head of one model, averaged over domains."""
    return rows.groupby(["layer", "head"], as_index=False)["mean_drop"].mean().dropna().sort_values(["layer", "head"])


def ends(most: float) -> np.ndarray:
    """Up to how many nats each shade goes, from 1 to STEPS; what is below a thousandth of `most` has none."""
    return most * 10 ** (DECADES * (np.arange(1, STEPS + 1) / STEPS - 1))


def cells(drops: pd.DataFrame, most: float) -> pd.DataFrame:
    """Runs of neighbouring heads of one shade, from head `x` up to head `x2`: a model of 2,560 heads takes hundreds of
    shapes. drops: sorted by layer and head; most: nats of the darkest shade; shade: -STEPS to STEPS, the number of the
    first of `ends` that holds the drop; lowest, highest: drops of a run."""
    with np.errstate(divide="ignore"):
        steps = np.ceil(STEPS * (1 + np.log10(drops["mean_drop"].abs() / most) / DECADES) - 1e-9).clip(0, STEPS)
    drops = drops.assign(shade=(steps * np.sign(drops["mean_drop"])).astype(int))
    before = drops.shift()
    joined = (
        (drops["layer"] == before["layer"])
        & (drops["head"] == before["head"] + 1)
        & (drops["shade"] == before["shade"])
    )
    runs = drops.groupby((~joined).cumsum())
    found = runs.agg(
        layer=("layer", "first"),
        shade=("shade", "first"),
        x=("head", "first"),
        x2=("head", "last"),
        lowest=("mean_drop", "min"),
        highest=("mean_drop", "max"),
    )
    return found.assign(x2=found["x2"] + 1, y=found["layer"], y2=found["layer"] + 1)


def _panel(panel: style.Panel, drops: pd.DataFrame, most: float) -> ChartType:
    rows = panel.studied[panel.studied["model"] == panel.largest]
    layers, width = int(rows["layer"].max()) + 1, int(rows["head"].max()) + 1
    data = cells(drops, most)
    ink = style.colour(panel.family)
    data["colour"] = [_shade(ink if s >= 0 else style.CONTROL, abs(s)) for s in data["shade"]]
    data["tip"] = [f"{panel.largest}, {_heads(run)}: {_nats(run)}" for run in data.itertuples()]
    x = alt.X("x:Q", title="head", scale=alt.Scale(domain=[0, width], nice=False), axis=_whole(width))
    y = alt.Y("y:Q", title="layer", scale=alt.Scale(domain=[0, layers], nice=False), axis=_whole(layers))
    about = f"{rows['domain'].nunique()} domains; strongest head {style.number(drops['mean_drop'].max())} nats"
    frame = pd.DataFrame({"x": [0], "x2": [width], "y": [0], "y2": [layers]})
    place = {"x": x, "x2": alt.X2("x2"), "y": y, "y2": alt.Y2("y2")}
    return alt.layer(
        alt.Chart(frame).mark_rect(fill="white", stroke=style.CONTROL, strokeWidth=0.7).encode(**place),
        alt.Chart(data).mark_rect().encode(**place, color=style.plain("colour"), description=style.tip()),
        width=style.WIDTH,
        height=style.HEIGHT,
        title=style.under(panel.title, panel.largest, about),
    )


def _heads(run: Any) -> str:
    last = run.x2 - 1
    return f"layer {run.layer}, head {run.x}" if last == run.x else f"layer {run.layer}, heads {run.x} to {last}"


def _nats(run: Any) -> str:
    low, high = style.number(run.lowest), style.number(run.highest)
    return f"drop {low} nats" if low == high else f"drop {low} to {high} nats"


def _shade(colour: str, step: int) -> str:
    return style.pale(colour, 0.04 + 0.96 * step / STEPS)


def _scale(most: float) -> ChartType:
    """The shades, from bottom to top, and up to how many nats some of them go."""
    steps = pd.DataFrame({"y": range(STEPS), "y2": range(1, STEPS + 1), "nats": ends(most)})
    steps["colour"] = [_shade(style.INK, i) for i in steps["y2"]]
    steps["text"] = [f"{n:.2g}" if i % 4 == 0 else "" for i, n in zip(steps["y2"], steps["nats"], strict=True)]
    y = alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[0, STEPS], nice=False))
    base = alt.Chart(steps).encode(y=y)
    return alt.layer(
        base.mark_rect().encode(y2=alt.Y2("y2"), x=alt.XValue(0), x2=alt.X2Value(18), color=style.plain("colour")),
        base.mark_text(align="left", color=style.MUTED, dy=5).encode(
            y=alt.Y("y2:Q", axis=None), x=alt.XValue(24), text=alt.Text("text:N")
        ),
        width=60,
        height=style.HEIGHT,
        title=style.title("the scale", ["nats, at most, in", "all panels"]),
    )


def _whole(n: int) -> alt.Axis:
    """Some whole numbers below n, at the middle of their cells."""
    step = max(1, 2 ** int(np.ceil(np.log2(n / 8))))
    return alt.Axis(values=[i + 0.5 for i in range(0, n, step)], labelExpr="floor(datum.value)", grid=False)
