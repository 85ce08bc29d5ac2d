"""Altair charts as SVG that can stand inside an HTML page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .figures import _style as style

if TYPE_CHECKING:
    from altair.typing import ChartType

# vl-convert brings Liberation Sans and measures text with it; Arial and Helvetica have the same widths.
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
AXIS = {
    "labelColor": style.MUTED, "labelFontSize": 11, "titleColor": style.MUTED, "titleFontSize": 11,
    "titleFontWeight": "normal", "gridColor": style.GRID, "domain": False, "ticks": False, "labelPadding": 5,
    "labelFlush": False, "titlePadding": 7,
}  # fmt: skip
CONFIG = {
    "font": FONT,
    "background": "transparent",
    "padding": 4,
    "view": {"stroke": None},
    "aria": False,  # the page describes the figure; a label on each mark would double its size
    "axis": AXIS,
    "axisX": {"domain": True, "domainColor": "#9aa5ad"},
    "text": {"fontSize": 11},
    "legend": {"labelColor": style.MUTED, "titleColor": style.MUTED, "titleFontWeight": "normal", "labelFontSize": 11},
    "title": {
        "anchor": "start", "frame": "group", "fontSize": 13, "fontWeight": "bold", "offset": 10,
        "subtitleColor": style.MUTED, "subtitleFontSize": 11, "subtitlePadding": 3,
    },
}  # fmt: skip


def render(chart: ChartType, name: str) -> str:
    """The chart as an `<svg>` element, the same for the same chart. `name` is put before its ids, which must differ
    within a page."""
    import altair as alt
    import vl_convert

    with alt.data_transformers.enable("default", max_rows=None):
        spec = chart.to_dict()
    spec["config"] = CONFIG
    svg = vl_convert.vegalite_to_svg(spec)
    # vl-convert counts clippings over the life of the process; here over the chart
    place = {old: str(i) for i, old in enumerate(re.findall(r'<clipPath id="clip(\d+)"', svg))}
    svg = re.sub(r'(<[^>]*\b(?:id="|url\(#)clip)(\d+)', lambda m: m[1] + place[m[2]], svg)
    return re.sub(r"<[^>]*>", lambda tag: _plain(tag[0], name), svg)


def _plain(tag: str, name: str) -> str:
    """A tag with its ids named apart, a hundredth of a pixel as its finest step, and no namespace, which HTML knows."""
    tag = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", tag)
    tag = re.sub(r"\d+\.\d{3,}", lambda n: f"{float(n[0]):.2f}", tag)
    return re.sub(r' xmlns(:xlink)?="[^"]*"', "", tag)
