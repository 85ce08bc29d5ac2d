"""The page as Chromium shows it: nothing complains, nothing leaves it, all can be saved, narrow, dark and on paper."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Page, sync_playwright

from memlake.reports import page

from .conftest import NOW

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt install chromium")


@pytest.fixture(scope="module")
def address(lake, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("page")
    findings = ["corpus_rate", "score_distribution", "scaling_law"]
    return page.write(lake, findings, folder / "index.html", NOW).path.as_uri()


@pytest.fixture(scope="module")
def complaints() -> list[str]:
    return []


@pytest.fixture(scope="module")
def shown(address, complaints) -> Iterator[Page]:
    """The page, of which each word on the console and each request for something else is a complaint."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 1400, "height": 900})
        opened.on("console", lambda message: complaints.append(message.text))
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on("request", lambda request: complaints.append(request.url) if request.url != address else None)
        opened.goto(address)
        yield opened
        browser.close()


def saved(shown: Page, selector: str) -> dict[str, bytes]:
    found = {}
    for link in shown.query_selector_all(selector):
        with shown.expect_download() as waiting:
            link.click()
        found[waiting.value.suggested_filename] = waiting.value.path().read_bytes()
    return found


def test_nothing_complains_and_nothing_leaves(shown, complaints):
    assert shown.title().endswith("What the models memorized")
    assert complaints == []


def test_figures_and_rows_are_saved(shown, lake, tmp_path):
    files = saved(shown, "#corpus_rate button[data-save], #corpus_rate a[download]")
    assert list(files) == ["corpus_rate.svg", "corpus_rate.png", "corpus_rate.csv", "corpus_rate.parquet"]
    assert files["corpus_rate.png"].startswith(b"\x89PNG")
    panels = shown.locator("#corpus_rate .panels svg")
    assert files["corpus_rate.svg"].count(b"<svg") == 1 + panels.count()
    (tmp_path / "rows.parquet").write_bytes(files["corpus_rate.parquet"])
    rows = pq.read_table(tmp_path / "rows.parquet").num_rows
    assert files["corpus_rate.csv"].count(b"\n") == rows + 1
    assert f"All {rows} rows" in shown.locator("#corpus_rate .save").last.inner_text()


def test_a_saved_picture_is_not_dark_where_the_page_is(shown):
    background = "getComputedStyle(document.body).backgroundColor"
    shown.emulate_media(color_scheme="light")
    assert shown.evaluate(background) == "rgb(255, 255, 255)"
    light = saved(shown, "#scaling_law button[data-save]")
    shown.emulate_media(color_scheme="dark")
    assert max(map(int, shown.evaluate(background)[4:-1].split(","))) < 50
    assert saved(shown, "#scaling_law button[data-save]") == light
    shown.emulate_media(color_scheme="light")


@pytest.mark.parametrize("width", [1400, 900, 380])
def test_the_page_fits_and_the_contents_stay_in_sight(shown, width):
    shown.set_viewport_size({"width": width, "height": 800})
    shown.evaluate("document.querySelector('#score_distribution').scrollIntoView({behavior: 'instant'})")
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert shown.locator("nav").bounding_box()["y"] == 0
    chapter = shown.locator("nav a[href='#chapter-how-much-is-memorized']")
    assert chapter.is_visible()
    assert shown.locator("nav li li a").first.is_visible() == (width == 1400)
    shown.set_viewport_size({"width": 1400, "height": 900})


def test_the_contents_show_where_one_is(shown):
    shown.evaluate("document.querySelector('#scaling_law').scrollIntoView({behavior: 'instant'})")
    shown.wait_for_selector("nav a[aria-current][href='#scaling_law']")
    assert shown.locator("nav a[aria-current]").count() == 1


def test_paper_has_contents_and_no_buttons(shown):
    shown.emulate_media(media="print")
    assert shown.locator("nav li li a").first.is_visible()
    assert not shown.locator(".save").first.is_visible() and not shown.locator("details:not([open])").first.is_visible()
    assert shown.pdf(prefer_css_page_size=True).startswith(b"%PDF")
    shown.emulate_media(media="screen")
