"""Is memorized text made of more frequent pieces?

How often the text occurs in the corpus the model trained on, for the largest model of each family, with 95 % intervals:
each token of the window (solid), each pair of tokens (dashed), and to the right the continuation and the window as
wholes. Full colour: memorized sequences. Pale: half memorized ones. Grey: those of which no token was produced. The
continuation begins at 0. Means are geometric, of 1 + occurrences: text that lies in the corpus occurs there itself.
"""

from __future__ import annotations

import math

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _counts as counts
from . import _style as style

RUN = counts.RUN
WHOLE = {"unigrams": "tokens", "bigrams": "pairs", "continuation": "cont.", "window": "window"}
PROFILE, STEP = 140, 34  # pixels of the window, and from one whole span to the next


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a family and corpus."""
    rows = rows[(rows["role"] != "control") & rows["span"].isin(list(WHOLE))]
    rows = counts.one_corpus(counts.one_way(rows))
    if rows.empty:
        return []
    top = math.ceil(rows["mean_log10"].max() + 0.3)
    return [_panel(panel, top) for panel in style.panels(rows)]


def _panel(panel: style.Panel, top: int) -> ChartType:
    rows = panel.studied[panel.studied["model"] == panel.largest]
    colours = dict(zip(("memorized", "half", "unmemorized"), style.groups(panel.family).values(), strict=True))
    rows = rows.sort_values("group", key=lambda g: -g.map(list(colours).index), kind="stable")  # memorized on top
    data = rows[["span", "low", "high"]].assign(
        x=rows["position"].astype(float), y=rows["mean_log10"], text=rows["group"], colour=rows["group"].map(colours)
    )
    profile = data[data["x"].notna()]
    wholes = data[data["x"].isna() & ~data["span"].isin(profile["span"])]
    x, places, pixel = _across(profile["x"], [span for span in WHOLE if span in set(wholes["span"])])
    beside = {group: 4 * pixel * i for i, group in enumerate(colours, -1)}
    wholes = wholes.assign(x=wholes["span"].map(places) + wholes["text"].map(beside))
    width = STEP * len(places) + (PROFILE if len(profile) else 0)
    y = alt.Y(
        "y:Q",
        title="1 + occurrences",
        scale=alt.Scale(domain=[0, top], nice=False),
        axis=alt.Axis(values=list(range(top + 1)), labelExpr="format(pow(10, datum.value), '~s')"),
    )
    low, ink = y.copy(), style.plain("colour")
    low.shorthand = "low:Q"  # with its own axis an area would begin at 0
    base = alt.Chart(profile).encode(x=x, detail=["text:N", "span:N"])
    dots = alt.Chart(wholes).encode(x=x, color=ink)
    layers = [
        base.mark_area(opacity=0.13, clip=True).encode(y=low, y2="high", fill=style.plain("colour", alt.Fill)),
        alt.Chart(pd.DataFrame({"x": [-0.5] if len(profile) else []})).mark_rule(color=style.GRID).encode(x="x:Q"),
        *(
            base.transform_filter(f"datum.span == '{span}'")
            .mark_line(strokeWidth=1.6, strokeDash=dash)
            .encode(y=y, color=ink)
            for span, dash in (("unigrams", [1, 0]), ("bigrams", [3, 2]))
        ),
        dots.mark_rule(strokeWidth=1.5, clip=True).encode(y="low:Q", y2="high"),
        dots.mark_point(size=30, filled=True, opacity=1).encode(y=y),
    ]
    row = rows.iloc[0]
    about = [panel.largest, f"counted in {row['counted_corpus']}" + ("" if row["complete"] else ", a sample of it")]
    if not row["own"]:
        about.append(f"under {row['counted_tokenizer']}")
    title = style.under(panel.title, *about)
    return alt.layer(*layers).properties(width=width, height=style.HEIGHT, title=title)


def _across(positions: pd.Series, wholes: list[str]) -> tuple[alt.X, dict[str, float], float]:
    """The horizontal axis of a profile over these positions, and after it the whole spans; the places of those, and how
    much of the axis is a pixel."""
    first, last = (positions.min(), positions.max()) if len(positions) else (0, 0)
    pixel = max(last - first, 1) / PROFILE
    end = last + STEP * pixel * len(wholes)
    places = {span: last + (i + 0.7) * STEP * pixel for i, span in enumerate(wholes)}
    names = "".join(f"datum.value == {at} ? '{WHOLE[span]}' : " for span, at in places.items())
    ticks = [*({first, 0, last} if len(positions) else ()), *places.values()]
    x = alt.X(
        "x:Q",
        title="token of the window" if len(positions) else None,
        scale=alt.Scale(domain=[first, end], nice=False),
        axis=alt.Axis(values=ticks, labelExpr=f"{names}format(datum.value, '~d')", grid=False, titleAnchor="start"),
    )
    return x, places, pixel
