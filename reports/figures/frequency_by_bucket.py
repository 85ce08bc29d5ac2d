"""Is memorized text made of more frequent pieces?

How often pieces of the text occur in the corpus the model trained on, for the largest model of each family, with 95 %
intervals: each token and each pair of tokens, at every eighth place of the window and at all places together, and the
continuation and the window as wholes. Full colour: memorized sequences. Pale: half memorized ones. Grey: those of which
no token was produced. The continuation begins at 0. Each row has a vertical axis of its own, logarithmic, which holds
its dots: it need not begin at 1, and an interval that reaches its edge goes on. Means are geometric, of 1 +
occurrences: text that lies in the corpus occurs there itself.
"""

from __future__ import annotations

import json

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _counts as counts
from . import _style as style
from ._models import across

RUN = counts.RUN
LISTS = {"unigrams": "each token", "bigrams": "each pair of tokens"}
WHOLE = ("continuation", "window")
AXIS = "100k 1 +"  # as wide as the labels and the heading of an axis
EVERY, HEIGHT, ROOM = 8, 120, 0.05  # places of the window of which one is shown; pixels; decades beyond the dots


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """A row of panels for tokens, for pairs and for wholes, a panel a family and corpus."""
    rows = rows[(rows["role"] != "control") & rows["span"].isin([*LISTS, *WHOLE])]
    rows = counts.one_corpus(counts.one_way(rows))
    if rows.empty:
        return []
    data = pd.concat([_dots(panel) for panel in style.panels(rows)], ignore_index=True)
    charts: list[ChartType] = []
    for span, name in LISTS.items():
        own = data[data["span"] == span]
        shown = own["position"].dropna().astype(float).tolist()
        together = max(shown) + 1.5 * EVERY if shown else 0.0
        places = {style.number(at): at for at in (sorted({min(shown), 0.0, max(shown)}) if shown else ())}
        x = own["position"].fillna(together) + own["beside"] * 0.2 * EVERY
        charts += _row(own.assign(x=x), name, places | {"all": together}, "token of the window", EVERY / 2)
    at = {span: float(i) for i, span in enumerate(WHOLE)}
    own = data[data["span"].isin(WHOLE)]
    return charts + _row(
        own.assign(x=own["span"].map(at).astype(float) + own["beside"] * 0.2), "as a whole", at, None, 0.5
    )


def _dots(panel: style.Panel) -> pd.DataFrame:
    """The largest model's means `y` of 1 + occurrences, with `low` and `high`; beside: which group, from -1 to 1."""
    rows = panel.studied[panel.studied["model"] == panel.largest]
    row = rows.iloc[0]
    rows = rows[rows["position"].isna() | (rows["position"] % EVERY == 0)]
    colours = dict(zip(("memorized", "half", "unmemorized"), style.groups(panel.family).values(), strict=True))
    counted = style.wrapped("counted in", row["counted_corpus"], 22)
    of = [] if row["complete"] else ["a sample of it"]
    under = [] if row["own"] else [f"under {row['counted_tokenizer']}"]
    means = {name: 10 ** rows[column] for name, column in (("y", "mean_log10"), ("low", "low"), ("high", "high"))}
    at = [f"{span} at {p:g}" if p == p else span for span, p in zip(rows["span"], rows["position"], strict=True)]
    tips = style.tips(rows.assign(at=at, **means), "y", "low", "high", about=["model", "group", "at"],
                      said=style.number, n="n")  # fmt: skip
    return rows[["span", "group", "position"]].assign(
        **means,
        beside=rows["group"].map({group: i for i, group in enumerate(colours, -1)}),
        colour=rows["group"].map(colours),
        panel="\n".join([str(panel.title.text), panel.largest, *counted, *of, *under]),
        tip=tips,
    )


def _row(data: pd.DataFrame, name: str, places: dict[str, float], heading: str | None, room: float) -> list[ChartType]:
    """Dots at `x` with their intervals. places: what the axis says where; room: of the axis beyond its ends."""
    if data.empty:
        return []
    at = list(places.values())
    x = alt.X(
        "x:Q",
        title=heading,
        scale=alt.Scale(domain=[min(at) - room, max(at) + room], nice=False),
        axis=alt.Axis(values=at, labelExpr=f"{json.dumps(list(places))}[indexof({at}, datum.value)]", grid=False),
    )
    y = alt.Y(
        "y:Q",
        title="1 + occurrences",
        scale=alt.Scale(
            type="log", domain=[max(1.0, data["y"].min() / 10**ROOM), data["y"].max() * 10**ROOM], nice=False
        ),
        axis=alt.Axis(tickCount=4, format="~s"),
    )
    ink = style.plain("colour")
    interval = alt.Chart().mark_rule(strokeWidth=1.3, opacity=0.6, clip=True)
    dot = alt.Chart().mark_point(size=20, filled=True, opacity=1)
    layers = [
        interval.encode(x=x, **style.between(y), color=ink),
        dot.encode(x=x, y=y, color=ink, description=style.tip()),
    ]
    panels = data["panel"].unique().tolist()
    return [row.properties(title=style.title(name)) for row in across(data, panels, layers, [AXIS], HEIGHT)]
