"""Does a larger model keep what a smaller one has memorized?

Each panel is a step from one model to one of the next size, on the same sequences. A row of cells is the sequences of
one range of scores under the smaller model; the cells say in percent where their scores lie under the larger: left of
the rising diagonal it knows less of them, right of it more. Above: how many of the sequences that the smaller model
produces verbatim stay memorized in the larger, with the 95 % interval. Control corpora are left out.
"""

from __future__ import annotations

from typing import TypeVar

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _style as style

CELL, BINS = 31, 5  # pixels, bins
Axis = TypeVar("Axis", alt.X, alt.Y)


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a pair of models and corpus."""
    panels = []
    for panel in style.panels(rows):
        steps = panel.studied.sort_values(["params", "next_params"], kind="stable")
        names = _names(steps)
        panels += [_panel(step, panel, names) for _, step in steps.groupby(["model", "next_model"], sort=False)]
    return panels


def _names(rows: pd.DataFrame) -> dict[str, str]:
    """The sizes of the models, or their names where two have one size."""
    next_models = rows[["next_model", "next_params"]].set_axis(["model", "params"], axis=1)
    models = pd.concat([rows[["model", "params"]], next_models]).drop_duplicates().set_index("model")["params"]
    sizes = models.map(style.size)
    return sizes.to_dict() if sizes.is_unique else {model: model for model in models.index}


def _panel(rows: pd.DataFrame, panel: style.Panel, names: dict[str, str]) -> ChartType:
    matrix, stay = rows[rows["from_score"] != "memorized"], rows[rows["from_score"] == "memorized"].iloc[0]
    low_end = matrix[["from_score", "to_score"]].map(lambda score: float(score[1:4]))
    cells = pd.DataFrame({"x": low_end["to_score"] + 0.1, "y": low_end["from_score"] + 0.1, "value": matrix["share"]})
    cells["tip"] = style.tips(
        matrix.assign(at="score " + matrix["from_score"] + " then " + matrix["to_score"]), "share", "low", "high",
        about=["model", "next_model", "at"], n="n",
    )  # fmt: skip
    cells = cells[cells["value"].notna()]
    cells["text"] = [f"{100 * v:.0f}" for v in cells["value"]]
    cells["ink"] = ["white" if v > 0.55 else style.INK for v in cells["value"]]
    before, after = names[stay["model"]], names[stay["next_model"]]
    x, y = _axis(alt.X, "x", f"score under {after}"), _axis(alt.Y, "y", f"score under {before}")
    shades = alt.Scale(domain=[0, 1], range=["#ffffff", style.colour(panel.family)], interpolate="rgb")
    colour = alt.Color("value:Q", scale=shades, legend=None)
    base = alt.Chart(cells)
    return alt.layer(
        base.mark_rect(width=CELL - 1, height=CELL - 1).encode(x=x, y=y, color=colour, description=style.tip()),
        base.mark_text(fontSize=10).encode(x=x, y=y, text=alt.Text("text:N"), color=style.plain("ink")),
        width=BINS * CELL,
        height=BINS * CELL,
        title=style.under(panel.title, f"{before} to {after}", _kept(stay)),
    )


def _axis(channel: type[Axis], column: str, heading: str) -> Axis:
    return channel(
        f"{column}:Q",
        title=heading,
        scale=alt.Scale(domain=[0, 1], nice=False),
        axis=alt.Axis(format="~%", values=[i / BINS for i in range(BINS + 1)], grid=False),
    )


def _kept(row: pd.Series) -> str:
    """What stays memorized, in words."""
    if not row["n"]:
        return "none memorized by the smaller"
    low, high = (f"{100 * row[end]:.0f}" for end in ("low", "high"))
    return f"{100 * row['share']:.0f} % of {row['n']} stay memorized ({low} to {high})"
