"""What the figures share in which each model has a line: where it stands, and panels side by side that share the names.

The names stand once, at the left of a row of panels: such a row is one chart, which a narrow screen scrolls.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _style as style

WIDTH, ROW = 300, 16  # pixels of a panel that stands alone, and of a line
PAGE, SPACE, MOST = 1130, 34, 7  # pixels of a row of panels, and between two; panels of a row
LETTER = 5.8  # pixels of a letter of a name, on average
ROLES = {"control": "circle", "trained": "circle"}  # the shape of their marks; a diamond where it is not known


def places_of(rows: pd.DataFrame) -> tuple[dict[str, float], float]:
    """Where each model stands on the vertical axis, a gap between families; and where the axis ends."""
    places, at = {}, 0.0
    for family, miniature in style.families(rows):
        own = rows[(rows["family"] == family) & (rows["miniature"] == miniature)].sort_values(["params", "model"])
        for model in own["model"].unique():
            places[model] = at
            at += 1
        at += 0.6
    return places, at - 0.6


def names(places: Mapping[str, float], end: float) -> alt.Y:
    """The vertical axis of column `y`, down to `end`: a name and a rule at each place."""
    texts, values = json.dumps(list(places)), list(places.values())
    return alt.Y(
        "y:Q",
        title=None,
        scale=alt.Scale(domain=[end, -0.7], nice=False),
        axis=alt.Axis(values=values, labelExpr=f"{texts}[indexof({values}, datum.value)]", labelColor=style.INK),
    )


def across(
    data: pd.DataFrame,
    panels: Sequence[str],
    layers: Sequence[alt.Chart],
    places: Iterable[str],
    height: float,
    room: float = 0,
    widest: float = 260,
) -> list[ChartType]:
    """Panels side by side, in as few rows of as equal length as the page holds, each row a chart of its own.

    data: what all layers draw, of the panel in its column `panel`; panels: their headings, in order; layers: charts
    without data, over the axis of `names`; places: those names; room: pixels to the right of each panel, for text;
    widest: of a panel.
    """
    each, left = SPACE + room, PAGE - LETTER * max(map(len, places), default=0)
    most = max(1, min(MOST, int(left // (100 + each))))
    of_row = math.ceil(len(panels) / math.ceil(len(panels) / most)) if len(panels) else 1
    width = min(widest, left // of_row - each)
    rows = [list(panels[i : i + of_row]) for i in range(0, len(panels), of_row)]
    return [
        alt.layer(*layers, data=data[data["panel"].isin(row)], width=width, height=height).facet(
            column=alt.Column("panel:N", sort=row, title=None), spacing=SPACE
        )
        for row in rows
    ]


def by_domain(rows: pd.DataFrame, x: alt.X, over: str | None = None) -> list[ChartType]:
    """Panels of domains, structural ones first: a dot a model at column `x`, its line from `low` to `high`, and a
    tick at the column `over` where one is named. rows: with what the pointer says of each (see `_style.tips`)."""
    domains = rows[["domain", "class"]].drop_duplicates().sort_values(["class", "domain"], ascending=[False, True])
    panels = {
        domain: f"{domain}\n{kind.replace('_', ' ') if isinstance(kind, str) else 'class not known'}"
        for domain, kind in domains.itertuples(index=False)
    }
    return dots(rows.assign(panel=rows["domain"].map(panels)), list(panels.values()), x, over)


def dots(rows: pd.DataFrame, panels: Sequence[str], x: alt.X, over: str | None = None) -> list[ChartType]:
    """The same with the heading of each row's panel in its column `panel`."""
    at, height = places_of(rows)
    control = rows["role"] == "control"
    colour = rows["family"].map(style.colour).mask(control, style.CONTROL)
    data = rows[["panel", "x", "low", "high", style.TIP, *([over] if over else ())]].assign(
        y=rows["model"].map(at) + control * 0.3,  # control text a little below
        colour=colour,
        fill=colour.mask(control, "white"),
        shape=rows["role"].map(ROLES).fillna("diamond"),
    )
    y = names(at, height)
    layers = [interval(x, y), dot(x, y)]
    if over:
        layers.append(tick(over, style.INK, x, y))
    return across(data, panels, layers, at, ROW * (height + 0.7))


def interval(x: alt.X, y: alt.Y) -> alt.Chart:
    """Lines from `low` to `high` in their `colour`."""
    along = x.copy()
    along.shorthand = "low:Q"
    return alt.Chart().mark_rule(strokeWidth=1.5).encode(x=along, x2=alt.X2("high"), y=y, color=style.plain("colour"))


def dot(x: alt.X, y: alt.Y, size: float = 42) -> alt.Chart:
    """Marks with their `colour`, `fill`, `shape` and `tip`."""
    return (
        alt.Chart()
        .mark_point(size=size, strokeWidth=1.5, opacity=1)
        .encode(
            x=x,
            y=y,
            stroke=style.plain("colour", alt.Stroke),
            fill=style.plain("fill", alt.Fill),
            shape=alt.Shape("shape:N", scale=None),
            description=style.tip(),
        )
    )


def tick(column: str, colour: str, x: alt.X, y: alt.Y) -> alt.Chart:
    """A mark across each line at a column, over the axis `x`."""
    at = x.copy()
    at.shorthand = f"{column}:Q"
    mark = alt.Chart().mark_tick(orient="vertical", thickness=2, size=13, color=colour, opacity=1)
    return mark.encode(x=at, y=y)


def lines(rows: pd.DataFrame) -> tuple[pd.DataFrame, alt.Y, float]:
    """The rows with their height `y` and `colour`; the axis of the names of models, or of model and corpus where it has
    several; the height in pixels."""
    several = rows.groupby("model")["corpus"].transform("nunique") > 1
    rows = rows.assign(line=rows["model"].where(~several, rows["model"] + ", " + rows["corpus"]))
    at, end = places_of(rows.assign(model=rows["line"]))
    rows = rows.assign(y=rows["line"].map(at), colour=rows["family"].map(style.colour))
    return rows, names(at, end), ROW * (end + 0.7)


def beside(y: alt.Y) -> alt.Chart:
    """Each row's `text` to the right of the axes."""
    text = alt.Chart().mark_text(align="left", dx=7, color=style.MUTED)
    return text.encode(x=alt.XValue("width"), y=y, text=alt.Text("text:N"))


def zero() -> alt.Chart:
    """A broken rule at 0."""
    return alt.Chart().mark_rule(color=style.MUTED, strokeDash=[3, 3]).encode(x=alt.XDatum(0))
