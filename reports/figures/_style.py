"""What the figures share: colours, labels, and the panels that a family's models are drawn in.

A figure is a list of panels, each a chart of its own: the page lays as many side by side as its width holds, so
that text keeps its size on a phone. Panels of one figure share their scales, which are therefore set here and never
left to Altair.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, overload

import altair as alt
import pandas as pd
from altair.typing import ChartType

from memlake.warehouse.identity import hash63
from memlake.warehouse.models.registry import appearances

INK, MUTED, CONTROL, GRID = "#1f2933", "#5b6770", "#8a939b", "#e8ebee"
MINUS = "\N{MINUS SIGN}"
CURVE = [alt.Detail("text:N"), alt.Detail("corpus:N")]  # what rows of one line have in common
TIP = "tip"  # the column of what the pointer says
Channel = TypeVar("Channel", alt.Color, alt.Fill, alt.Stroke)
WIDTH, HEIGHT = 158, 165  # pixels of a panel within its axes: four stand side by side on the page


@dataclass(frozen=True)
class Panel:
    """The models of one family on one corpus.

    studied: their rows; control: their rows on control corpora; models: names, the smallest first.
    """

    family: str
    title: alt.TitleParams
    studied: pd.DataFrame
    control: pd.DataFrame
    models: list[str]

    @property
    def largest(self) -> str:
        return self.models[-1]

    def shade(self, model: str) -> str:
        """The family's colour for the largest model, paler for smaller ones."""
        rank = self.models.index(model) + 1
        return pale(colour(self.family), 0.3 + 0.7 * rank / len(self.models))

    def label(self, model: str) -> str:
        """The model's size, or its name where that does not tell it from the others."""
        rows = pd.concat([self.studied, self.control])
        sizes = rows[rows["model"].isin(self.models)].drop_duplicates("model").set_index("model")["params"].map(size)
        return model if sizes[model] == "" or (sizes == sizes[model]).sum() > 1 else sizes[model]


def panels(rows: pd.DataFrame) -> Iterator[Panel]:
    """One panel a family and corpus it was trained on (or whose role is not known), with the family's control rows."""
    for family, miniature in families(rows):
        own = rows[(rows["family"] == family) & (rows["miniature"] == miniature)]
        control, studied = own[own["role"] == "control"], own[own["role"] != "control"]
        for corpus in sorted(studied["corpus"].unique()) or [None]:
            part = studied[studied["corpus"] == corpus]
            shown = control if part.empty else part
            models = shown.sort_values(["params", "model"])["model"].unique().tolist()
            if corpus is None:
                about = "control text only"
            elif part["role"].notna().all():
                about = f"trained on {corpus}"
            else:
                about = f"on {corpus}, role not known"
            name = f"{family} (miniatures)" if miniature else family
            yield Panel(family, title(name, about, colour(family)), part, control, models)


def families(rows: pd.DataFrame) -> list[tuple[str, bool]]:
    """(family, miniature) of the rows, published models before miniatures."""
    found = rows[["family", "miniature"]].drop_duplicates().itertuples(index=False)
    return sorted(((f, bool(m)) for f, m in found), key=lambda key: (key[1], *rank(key[0])))


def rank(family: str) -> tuple[float, str]:
    """Sorts families: those that have a place in the registry, then the others by name."""
    known = appearances().get(family)
    return (known.place if known else math.inf, family)


def colour(family: str) -> str:
    """The family's colour, the same in every figure: that of the registry, else one that its name decides."""
    known = appearances()
    if family in known:
        return known[family].colour
    hues = _free_hues(tuple(appearance.colour for appearance in known.values()))
    lightness, hue = divmod(hash63(family), len(hues))
    parts = colorsys.hls_to_rgb(hues[hue] / 360, (0.27, 0.42)[lightness % 2], 0.45)
    return "#" + "".join(f"{round(255 * part):02X}" for part in parts)


@cache
def _free_hues(colours: tuple[str, ...]) -> list[int]:
    """Hues, in degrees, that are apart from those of the colours."""
    taken = [360 * colorsys.rgb_to_hls(*(int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)))[0] for c in colours]
    free = [hue for hue in range(360) if all(abs((hue - t + 180) % 360 - 180) >= 20 for t in taken)]
    return free or list(range(360))


def pale(colour: str, strength: float) -> str:
    """A colour mixed with white; strength 1 leaves it as it is."""
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 - strength * (255 - p)):02x}" for p in parts)


def groups(family: str) -> dict[str, str]:
    """The colour of each group of sequences (see the view `layer_groups`), the one of interest first."""
    return {"memorized": colour(family), "matched": pale(colour(family), 0.45), "unmemorized": CONTROL}


def support(rows: pd.DataFrame) -> str:
    """How many of the memorized sequences have a match: a line for a panel's heading."""
    rows = rows[rows["group"] == "memorized"]
    if rows.empty:
        return "nothing memorized"
    first = rows.iloc[0]
    return f"{first['pairs']:.0f} of {first['n']} memorized have a match" if first["pairs"] else "no common support"


def paired(rows: pd.DataFrame, by: str, value: str, x: alt.X, y: alt.Y, colour: str) -> alt.Chart:
    """A dashed line over `by`: `value` of the memorized sequences that have a match, of one model."""
    sides = [rows[rows["group"] == group] for group in ("matched", "memorized")]
    both = sides[0][[by, value]].merge(sides[1][[by, "difference"]], on=by).dropna()
    data = pd.DataFrame({"x": both[by], "y": both[value] + both["difference"]})
    return alt.Chart(data).mark_line(strokeWidth=1.2, strokeDash=[3, 2]).encode(x=x, y=y, color=alt.value(colour))


def title(text: str, about: str | Sequence[str] = "", colour: str = INK) -> alt.TitleParams:
    """The heading of a panel."""
    return alt.TitleParams(text, subtitle=about, color=colour)


def size(params: float | None) -> str:
    """A number of parameters in three digits at most: `310k`, `1.4B`; empty where it is not known."""
    if params is None or not params > 0:
        return ""
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if params >= 0.9995 * unit:
            return f"{float(f'{params / unit:.3g}'):g}{name}"
    return f"{params:g}"


def signed(number: float) -> str:
    """One decimal, with its sign."""
    return f"{number:+.1f}".replace("-", "\N{MINUS SIGN}")


# What the axis of parameters says at its ticks, in Vega's expression language: 1e5 is 100k.
SIZE_LABELS = "replace(format(datum.value, '~s'), 'G', 'B')"


def percent(domain: Sequence[float], heading: str) -> alt.Y:
    """The vertical axis of shares in column `y`."""
    return alt.Y(
        "y:Q",
        title=heading,
        scale=alt.Scale(domain=list(domain), nice=False),
        axis=alt.Axis(format="~%", tickCount=5),
    )


def depth() -> alt.X:
    """The horizontal axis of relative depth in column `x`: 0 after the embedding, 1 after the last block."""
    return alt.X(
        "x:Q",
        title="depth in the model",
        scale=alt.Scale(domain=[0, 1], nice=False),
        axis=alt.Axis(format="~%", values=[0, 0.25, 0.5, 0.75, 1], grid=False),
    )


def noise(rows: pd.DataFrame) -> alt.X:
    """The horizontal axis of strengths in column `x`, which holds those of the rows."""
    return alt.X(
        "x:Q",
        title="noise, of RMS(hidden state)",
        scale=alt.Scale(domain=[0, rows["noise"].max()], nice=False),
        axis=alt.Axis(format="~g", tickCount=5, grid=False),
    )


def noises(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each layer and scope of noise, with its name."""
    for (layer, scope), part in rows.groupby(["noise_layer", "noise_scope"]):
        yield f"noise at layer {layer}, RMS per {scope}", part


def under(title: alt.TitleParams, *lines: str) -> alt.TitleParams:
    """The heading of a panel with more lines under it."""
    more = title.copy()
    more.subtitle = [title.subtitle, *lines]
    return more


def wrapped(text: str, name: str, letters: int = 36) -> list[str]:
    """A line of a heading that ends in a name, or two where it would be wider than a panel."""
    return [f"{text} {name}"] if len(text) + len(name) < letters else [text, name]


def top(values: pd.Series) -> float:
    """Where an axis of shares ends: a round number that holds all values, 1 % at least."""
    largest = values.max()
    if not largest > 0.01:
        return 0.01
    power = 10 ** math.floor(math.log10(largest))
    return min(1.0, next(step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if largest <= step * power * 1.0001))


def curves(panel: Panel) -> pd.DataFrame:
    """The rows of a panel's curves with their `colour` and `text`: the largest model on control text, in grey, and each
    model, the largest last and so on top."""
    studied, control = panel.studied, panel.control[panel.control["model"] == panel.largest]
    studied = studied.assign(
        colour=studied["model"].map({m: panel.shade(m) for m in panel.models}),
        text=studied["model"].map({m: panel.label(m) for m in panel.models}),
    )
    control = control.assign(colour=CONTROL, text="control")
    return pd.concat([part for part in (control, studied) if not part.empty], ignore_index=True)


@overload
def plain(column: str) -> alt.Color: ...


@overload
def plain(column: str, channel: type[Channel]) -> Channel: ...


def plain(column: str, channel: type[Any] = alt.Color) -> Any:
    """A column that holds the colours themselves."""
    return channel(f"{column}:N", scale=None)


def banded(data: pd.DataFrame, x: alt.X, y: alt.Y, lower: float = 0) -> list[ChartType]:
    """Lines over `x` and `y`, one a `text` and `corpus`, in their `colour`, with bands from `low` to `high`, labels at
    their ends, and at each point its `tip`. lower: where the axis `y`, which ends at 1, begins."""
    base = alt.Chart(data).encode(x=x, detail=CURVE)
    return [
        base.mark_area(opacity=0.13, clip=True).encode(**between(y), fill=plain("colour", alt.Fill)),
        base.mark_line(strokeWidth=1.8, clip=True).encode(y=y, color=plain("colour")),
        end_labels(data[data["y"].notna()], x, y, lower=lower),
        hover(data, x, y),
    ]


def between(y: alt.Y) -> dict[str, Any]:
    """From `low` to `high` over the axis `y`: with its own axis an area would begin at 0."""
    low = y.copy()
    low.shorthand = "low:Q"
    return {"y": low, "y2": alt.Y2("high")}


def end_labels(
    data: pd.DataFrame,
    x: alt.X,
    y: alt.Y,
    power: float = 1,
    lower: float = 0,
    upper: float = 1,
    last: float | None = None,
) -> ChartType:
    """Each curve's `text` to the right of the last `x` of all, at the curve's own last `y`, moved apart where labels
    would overlap, then with a thin line from the curve; of curves that end alike the later is labelled above. x, y: the
    axes of the lines, y from `lower` to `upper`; power: 0.5 where it is a square-root axis; last: `x` of the labels
    where that of other lines is later."""
    ends = data.loc[data.groupby("text", sort=False)["x"].idxmax()].sort_values("y", kind="stable")
    gap = 12 / HEIGHT * (upper - lower)
    moved = apart((ends["y"] ** power).tolist(), gap, upper)
    ends = ends.assign(x=last or ends["x"].max(), own=ends["x"], end=ends["y"], y=[y ** (1 / power) for y in moved])
    away = [abs(a - b**power) > gap / 4 for a, b in zip(moved, ends["end"], strict=True)]
    base = alt.Chart(ends[["text", "x", "y"]]).encode(x=x)
    if not any(away):
        return base.mark_text(align="left", dx=7, color=INK).encode(y=y, text=alt.Text("text:N"))
    from_line = x.copy()
    from_line.shorthand = "own:Q"
    leader = alt.Chart(ends[away][["own", "x", "y", "end", "colour"]]).mark_rule(
        strokeWidth=0.8, xOffset=3, x2Offset=15
    )
    return alt.layer(
        leader.encode(x=from_line, x2=alt.X2("x"), y=alt.Y("end:Q"), y2=alt.Y2("y"), color=plain("colour")),
        base.mark_text(align="left", dx=17, color=INK).encode(y=y, text=alt.Text("text:N")),
    )


def apart(values: Sequence[float], gap: float, upper: float) -> list[float]:
    """Rising values moved as little as needed to stand `gap` apart, the last at most `upper`."""
    placed: list[float] = []
    for value in values:
        placed.append(max(value, placed[-1] + gap) if placed else value)
    for i in range(len(placed) - 1, -1, -1):
        placed[i] = min(placed[i], placed[i + 1] - gap if i + 1 < len(placed) else upper)
    return placed


def share(value: float) -> str:
    """A share in percent with three digits at most: `12.3 %`."""
    return "not known" if pd.isna(value) else f"{float(f'{100 * value:.3g}'):g} %"


def points(difference: float) -> str:
    """A difference of shares, in percentage points."""
    return "not known" if pd.isna(difference) else f"{signed(100 * difference)} points"


def number(value: float) -> str:
    """Three digits at most, with its sign where it is negative."""
    return "not known" if pd.isna(value) else f"{float(f'{value:.3g}'):g}".replace("-", MINUS)


def tips(
    rows: pd.DataFrame,
    value: str,
    low: str | None = None,
    high: str | None = None,
    *,
    about: Sequence[str] = ("model", "corpus"),
    said: Callable[[Any], str] = share,
    n: str | None = None,
    is_called: str = "",
) -> list[str]:
    """What the pointer says at each row's mark: the columns `about` (and the condition, where a model has several), the
    value with its interval, and of how many."""
    names = [rows[column] for column in about if column in rows]
    if {"model", "condition"} <= {*rows}:
        met = set(zip(rows["model"], rows["condition"], strict=True))
        names += [rows["condition"]] if len(met) > len({model for model, _ in met}) else []
    texts = []
    for i, at in enumerate(rows[value]):
        text = ", ".join(str(column.iloc[i]) for column in names if not pd.isna(column.iloc[i]))
        text += f": {is_called} {said(at)}" if is_called else f": {said(at)}"
        if low and high and not (pd.isna(rows[low].iloc[i]) or pd.isna(rows[high].iloc[i])):
            text += f" ({said(rows[low].iloc[i])} to {said(rows[high].iloc[i])})"
        if n and not pd.isna(rows[n].iloc[i]):
            text += f", n {rows[n].iloc[i]:,.0f}"
        texts.append(text)
    return texts


def tip() -> alt.Description:
    """The column of these texts."""
    return alt.Description(f"{TIP}:N")


def hover(data: pd.DataFrame, x: alt.X, y: alt.Y) -> alt.Chart:
    """What the pointer finds on lines through `x` and `y`: a place that is not seen, with its `tip`, for each point."""
    points = alt.Chart(data[data["y"].notna()]).mark_point(size=70, opacity=0, filled=True, fill=INK, stroke=None)
    return points.encode(x=x, y=y, description=tip())
