"""What the documents point to is there, and every measurement has its page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from memlake.compute import experiment
from memlake.queries import finding
from memlake.warehouse import schema

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "method").glob("*.md"))
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), ROOT / "benchmarks" / "README.md"]


def links(text: str) -> list[str]:
    """The targets of a document's links to files, outside of code."""
    return re.findall(r"\]\((?!\w+:)([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def anchors(text: str) -> set[str]:
    """What the headings of a document are called in links, as on GitHub."""
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(document):
    for target in links(document.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        file = document.parent / path if path else document
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), target


def test_every_experiment_and_finding_has_its_page_and_every_page_stands_in_the_list():
    heads = {page.stem: page.read_text(encoding="utf-8").split("\n\n")[1] for page in PAGES if page.stem != "README"}
    assert set(experiment.names()) <= set(heads)
    found = [name for head in heads.values() for name in re.findall(r"queries/findings/(\w+)\.sql", head)]
    assert sorted(set(found)) == finding.names()
    tables = {name for head in heads.values() for name in re.findall(r"warehouse/tables/(\w+)\.py", head)}
    assert tables | {"checks"} == set(schema.names())
    listed = links((ROOT / "docs" / "method" / "README.md").read_text(encoding="utf-8"))
    assert {f"{name}.md" for name in heads} <= set(listed)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(ROOT)))
def test_every_file_of_the_house_that_is_named_is_there(document):
    """In words as in links; NAME and the like stand for any."""
    named = re.findall(
        r"`((?:warehouse|ingest|compute|queries|reports|tests|docs)/[^`\s]*)`", document.read_text("utf-8")
    )
    assert [p for p in named if not re.search("[A-Z]{4}", p) and not (ROOT / p).exists()] == []
