"""What stands in an `<svg>` of a figure: what is seen, and what the pointer says."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import altair as alt
import pandas as pd
import pytest

from memlake.queries.ask import connect, snapshot
from memlake.queries.finding import find
from memlake.reports import figure, svg
from memlake.reports.figures import _style as style

SAID = ['a <b> & "c": 12 %', "b: 3 %"]
DATA = pd.DataFrame({"x": [1.0, 2.0], "y": [1.0, None], "text": ["one", "two"], "tip": SAID})


@pytest.fixture
def drawn() -> ElementTree.Element:
    """Two dots, of which one has no place, a line, and a text."""
    base = alt.Chart(DATA).encode(x=alt.X("x:Q"), y=alt.Y("y:Q"))
    chart = alt.layer(
        base.mark_line(),
        base.mark_point(size=42, opacity=1, fill="#0072b2").encode(description=style.tip()),
        alt.Chart(DATA).mark_text(color="#123456").encode(x=alt.X("x:Q"), text=alt.Text("text:N")),
    )
    return ElementTree.fromstring(svg.render(chart, "f-0"))


def test_a_mark_says_its_tip_and_nothing_else_has_a_label(drawn):
    titled = [(e.tag, e.find("title").text) for e in drawn.iter() if e.find("title") is not None]
    assert titled == [("circle", SAID[0])]  # the other has no place
    keys = {key for element in drawn.iter() for key in element.attrib}
    assert not keys & svg.NOISE and not any(key.startswith("aria") for key in keys)


def test_what_children_share_stands_once(drawn):
    (group,) = (g for g in drawn.iter("g") if [t.text for t in g.findall("text")] == ["one", "two"])
    assert group.get("fill") == "#123456" and all(t.get("fill") is None for t in group)
    assert drawn.get("font-family") == svg.FONT and not any(e.get("font-family") for e in drawn.iter("text"))


def test_a_disc_keeps_its_place_and_size():
    disc = "M2,0A2,2,0,1,1,-2,0A2,2,0,1,1,2,0"
    tree = ElementTree.fromstring(f'<g><path d="{disc}" transform="translate(7.5,-3)" stroke="red"/><rect/></g>')
    svg._slim(tree, set())
    assert ElementTree.tostring(tree) == b'<g><circle stroke="red" cx="7.5" cy="-3" r="2" /><rect /></g>'


def test_a_tag_of_a_figure_names_its_ids_apart():
    tag = '<g id="clip0" clip-path="url(#clip1)" transform="translate(0.123456,-7.0000001)">'
    assert svg._plain(tag, "f-0") == '<g id="f-0-clip0" clip-path="url(#f-0-clip1)" transform="translate(0.12,-7)">'


def test_values_are_told_as_they_are():
    data = pd.DataFrame({"x": [1.5, float("nan")], "n": [1, 2], "t": pd.Series(["a", None]), "b": [True, False]})
    assert svg._values(data) == {
        "values": [{"x": 1.5, "n": 1, "t": "a", "b": True}, {"x": None, "n": 2, "t": None, "b": False}]
    }


@pytest.mark.parametrize(
    ("wide", "panels", "across"),
    # 1,135 pixels hold four of 260 with 12 between, so that five are 3 + 2 rather than 4 + 1, and seven 4 + 3
    [(260, 1, 1), (260, 4, 4), (260, 5, 3), (260, 7, 4), (260, 9, 3), (277.75, 7, 3), (274, 7, 4), (2000, 2, 1)],
)
def test_rows_of_panels_are_as_equal_as_they_can_be(wide, panels, across):
    shapes = [f'<svg width="{wide}" height="9">', *['<svg width="20" height="9">'] * (panels - 1)]
    assert figure.Drawing("", shapes).layout == f"--wide: {math.ceil(wide)}px; --across: {across}"


def test_every_mark_of_the_rates_says_its_row(lake):
    con = connect(lake, snapshot(lake))
    answers = {"memorization_rate": con.execute(find("memorization_rate").text).to_arrow_table()}
    (drawing,) = figure.find("memorization_rate").draw(answers)
    titles = [t.text for panel in drawing.panels for t in ElementTree.fromstring(panel).iter("title")]
    wanted = []
    for row in answers["memorization_rate"].to_pylist():
        shares = [f"{float(f'{100 * row[c]:.3g}'):g} %" for c in ("rate", "low", "high")]
        about = ", ".join(row[c] for c in ("model", "corpus", "role", "domain") if row[c])
        wanted.append(f"{about}: {shares[0]} ({shares[1]} to {shares[2]}), n {row['n']}")
    assert sorted(titles) == sorted(wanted)
    again = [panel for d in figure.find("memorization_rate").draw(answers) for panel in d.panels]
    assert again == drawing.panels and not re.search("NaN|undefined", again[0])
