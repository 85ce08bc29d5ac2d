"""Would another tokenizer's counts have told the same?

By how many decades memorized sequences are more frequent than unmemorized ones, for the largest model of each family,
with 95 % intervals. Filled: counted under the model's own tokenizer. Hollow: the same sequences counted under another,
or in bytes. At the right: Spearman's correlation of the two counts. A pair on either side of the rule at 0 would tell
opposite stories; none is drawn where too few documents hold memorized text, or unmemorized.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _counts as counts
from . import _style as style
from ._models import ROW, places_of

RUN = "`memlake ingest count` with more than one `--tokenizer`, or `memlake demo` for everything"
SPANS = ("window", "continuation", "bigrams", "unigrams")
WIDTH = 150  # pixels


def draw(rows: pd.DataFrame) -> list[ChartType]:
    """One panel a span."""
    rows = counts.one_corpus(rows[rows["role"] != "control"])
    if rows.empty:
        return []
    rows = rows.sort_values(["params", "model"])
    rows = rows[rows["model"] == rows.groupby(["family", "miniature"])["model"].transform("last")]
    several = rows.groupby("model")["corpus"].transform("nunique") > 1
    name = rows["model"].where(~several, rows["model"] + ", " + rows["corpus"])
    rows = rows.assign(
        model=name + rows["complete"].map({True: "", False: ", sample"}) + " / " + rows["other_tokenizer"],
        side="\N{GREEK SMALL LETTER RHO} " + rows["correlation"].map("{:.2f}".format).str.replace("nan", "\N{EN DASH}"),
    )
    ends = rows[["own_low", "own_high", "other_low", "other_high", "effect_own", "effect_other"]].abs().max().max()
    most = 1.05 * ends if ends > 0 else 1
    return [_panel(rows[rows["span"] == span], rows, span, most) for span in SPANS if (rows["span"] == span).any()]


def _panel(rows: pd.DataFrame, shown: pd.DataFrame, span: str, most: float) -> ChartType:
    """The pairs of one span over the names of all that are shown."""
    at, end = places_of(shown)
    rows = rows.assign(y=rows["model"].map(at), colour=rows["family"].map(style.colour))
    names = pd.DataFrame({"text": list(at), "y": list(at.values())})
    x = alt.X(
        "x:Q",
        title="memorized less unmemorized, decades",
        scale=alt.Scale(domain=[-most, most], nice=False),
        axis=alt.Axis(tickCount=4, format="~g"),
    )
    y = alt.Y("y:Q", scale=alt.Scale(domain=[end, -0.7], nice=False), axis=None)
    ink, stroke = style.plain("colour"), style.plain("colour", alt.Stroke)
    layers = [
        alt.Chart(names).mark_rule(color=style.GRID).encode(y=y),
        alt.Chart(pd.DataFrame({"x": [0]})).mark_rule(color=style.CONTROL).encode(x=x),
        alt.Chart(names).mark_text(align="right", dx=-7, color=style.INK).encode(x=alt.value(0), y=y, text="text:N"),
    ]
    for kind, below, fill in (("own", -0.17, ink), ("other", 0.17, alt.value("white"))):
        part = rows[["colour"]].assign(
            x=rows[f"effect_{kind}"],
            low=rows[f"{kind}_low"],
            high=rows[f"{kind}_high"],
            y=rows["model"].map(at) + below,
        )
        base = alt.Chart(part).encode(y=y)
        layers += [
            base.mark_rule(strokeWidth=1.5).encode(x="low:Q", x2="high", color=ink),
            base.mark_point(size=34, strokeWidth=1.4, opacity=1).encode(x=x, stroke=stroke, fill=fill),
        ]
    beside = alt.Chart(rows[["side", "y"]]).mark_text(align="left", dx=7, color=style.MUTED)
    layers.append(beside.encode(x=alt.value(WIDTH), y=y, text="side:N"))
    return alt.layer(*layers).properties(width=WIDTH, height=ROW * 1.3 * (end + 0.7), title=style.title(span))
