"""A finding, a figure and a family are added by one file each, and then stand in the report."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from memlake.queries import findings
from memlake.queries.ask import connect, snapshot
from memlake.queries.finding import find, names
from memlake.reports import figure, figures, page
from memlake.reports.figures import _style as style
from memlake.warehouse import shelf
from memlake.warehouse.lake import Lake
from memlake.warehouse.models import catalog, registry

from .conftest import page_of
from .made_up import make
from .test_page import Reader

FINDING = """\
-- One row is one family: how many models it has.
select family, count(*) as models from models group by family order by family
"""
QUESTION = "Has \"each\" family 'more' than <img src=x onerror=alert(1)> one & only?"
FIGURE = f'''"""{QUESTION}

One bar is one family; see `models` and 2304.01373.

It ends in a second paragraph.
"""

import altair as alt

from . import _style as style


def draw(rows):
    rows = rows.assign(colour=rows["family"].map(style.colour))
    return [alt.Chart(rows).mark_bar().encode(x="models:Q", y="family:N", color=style.plain("colour"))]
'''
FAMILY = """\
corpora = ["newspapers"]
tokenizer = "newcomer"
bos = false
appearance = { colour = "#123456" }

[models]
newcomer-1b = { hub = "somebody/newcomer-1b", params = 1_000_000_000 }
"""


@pytest.fixture
def shelves(tmp_path, monkeypatch) -> dict[str, Path]:
    """Folders that stand on the shelves for one test."""
    found = {}
    for package in (findings, figures, catalog):
        folder = tmp_path / package.__name__
        folder.mkdir()
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
        found[package.__name__] = folder
    _forget()
    yield found
    monkeypatch.undo()
    _forget()


def _forget() -> None:
    registry.models.cache_clear()
    registry.appearances.cache_clear()
    sys.modules.pop("memlake.reports.figures.models_per_family", None)


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Lake:
    """A family that the registry knows, and two that it does not."""
    families, domains = ["stranger", "newcomer", "pythia"], {"code": "structural"}
    return make(tmp_path_factory.mktemp("small") / "lake", families, sizes=["100k", "1m"], domains=domains, n=4)


def test_a_finding_is_one_file_and_stands_in_the_last_chapter(shelves, small):
    (shelves["memlake.queries.findings"] / "models_per_family.sql").write_text(FINDING)
    html = page_of(small)
    read, section = Reader(html), html.split('<section id="models_per_family">')[1].split("</section>")[0]
    assert "One row is one family: how many models it has." in read.sections["models_per_family"]
    assert '<td>newcomer</td><td class="number">2</td>' in section and "<svg" not in section
    assert [s for s in read.sections if s in names()][-1] == "models_per_family"
    assert html.index('<h2 id="chapter-more">More</h2>') > html.index('<section id="libraries">')
    last = page.overview().to_pylist()[-1]
    assert (last["finding"], last["figure"]) == ("models_per_family", "no")


def test_a_figure_is_one_file_and_its_question_is_escaped_in_attributes_too(shelves, small):
    (shelves["memlake.queries.findings"] / "models_per_family.sql").write_text(FINDING)
    (shelves["memlake.reports.figures"] / "models_per_family.py").write_text(FIGURE)
    html = page_of(small, "models_per_family")
    read, section = Reader(html), html.split('<section id="models_per_family">')[1].split("</section>")[0]
    assert section.count("<svg") == 1 and "<code>models</code>" in section and section.count("<p>") == 2
    assert '<a href="https://arxiv.org/abs/2304.01373">2304.01373</a>' in section
    assert [tag["aria-label"] for tag in read.all("div") if "aria-label" in tag] == [QUESTION]
    assert read.all("img") == [] and not any(k.startswith("on") for _, attrs in read.tags for k in attrs)
    assert QUESTION in read.sections["models_per_family"]
    assert page.overview().to_pylist()[-1]["question"] == QUESTION


def test_a_figure_that_asks_nothing_stands_under_what_a_row_of_its_finding_is(shelves):
    (shelves["memlake.queries.findings"] / "models_per_family.sql").write_text(FINDING)
    (shelves["memlake.reports.figures"] / "models_per_family.py").write_text(FIGURE.rpartition('"""')[2])
    last = page.overview().to_pylist()[-1]
    assert (last["question"], last["figure"]) == ("One row is one family: how many models it has.", "yes")


def test_a_family_is_one_file_and_has_its_colour(shelves, small):
    assert style.colour("newcomer") not in ("#123456", style.colour("stranger"))
    (shelves["memlake.warehouse.models.catalog"] / "newcomer.toml").write_text(FAMILY)
    _forget()
    assert sorted(["stranger", "newcomer", "olmo3"], key=style.rank) == ["olmo3", "newcomer", "stranger"]
    html = page_of(small, "memorization_rate")
    for family in ("newcomer", "stranger", "pythia"):
        assert style.colour(family).lower() in html.lower()
    assert style.colour("newcomer") == "#123456"
    assert registry.resolve("newcomer-1b").family == "newcomer"


@pytest.mark.parametrize("name", figure.names())
def test_a_figure_draws_a_family_that_nobody_knows_as_it_draws_one_that_we_know(lake, name):
    module, con = shelf.take("memlake.reports.figures", name, "figure"), connect(lake, snapshot(lake))
    frames = [con.execute(find(n).text).to_arrow_table().to_pandas() for n in (name, *getattr(module, "ALSO", ()))]
    known = [chart.to_json() for chart in module.draw(*frames)]
    others = [chart.to_json() for chart in module.draw(*(frame.replace("pythia", "stranger") for frame in frames))]
    assert len(known) == len(others) > 0
    drawn = [style.colour("pythia") in json for json in known]
    assert sorted(style.colour("stranger") in json for json in others) == sorted(drawn)
    assert not any(style.colour("pythia") in json for json in others)
