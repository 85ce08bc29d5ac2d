"""The page: whole, alone, escaped, the same each time."""

from __future__ import annotations

import html
import io
import re
from base64 import b64decode
from html.parser import HTMLParser
from urllib.parse import unquote

import pandas as pd
import pytest

from memlake.queries.ask import OpenLake
from memlake.queries.finding import find, names
from memlake.reports import chapters, downloads, figure, page
from memlake.warehouse.errors import BadInput, UnknownName
from memlake.warehouse.lake import Lake

from .conftest import EVIL, NOW, page_of

VOID = {"meta", "link", "br", "img", "input"}


class Reader(HTMLParser):
    """Every element with its attributes, all text, and that of each section; fails on a tag that closes another."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.sections: dict[str, str] = {}
        self._open: list[str] = []
        self._section = self.text = ""
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "section":
            self._section = dict(attrs)["id"]
            self.sections[self._section] = ""

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self._section:
            self.sections[self._section] += data

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.tags if tag in tags]


@pytest.fixture(scope="module")
def read(text) -> Reader:
    return Reader(text)


@pytest.mark.parametrize("name", names())
def test_each_finding_has_question_figure_numbers_and_sql(text, read, name):
    section = text.split(f'<section id="{name}">')[1].split("</section>")[0]
    assert page.question(find(name)) in read.sections[name]
    assert "No rows yet" not in section
    assert section.count("<svg") >= 1
    assert section.count("<tr>") > 1
    assert find(name).text in read.sections[name]


def test_contents_lead_to_every_section(text):
    contents = Reader(text.split("<nav")[1].split("</nav>")[0].partition(">")[2])
    anchors = [a["href"][1:] for a in contents.all("a")]
    read = Reader(text)
    places = [attrs["id"] for tag, attrs in read.tags if tag in ("h2", "section") and "id" in attrs]
    assert anchors == ["found", *places]
    assert [a for a in anchors[1:] if not a.startswith("chapter-")] == list(read.sections)
    assert len(read.sections) == len(names()) + 6
    assert {a["href"][1:] for a in read.all("a") if a["href"].startswith("#")} == set(anchors)


def test_the_first_screen_says_for_each_chapter_what_its_sections_say(text, read):
    first = Reader(text.split('<div id="found">')[1].split("</div>")[0])
    leads = [a["href"][1:] for a in first.all("a") if not a["href"].startswith("#chapter-")]
    sections = {name: text.split(f'<section id="{name}">')[1].split("</section>")[0] for name in read.sections}
    says = {name: re.search(r'<p class="said">(.*?)</p>', section) for name, section in sections.items()}
    assert leads == [name for chapter in chapters.chapters() for name in chapter.first if says[name]]
    assert len(leads) > 10
    for name in leads:
        assert f'<li>{says[name][1]} <a href="#{name}">{name}</a></li>' in text


def test_no_request_leaves_the_page(text, read):
    loads = [v for _, attrs in read.tags for k, v in attrs.items() if k in ("src", "srcset", "data", "xlink:href")]
    assert loads == []
    assert {link["href"] for link in read.all("link")} == {"data:,"}
    saved = [a["href"] for a in read.all("a") if "download" in a]
    assert all(href.startswith(("data:", "files/")) for href in saved)
    links = [a["href"] for a in read.all("a") if "download" not in a]
    assert all(href.startswith(("#", "https://arxiv.org/abs/")) for href in links)
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))
    assert "@import" not in text
    outside = re.sub(r'<a href="https://arxiv[^"]*"|"http://www.w3.org/2000/svg"', "", text)  # a name, no address
    assert re.findall(r"https?://(?!evil\.example/x onerror=alert\(1\)&gt;)[^\s<]*", outside) == []


def test_text_of_the_lake_is_escaped_wherever_it_stands(text, read):
    assert len(read.all("script")) == 1 and len(read.all("img")) == 0
    assert EVIL not in text
    for name in ("memorization_rate", "scaling_law", "shared_memorization", "models", "checks", "cells"):
        assert "<script>" in read.sections[name] or "<b>" in read.sections[name] or name == "checks"
    assert EVIL in read.sections["memorization_rate"]  # the reader has undone the escapes
    assert any("alert" in (svg := part.split("</svg>")[0]) and "&lt;script" in svg for part in text.split("<svg")[1:])
    assert not any(k.startswith("on") for _, attrs in read.tags for k in attrs)


def test_ids_are_unique(read):
    ids = [attrs["id"] for _, attrs in read.tags if "id" in attrs]
    assert len(ids) > len(names()) and len(ids) == len(set(ids))


def test_the_same_lake_gives_the_same_page(lake, text):
    assert page_of(lake) == text


def test_the_head_says_lake_time_and_versions(lake, read, text):
    head = text.split("<header>")[1].split("</header>")[0]
    assert "2026-02-03 04:05:06+00:00" in head
    assert f"matches v{lake.version('matches')}," in head
    assert "2,304 measurements, 6 models" in head  # x 2 corpora x 2 domains x 16 sequences x 6 strengths of noise


def test_what_stands_behind_the_numbers(lake, text, read):
    def rows(anchor):
        body = text.split(f'<section id="{anchor}">')[1].split("</section>")[0]
        return [re.findall(r"<td[^>]*>(.*?)</td>", line) for line in body.split("<tr>")[1:]]

    assert rows("checks")[1] == ["matches", "3", "2", "1", "1", "1"]
    assert rows("checks")[3] == ["matches", "", "score_is_share", "3", "checks", "quarantine/c1-0"]
    assert [line[:4] for line in rows("cells")[1:3]] == [
        ["scoring", "done", "1", "10"],
        ["scoring", "failed", "1", "10"],
    ]
    assert "&lt;b&gt;out of memory&lt;/b&gt;" in text
    assert [str(lake.version("matches")), "2,304"] in [line[1:] for line in rows("tables")]
    assert len(rows("models")) == 1 + 6
    assert ["torch", "measuring", "2.13.0"] in rows("libraries")


def test_an_empty_lake_says_what_to_run(tmp_path):
    lake = Lake.create(tmp_path / "new")
    text = page_of(lake)
    read = Reader(text)
    assert read.all("svg") == []
    assert "<p>Nothing was measured yet.</p>" not in text  # what was published is compared with nothing, and says so
    for name in names():
        line = text.split(f'<li id="{name}">')[1].split("</li>")[0]
        assert page.question(find(name)) in html.unescape(line) and "Run <code>memlake" in line
    assert "33 findings" not in text and "9 findings without rows yet: memorization_rate, corpus_rate" in text
    assert "recorded exposures" in text
    assert "no row of ours" in read.sections["published"]


def test_a_finding_without_a_figure_has_its_table(lake, monkeypatch):
    monkeypatch.setattr(figure, "names", list)
    read = Reader(page_of(lake, "scaling_law"))
    assert read.all("svg") == []
    assert find("scaling_law").grain in read.sections["scaling_law"]
    assert "The numbers: 4 rows" in read.sections["scaling_law"]


def test_a_figure_is_drawn_for_each_sample_of_which_the_finding_tells():
    first = pd.DataFrame(
        {"sample_rule": ["start", None, "start"], "sample_window": ["8+8", None, "16+16"], "x": [1, 2, 3]}
    )
    other = first.assign(x=[4, 5, 6]).iloc[[2, 0, 1, 0]]
    found = list(figure._by_sample([first, other, pd.DataFrame({"y": [7]})]))
    assert [heading for heading, _ in found] == [
        "Anchors: not known, window: not known", "Anchors: start, window: 16+16", "Anchors: start, window: 8+8"
    ]  # fmt: skip
    assert [[frame.iloc[:, -1].tolist() for frame in parts] for _, parts in found] == [
        [[2], [5], [7]],
        [[3], [6], [7]],
        [[1], [4, 4], [7]],
    ]
    ((heading, parts),) = figure._by_sample([first.iloc[:1], other])
    assert heading == "" and parts[1]["x"].tolist() == [4, 4]  # of another sample there is nothing to draw here


def test_a_long_table_says_what_it_leaves_out(text, read):
    # 6 models x 2 corpora x 2 domains x 33 levels = 792 rows, of which 100 are shown
    shown = read.sections["score_distribution"]
    assert "The numbers: 792 rows" in shown
    assert "692 more rows are not shown: memlake query run score_distribution --format csv" in shown


def test_all_rows_can_be_saved_within_the_page_or_beside_it(lake, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "WITHIN", 20_000)
    path = page.write(lake, ["score_distribution", "scaling_law"], tmp_path / "my page.html", NOW).path
    links = [a for a in Reader(path.read_text(encoding="utf-8")).all("a") if "download" in a]
    assert [a["download"] for a in links] == [
        "score_distribution.csv", "score_distribution.parquet", "scaling_law.csv", "scaling_law.parquet"
    ]  # fmt: skip
    assert [a["href"].partition(":")[0] for a in links if "scaling" in a["download"]] == ["data", "data"]
    beside = {p.name for p in (tmp_path / "my page.html.files").iterdir()}
    assert beside and {unquote(a["href"]) for a in links} & {f"my page.html.files/{name}" for name in beside} == {
        f"my page.html.files/{name}" for name in beside
    }
    expected = OpenLake(lake.path).query("score_distribution").to_pandas()
    for a in links[:2]:
        held = a["href"].startswith("data:")
        content = b64decode(a["href"].partition(",")[2]) if held else (tmp_path / unquote(a["href"])).read_bytes()
        read = pd.read_csv if a["download"].endswith("csv") else pd.read_parquet
        rows = read(io.BytesIO(content))
        assert rows.columns.tolist() == expected.columns.tolist()
        assert rows["n"].tolist() == expected["n"].tolist() and rows["share"].tolist() == expected["share"].tolist()
    (tmp_path / "my page.html.files" / "mine.csv").write_text("a user's")
    page.write(lake, ["scaling_law"], path, NOW)  # what belonged to the page before is gone, and nothing else
    assert [p.name for p in (tmp_path / "my page.html.files").iterdir()] == ["mine.csv"]
    (tmp_path / "my page.html.files" / "mine.csv").unlink()
    page.write(lake, ["scaling_law"], path, NOW)
    assert [p.name for p in tmp_path.iterdir()] == ["my page.html"]


def test_only_the_findings_asked_for(lake, tmp_path):
    path = page.write(lake, ["scaling_law"], tmp_path / "some" / "page.html", NOW).path
    sections = Reader(path.read_text(encoding="utf-8")).sections
    assert [s for s in sections if s in names()] == ["scaling_law"]
    assert [p.name for p in path.parent.iterdir()] == ["page.html"]


def test_bad_names_and_paths_are_one_clear_line(lake, tmp_path):
    with pytest.raises(UnknownName, match="no finding 'scaling_low': did you mean 'scaling_law'"):
        page.write(lake, ["scaling_low"])
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        page.write(lake, ["scaling_law"], tmp_path / "file" / "page.html")
