"""How does memorization grow with the size of the model?

One dot is one model: its rate, averaged over the domains that all models of its family have. The line is the
least-squares fit against the logarithm of the number of parameters; its slope, in percentage points for ten times the
parameters, stands above with two 95 % intervals: where the slope of other models of the family would lie, and where
that of these models on other texts. Hollow and grey: control text. No line is drawn below three sizes, or where all
rates are equal.
"""

from __future__ import annotations

import math

import altair as alt
import numpy as np
import pandas as pd
from altair.typing import ChartType

from . import _style as style

ALSO = ("memorization_rate",)  # the finding whose rows are the dots
LINE = ["family", "miniature", "revision", "corpus", "role", "condition"]

INTERVALS = {"other models": ("slope_low", "slope_high"), "other texts": ("sample_low", "sample_high")}


def draw(rows: pd.DataFrame, rates: pd.DataFrame) -> list[ChartType]:
    """One panel a family, corpus and revision."""
    dots = points(rates)
    panels = []
    for miniature, revision in dots[["miniature", "revision"]].drop_duplicates().itertuples(index=False):
        same = (dots["miniature"] == miniature) & (dots["revision"] == revision)
        limits = _limits(dots[same])
        for panel in style.panels(dots[same]):
            panels.append(_panel(panel, rows, limits))
    return panels


def points(rates: pd.DataFrame) -> pd.DataFrame:
    """The dots that the finding fits its lines to, from the rows of memorization_rate: see scaling_law.sql."""
    rates = rates[rates["params"].notna()].assign(
        revision=rates["model"].str.partition("@")[2], role=rates["role"].fillna("")
    )
    models = rates.groupby(LINE)["model"].transform("nunique")
    shared = rates[rates.groupby([*LINE, "domain"])["model"].transform("nunique") == models]
    dots = shared.groupby([*LINE, "model", "params"], as_index=False)["rate"].mean()
    return dots.assign(role=dots["role"].mask(dots["role"] == ""))


def _limits(dots: pd.DataFrame) -> tuple[list[float], float]:
    """The ends of the axis of parameters, and where that of rates ends."""
    low, high = (math.log10(dots["params"].agg(end)) for end in ("min", "max"))
    room = 0.12 * (high - low) or 0.5
    return [10 ** (low - room), 10 ** (high + room)], style.top(dots["rate"])


def _panel(panel: style.Panel, rows: pd.DataFrame, limits: tuple[list[float], float]) -> ChartType:
    across, upper = limits
    powers = [10.0**i * m for i in range(2, 13) for m in (1, 3) if across[0] <= 10.0**i * m <= across[1]]
    x = alt.X(
        "x:Q",
        title="parameters",
        scale=alt.Scale(type="log", domain=across, nice=False),
        axis=alt.Axis(values=powers, labelExpr=style.SIZE_LABELS, grid=False),
    )
    y = style.percent([0, upper], "sequences memorized")
    layers: list[alt.Chart] = []
    notes: list[str] = []
    for dots, colour in ((panel.control, style.CONTROL), (panel.studied, style.colour(panel.family))):
        notes = notes if dots.empty else []  # those of control text stand only where there is no other
        for key, line in dots.assign(role=dots["role"].fillna("")).groupby(LINE):
            fit = _fit(rows, key)
            notes += _notes(fit) if dots["condition"].nunique() == 1 else [key[-1], *_notes(fit)]
            if fit is not None and pd.notna(fit["slope"]):
                ends = pd.DataFrame({"x": np.geomspace(across[0], across[1], 60)})
                ends["y"] = (fit["intercept"] + fit["slope"] * np.log10(ends["x"])) / 100
                inside = ends[ends["y"].between(0, upper)]
                layers.append(alt.Chart(inside).mark_line(color=colour, strokeWidth=1.5, opacity=0.6).encode(x=x, y=y))
            tips = style.tips(line, "rate", about=["model", "corpus", "role"])
            data = line.assign(tip=tips).rename(columns={"params": "x", "rate": "y"})
            fill = "white" if key[LINE.index("role")] == "control" else colour
            layers.append(
                alt.Chart(data)
                .mark_point(size=55, stroke=colour, fill=fill, strokeWidth=1.5, opacity=1)
                .encode(x=x, y=y, description=style.tip())
            )
    notes += [""] * (1 + len(INTERVALS) - len(notes))  # so that panels side by side are level
    title = style.under(panel.title, *notes)
    return alt.layer(*layers, width=style.WIDTH + 15, height=style.HEIGHT - 10, title=title)


def _fit(rows: pd.DataFrame, key: tuple) -> pd.Series | None:
    """The finding's row for a line, if it has one."""
    text = rows.assign(revision=rows["revision"].fillna(""), role=rows["role"].fillna(""))
    found = rows[(text[LINE] == list(key)).all(axis=1)]
    return None if found.empty else found.iloc[0]


def _notes(fit: pd.Series | None) -> list[str]:
    """What stands above the dots: the slope in words."""
    if fit is None:
        return ["no fit", ""]
    if isinstance(fit["note"], str):
        return [f"{fit['note']}: no line", f"models {fit['models']}, sizes {fit['sizes']}, domains {fit['domains']}"]
    slope = f"{style.signed(fit['slope'])} points per tenfold size"
    return [slope, *(f"{about}: {_interval(fit, ends)}" for about, ends in INTERVALS.items())]


def _interval(fit: pd.Series, ends: tuple[str, str]) -> str:
    return "not known" if pd.isna(fit[ends[0]]) else " to ".join(style.signed(fit[end]) for end in ends)
