"""What the figures share in which each model has a line: where it stands, and panels of such lines."""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _style as style

WIDTH, ROW = 300, 15  # pixels of a panel of `lines`, and of a line
MARKS = {"control": ("circle", False), "trained": ("circle", True), None: ("diamond", True)}  # role: shape, filled


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


def by_domain(rows: pd.DataFrame, x: alt.X, tick: str | None = None) -> list[ChartType]:
    """One panel a domain, structural ones first: a dot a model at column `x`, its line from `low` to `high`, and a tick
    at the column `tick` where one is named."""
    at, height = places_of(rows)
    rows = rows.assign(
        y=rows["model"].map(at) + (rows["role"] == "control") * 0.3,  # control text a little below
        colour=[
            style.CONTROL if r == "control" else style.colour(f) for r, f in zip(rows.role, rows.family, strict=True)
        ],
    )
    y = alt.Y("y:Q", scale=alt.Scale(domain=[height, -0.7], nice=False), axis=None)
    domains = rows[["domain", "class"]].drop_duplicates().sort_values(["class", "domain"], ascending=[False, True])
    return [
        _panel(rows[rows["domain"] == domain], at, x, y, tick).properties(
            width=130,
            height=ROW * (height + 0.7),
            title=style.title(domain, kind.replace("_", " ") if isinstance(kind, str) else "class not known"),
        )
        for domain, kind in domains.itertuples(index=False)
    ]


def _panel(rows: pd.DataFrame, places: dict[str, float], x: alt.X, y: alt.Y, tick: str | None) -> ChartType:
    """Rows of one domain over the names of all models: one without rows keeps its line empty."""
    names = pd.DataFrame({"text": list(places), "y": list(places.values())})
    base = alt.Chart(rows)
    plain = alt.Color("colour:N", scale=None)
    layers = []
    if tick:
        ticks = alt.Chart(rows[["y"]].assign(x=rows[tick]))
        layers.append(ticks.mark_tick(orient="vertical", size=9, thickness=1.6, color=style.INK).encode(x=x, y=y))
    layers += [
        alt.Chart(names).mark_rule(color=style.GRID).encode(y=y),
        alt.Chart(names).mark_text(align="right", dx=-7, color=style.INK).encode(x=alt.value(0), y=y, text="text:N"),
        base.mark_rule(strokeWidth=1.5).encode(x="low:Q", x2="high", y=y, color=plain),
    ]
    for role, (shape, filled) in MARKS.items():
        part = rows[rows["role"].isna() if role is None else rows["role"] == role]
        fill = plain if filled else alt.value("white")
        layers.append(
            alt.Chart(part)
            .mark_point(shape=shape, size=42, strokeWidth=1.5, opacity=1)
            .encode(x=x, y=y, stroke=alt.Stroke("colour:N", scale=None), fill=fill)
        )
    return alt.layer(*layers)


def lines(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[alt.Chart], alt.Y, float]:
    """The rows with their height `y` and `colour`; a rule and a name for each model, or model and corpus where it has
    several; the vertical axis; the height in pixels."""
    several = rows.groupby("model")["corpus"].transform("nunique") > 1
    rows = rows.assign(model=rows["model"].where(~several, rows["model"] + ", " + rows["corpus"]))
    at, end = places_of(rows)
    names = pd.DataFrame({"text": list(at), "y": list(at.values())})
    y = alt.Y("y:Q", scale=alt.Scale(domain=[end, -0.7], nice=False), axis=None)
    base = alt.Chart(names)
    grid = [
        base.mark_rule(color=style.GRID).encode(y=y),
        base.mark_text(align="right", dx=-7, color=style.INK).encode(x=alt.value(0), y=y, text="text:N"),
    ]
    return rows.assign(y=rows["model"].map(at), colour=rows["family"].map(style.colour)), grid, y, ROW * (end + 0.7)


def beside(rows: pd.DataFrame, y: alt.Y) -> alt.Chart:
    """Each row's `text` to the right of the axes."""
    text = alt.Chart(rows).mark_text(align="left", dx=7, color=style.MUTED)
    return text.encode(x=alt.value(WIDTH), y=y, text="text:N")
