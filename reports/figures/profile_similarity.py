"""Do two models depend on heads at the same depths?

Below the diagonal: Pearson's correlation of the two layer profiles, in hundredths; blue where they go together, red
where they oppose each other. Above it: how often the profiles agree as well when they are shifted against each other
along the depth, in percent (p, of one pair alone); shaded where it is below 5. With few layers it cannot be small.
Empty: a model with too few layers to compare.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
from altair.typing import ChartType

from . import _heads as heads
from . import _style as style

RUN = heads.RUN
ALSO = ("layer_profile",)  # the finding that knows the models' sizes
CELL = 25  # pixels
RED, BLUE = "#c0504d", "#08427f"
LIKELY, PALE = "#d5dde4", "#f7f8f9"  # p below 5 %, above


def draw(rows: pd.DataFrame, models: pd.DataFrame) -> list[ChartType]:
    """One panel for published models, one for miniatures."""
    rows = heads.shown(rows[rows["similarity"].notna()])
    models = models.assign(rank=models["family"].map(style.rank)).sort_values(["rank", "params", "model"])
    order = models.drop_duplicates("model").set_index("model")["family"]
    return [_panel(part, order, bool(miniature)) for miniature, part in rows.groupby("miniature")]


def _panel(rows: pd.DataFrame, order: pd.Series, miniature: bool) -> ChartType:
    met = {*rows["model_a"], *rows["model_b"]}
    order = order[[m in met for m in order.index]]
    place = {model: i for i, model in enumerate(order.index)}
    cells = []
    for row in rows.itertuples():
        early, late = sorted((place[row.model_a], place[row.model_b]))
        r, p = row.similarity, 100 * row.p_shifted
        pair = f"{row.model_a} and {row.model_b}"
        below = {
            "tip": f"{pair}: correlation {style.number(r)}",
            "text": f"{100 * r:.0f}".replace("-", "\N{MINUS SIGN}"),
            "ink": "white" if abs(r) > 0.6 else style.INK,
            "colour": _shade(r),
        }
        above = {
            "tip": f"{pair}, shifted: p {style.share(row.p_shifted)}",
            "text": f"{p:.1f}" if p < 9.95 else f"{p:.0f}",
            "ink": style.INK,
            "colour": LIKELY if p < 5 else PALE,
        }
        cells += [{"x": early, "y": late, **below}, {"x": late, "y": early, **above}]
    names = pd.DataFrame({"at": range(len(order)), "text": order.index, "colour": order.map(style.colour).to_numpy()})
    about = "below the diagonal: correlation; above: p, profiles shifted, in percent"
    return _matrix(pd.DataFrame(cells), names).properties(
        title=style.title("miniatures" if miniature else "published models", about)
    )


def _shade(r: float) -> str:
    return style.pale(BLUE if r >= 0 else RED, 0.03 + 0.97 * abs(r) ** 1.5)


def _matrix(cells: pd.DataFrame, names: pd.DataFrame) -> ChartType:
    """Squares with their text, and the names to the left and below."""
    n = len(names)
    across = alt.Scale(domain=[-0.5, n - 0.5], nice=False)
    down = alt.Scale(domain=[n - 0.5, -0.5], nice=False)
    x, y = alt.X("x:Q", scale=across, axis=None), alt.Y("y:Q", scale=down, axis=None)
    side = max(CELL * n, 120)
    ink = style.plain("colour")
    base, text = alt.Chart(cells), alt.Chart(names).mark_text(align="right", dx=-6)
    return alt.layer(
        base.mark_rect(width=side / n - 1, height=side / n - 1).encode(x=x, y=y, color=ink, description=style.tip()),
        base.mark_text(fontSize=10).encode(x=x, y=y, text=alt.Text("text:N"), color=style.plain("ink")),
        text.encode(x=alt.value(0), y=alt.Y("at:Q", scale=down, axis=None), text=alt.Text("text:N"), color=ink),
        alt.Chart(names)
        .mark_text(align="right", dx=-6, angle=270)
        .encode(x=alt.X("at:Q", scale=across, axis=None), y=alt.value(side), text=alt.Text("text:N"), color=ink),
    ).properties(width=side, height=side)
