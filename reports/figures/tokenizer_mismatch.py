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
from ._models import ROW, across, beside, dot, interval, names, places_of, zero

RUN = "`memlake ingest count` with more than one `--tokenizer`, or `memlake demo` for everything"
SPANS = ("window", "continuation", "bigrams", "unigrams")


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
        text="\N{GREEK SMALL LETTER RHO} "
        + rows["correlation"].map("{:.2f}".format).str.replace("nan", "\N{EN DASH}").str.replace("-", style.MINUS),
    )
    at, end = places_of(rows)
    colour = rows["family"].map(style.colour)
    about = rows[["model", "text", "span"]].rename(columns={"span": "panel"})
    kinds = []
    for kind, below in (("own", -0.17), ("other", 0.17)):
        tokenizer = f"{kind}_tokenizer"
        drawn = about.assign(
            x=rows[f"effect_{kind}"], low=rows[f"{kind}_low"], high=rows[f"{kind}_high"],
            y=rows["model"].map(at) + below, colour=colour, fill=colour if kind == "own" else "white", shape="circle",
            tip=style.tips(
                rows.assign(by="counted under " + rows[tokenizer]), f"effect_{kind}", f"{kind}_low", f"{kind}_high",
                about=["model", "span", "by"], said=lambda v: f"{style.number(v)} decades",
            ),
        )  # fmt: skip
        kinds.append(drawn if kind == "own" else drawn.assign(text=""))
    data = pd.concat(kinds, ignore_index=True)
    ends = data[["x", "low", "high"]].abs().max().max()
    most = 1.05 * ends if ends > 0 else 1
    x = alt.X(
        "x:Q",
        title="memorized less unmemorized, decades",
        scale=alt.Scale(domain=[-most, most], nice=False),
        axis=alt.Axis(tickCount=4, format="~g"),
    )
    y = names(at, end)
    layers = [zero(), interval(x, y), dot(x, y, 34), beside(y)]
    panels = [span for span in SPANS if (rows["span"] == span).any()]
    return across(data, panels, layers, at, ROW * 1.3 * (end + 0.7), room=40)
