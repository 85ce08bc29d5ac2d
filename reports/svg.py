"""Altair charts as SVG that can stand inside an HTML page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from .figures import _style as style

if TYPE_CHECKING:
    import pandas as pd
    from altair.typing import ChartType

# vl-convert brings Liberation Sans and measures text with it; Arial and Helvetica have the same widths.
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
AXIS = {
    "labelColor": style.MUTED, "labelFontSize": 11, "titleColor": style.MUTED, "titleFontSize": 11,
    "titleFontWeight": "normal", "gridColor": style.GRID, "domain": False, "ticks": False, "labelPadding": 5,
    "labelFlush": False, "titlePadding": 7,
    "labelLimit": 0, "titleLimit": 0,  # nothing is cut off, and so nothing is measured for it
}  # fmt: skip
CONFIG = {
    "font": FONT,
    "background": "transparent",
    "padding": 4,
    "view": {"stroke": None},
    "axis": AXIS,
    "axisX": {"domain": True, "domainColor": "#9aa5ad"},
    "text": {"fontSize": 11},
    "legend": {"labelColor": style.MUTED, "titleColor": style.MUTED, "titleFontWeight": "normal", "labelFontSize": 11},
    "title": {
        "anchor": "start", "frame": "group", "fontSize": 13, "fontWeight": "bold", "offset": 10,
        "subtitleColor": style.MUTED, "subtitleFontSize": 11, "subtitlePadding": 3,
    },
    "header": {
        "title": None, "labelFontSize": 12, "labelColor": style.INK, "labelAnchor": "start", "labelLimit": 0,
        "labelPadding": 8, "labelExpr": "split(datum.label, '\\n')",
    },
    "facet": {"spacing": 16},
    "concat": {"spacing": 16},
}  # fmt: skip
# What vl-convert writes on elements and a page does without: names for scripts, labels of its own making, defaults.
NOISE = {"role", "aria-hidden", "aria-roledescription", "aria-label", "class", "pointer-events", "version"}
DEFAULTS = {
    ("opacity", "1"), ("font-weight", "normal"), ("stroke-width", "1"), ("text-anchor", "start"), ("x2", "0"),
    ("y2", "0"), ("transform", "translate(0,0)"), ("font-family", FONT),
}  # fmt: skip
# What elements inherit from the group around them, or, of those that are not seen, share with it.
SHARED = ("fill", "stroke", "stroke-width", "stroke-dasharray", "font-size", "font-weight", "text-anchor")
DISC = re.compile(r"M([\d.]+),0A\1,\1,0,1,1,-\1,0A\1,\1,0,1,1,\1,0")
PLACE = re.compile(r"translate\(([-\d.e]+),([-\d.e]+)\)")


def render(chart: ChartType, name: str) -> str:
    """The chart as an `<svg>` element, the same for the same chart. `name` is put before its ids, which must differ
    within a page. The column `tip` of a mark (see `_style.tip`) is its `<title>`, which browsers show at the
    pointer."""
    import altair as alt
    import vl_convert

    alt.data_transformers.register("memlake", _values)
    with alt.data_transformers.enable("memlake"):
        spec = chart.to_dict(validate=False)  # the tests validate
    spec["config"] = CONFIG
    tips = {row[style.TIP] for rows in spec.get("datasets", {}).values() for row in rows if row.get(style.TIP)}
    head, end, rest = vl_convert.vegalite_to_svg(spec).partition(">")
    head = re.sub(r' xmlns(:xlink)?="[^"]*"', "", head)  # HTML knows them
    root = ElementTree.fromstring(head + end + rest)
    _slim(root, tips)
    root.set("font-family", FONT)
    svg = ElementTree.tostring(root, encoding="unicode").replace(" />", "/>")
    # vl-convert counts clippings over the life of the process; here over the chart
    place = {old: str(i) for i, old in enumerate(re.findall(r'<clipPath id="clip(\d+)"', svg))}
    svg = re.sub(r'(<[^>]*\b(?:id="|url\(#)clip)(\d+)', lambda m: m[1] + place[m[2]], svg)
    return re.sub(r"<[^>]*>", lambda tag: _plain(tag[0], name), svg)


def _values(data: pd.DataFrame) -> dict[str, Any]:
    """A frame as Vega-Lite's inline data, missing values as null. What Altair does by itself tells types as well, which
    the charts name, in five times as long."""
    columns = [[None if v != v else v for v in data[name].tolist()] for name in data]
    return {"values": [dict(zip(data.columns, row, strict=True)) for row in zip(*columns, strict=True)]}


def _slim(element: ElementTree.Element, tips: set[str]) -> None:
    """Leave out of an element what does not show, turn the label that is a tip into its title, and say once what all
    its children have in common."""
    for child in list(element):
        _slim(child, tips)
        if element.tag != "clipPath" and _is_empty(child):
            element.remove(child)
    tip = element.get("aria-label")
    for key, value in list(element.attrib.items()):
        if key in NOISE or (key, value) in DEFAULTS:
            del element.attrib[key]
    if tip in tips:
        title = ElementTree.Element("title")
        title.text = tip
        element.insert(0, title)
    disc = DISC.fullmatch(element.get("d", ""))
    if disc and (place := PLACE.fullmatch(element.get("transform", "translate(0,0)"))):
        element.tag = "circle"
        for key in {"d", "transform"} & set(element.attrib):
            del element.attrib[key]
        element.attrib |= {"cx": place[1], "cy": place[2], "r": disc[1]}
    if element.tag == "g" and len(element) > 1:
        _share(element)


def _is_empty(element: ElementTree.Element) -> bool:
    if element.tag == "g":
        return len(element) == 0
    if element.tag != "path" or len(element):
        return False
    painted = {element.get("fill", "none"), element.get("stroke", "none")} - {"none", "transparent"}
    return element.get("display") == "none" or not element.get("d") or not painted


def _share(group: ElementTree.Element) -> None:
    invisible = all(child.get("opacity") == "0" for child in group)
    for key in (*SHARED, "opacity") if invisible else SHARED:
        values = {child.get(key) for child in group}
        if len(values) == 1 and (value := values.pop()) is not None:
            group.set(key, value)
            for child in group:
                del child.attrib[key]


def _plain(tag: str, name: str) -> str:
    """A tag with its ids named apart, and a hundredth of a pixel as its finest step."""
    tag = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", tag)
    return re.sub(r"-?\d+\.\d{3,}(e-\d+)?", lambda n: f"{round(float(n[0]), 2) + 0:g}", tag)
