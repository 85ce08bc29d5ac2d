"""Which blocks can go without attention so that memorized text goes and ability stays?

One block at a time is short-circuited, at its depth. Colour: share of the sequences that the whole model memorized
that are still produced in full, with 95 % intervals. Grey: share of the tokens of control text that are produced; the
dashed rule is what the whole model does there. Wanted: colour low, and grey at its rule. Bars are ranges of blocks,
all short-circuited at once.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _style as style

RUN = "`memlake compute run short_circuit --model MODEL --corpus CORPUS`, or `memlake demo` for everything"
FEW = 16  # blocks up to which each has its dot


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a model and corpus."""
    return [
        _panel(panel.studied[panel.studied["model"] == model], style.title(model, panel.title.subtitle, ink), ink)
        for panel in style.panels(rows)
        for ink in [style.colour(panel.family)]
        for model in panel.models
    ]


def _panel(rows: pd.DataFrame, title: alt.TitleParams, colour: str) -> ChartType:
    x, y, ink = style.depth(), style.percent([0, 1], "still produced"), style.plain("colour")
    single = rows["first_block"] == rows["last_block"]
    memory, ability = (
        _line(rows[single], "exact_match", colour, "memorized still produced"),
        _line(rows[single], "held_out_accuracy", style.CONTROL, "control tokens produced"),
    )
    band = memory.assign(low=rows["exact_match_low"], high=rows["exact_match_high"])
    lines = pd.concat([ability, memory])
    ranges = pd.concat(
        [
            _line(rows[~single], "held_out_accuracy", style.CONTROL, "control tokens produced"),
            _line(rows[~single], "exact_match", colour, "memorized still produced"),
        ]
    )
    base = pd.DataFrame({"y": rows["held_out_base"].dropna().unique()[:1]})
    return alt.layer(
        alt.Chart(band).mark_area(opacity=0.15, fill=colour).encode(x=x, **style.between(y)),
        alt.Chart(base).mark_rule(strokeDash=[4, 3], color=style.CONTROL).encode(y=y),
        alt.Chart(lines)
        .mark_line(strokeWidth=1.5, point={"size": 16} if single.sum() <= FEW else False)
        .encode(x=x, y=y, color=ink),
        alt.Chart(ranges)
        .mark_rule(strokeWidth=3, opacity=0.5)
        .encode(x=alt.X("start:Q"), x2=alt.X2("end"), y=y, color=ink, description=style.tip()),
        style.hover(lines, x, y),
        width=style.WIDTH,
        height=style.HEIGHT - 45,
        title=title,
    )


def _line(rows: pd.DataFrame, column: str, colour: str, is_called: str) -> pd.DataFrame:
    """One read-out: `y` at depth `x`, from `start` to `end` of its blocks."""
    first, last = rows["first_block"].astype(str), rows["last_block"].astype(str)
    blocks = ("block " + first).where(first == last, "blocks " + first + " to " + last)
    # accuracy on control text has an interval only as a change
    ends = () if column == "held_out_accuracy" else (f"{column}_low", f"{column}_high")
    return pd.DataFrame(
        {
            "x": rows["depth"],
            "start": rows["first_block"] / rows["n_layers"],
            "end": (rows["last_block"] + 1) / rows["n_layers"],
            "y": rows[column],
            "colour": colour,
            "tip": style.tips(
                rows.assign(blocks=blocks), column, *ends, about=["model", "blocks"], is_called=is_called
            ),
        }
    ).dropna(subset="y")
