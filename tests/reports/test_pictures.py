"""Figures outside of the page: as files, as Altair charts, and kept."""

from __future__ import annotations

import re
import struct
import xml.etree.ElementTree as ET

import pyarrow as pa
import pytest

import memlake
from memlake.queries.ask import OpenLake
from memlake.queries.kept import Kept
from memlake.reports import figure, page, pictures
from memlake.reports.figure import Drawing
from memlake.warehouse.errors import BadInput, UnknownName

from .conftest import NOW

PANEL = '<svg width="{}" height="{}" viewBox="0 0 1 1"><text>{}</text></svg>'


def test_panels_stand_in_rows_and_none_overlap():
    """Two of 500 pixels fit on a page, so three stand as two and one."""
    panels = [PANEL.format(w, h, i) for i, (w, h) in enumerate([(500, 100), (400, 150), (500, 80)])]
    whole = ET.fromstring(pictures.together(Drawing("", panels)))
    at = [tuple(float(p.get(k)) for k in ("x", "y")) for p in whole if p.tag.endswith("svg")]
    assert at == [(0, 0), (500 + figure.GAP, 0), (0, 150 + figure.GAP)]
    assert (float(whole.get("width")), float(whole.get("height"))) == (900 + figure.GAP, 230 + figure.GAP)


def test_each_figure_is_an_svg_and_a_png_of_the_same_shape(lake, tmp_path):
    page.write(lake, ["scaling_law", "corpus_rate"], tmp_path / "page.html", NOW, figures=tmp_path / "a" / "b")
    assert sorted(p.name for p in (tmp_path / "a" / "b").iterdir()) == [
        "corpus_rate.png", "corpus_rate.svg", "scaling_law.png", "scaling_law.svg"
    ]  # fmt: skip
    svg = ET.parse(tmp_path / "a" / "b" / "corpus_rate.svg").getroot()
    png = (tmp_path / "a" / "b" / "corpus_rate.png").read_bytes()
    width, height = struct.unpack(">II", png[16:24])
    assert (width, height) == pytest.approx((2 * float(svg.get("width")), 2 * float(svg.get("height"))), abs=2)


def test_of_several_samples_each_has_its_picture(tmp_path):
    drawings = [Drawing(heading, [PANEL.format(20, 10, heading)]) for heading in ("one", "two")]
    paths = pictures.save(tmp_path, {"f": drawings, "g": drawings[:1], "h": []})
    assert [p.name for p in paths] == ["f-1.svg", "f-1.png", "f-2.svg", "f-2.png", "g.svg", "g.png"]


def test_a_folder_that_cannot_be_written_is_one_line(lake, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"file cannot be written .*: name another folder with --figures"):
        page.write(lake, ["scaling_law"], tmp_path / "page.html", NOW, figures=tmp_path / "file")


def test_a_notebook_gets_the_figure_as_a_chart(lake):
    opened = memlake.open(lake.path)
    chart = opened.figure("scaling_law").to_dict()
    panels = chart["concat"][0]["concat"]
    assert len(panels) == opened.query("scaling_law").to_pandas()["family"].nunique()
    narrow = opened.figure("position_curve", condition="float32 sdpa").to_dict()
    assert narrow["concat"] and "Liberation Sans" in narrow["config"]["font"]
    with pytest.raises(UnknownName, match="no figure 'scaling_low': did you mean 'scaling_law'"):
        opened.figure("scaling_low")


@pytest.fixture
def drawn(lake, monkeypatch):
    """How often a figure is really drawn."""
    drawn, draw = [], figure.Figure._draw
    monkeypatch.setattr(figure.Figure, "_draw", lambda self, tables: drawn.append(self.name) or draw(self, tables))
    return drawn


def test_a_figure_whose_rows_are_the_same_is_not_drawn_again(lake, tmp_path, drawn, monkeypatch):
    kept = Kept(lake, f"figures {tmp_path.name}")
    rows = OpenLake(lake.path).query("corpus_rate").to_pyarrow()
    of = figure.find("corpus_rate")
    first = of.draw({"corpus_rate": rows}, kept)
    assert of.draw({"corpus_rate": rows.slice(0)}, kept) == first and drawn == ["corpus_rate"]
    assert of.draw({"corpus_rate": rows}) == first and len(drawn) == 2  # nothing kept is asked
    changed = rows.set_column(rows.column_names.index("rate"), "rate", pa.array([0.5] * len(rows)))
    assert of.draw({"corpus_rate": changed}, kept) != first and len(drawn) == 3
    text = figure.shelf.text
    monkeypatch.setattr(figure.shelf, "text", lambda *names: text(*names) + "\n# another figure")
    of.draw({"corpus_rate": rows}, kept)
    assert len(drawn) == 4


def test_a_page_keeps_its_figures_and_draws_them_afresh_when_asked(lake, tmp_path, drawn):
    def write(**more):
        path = page.write(lake, ["corpus_rate", "scaling_law"], tmp_path / "page.html", NOW, **more).path
        return re.sub('data:[^"]*', "", path.read_text(encoding="utf-8"))

    first = write(fresh=True)
    assert drawn == ["corpus_rate", "scaling_law"]
    assert write() == first and len(drawn) == 2
    write(fresh=True)
    assert drawn[2:] == ["corpus_rate", "scaling_law"]
