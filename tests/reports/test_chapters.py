"""The chapters of the report."""

from __future__ import annotations

from memlake.queries.finding import names
from memlake.reports import chapters
from memlake.reports.chapters import Chapter, arrange

OWN = {"published", "models", "checks", "cells", "tables", "libraries"}  # sections of the page that are no findings


def test_the_file_names_findings_and_the_page_s_own_sections_once():
    listed = [name for chapter in chapters.chapters() for name in chapter.names]
    assert len(listed) == len(set(listed))
    assert set(listed) - OWN <= set(names())
    assert set(listed) >= OWN and not OWN & set(names())
    titles = [chapter.title for chapter in chapters.chapters()]
    assert len({*titles, chapters.MORE}) == len(titles) + 1


def test_what_is_in_no_chapter_comes_at_the_end_and_empty_chapters_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "chapters.toml"
    file.write_text(
        '[[chapter]]\ntitle = "Much and little"\nsections = ["b", "a"]\n[[chapter]]\ntitle = "None"\nsections = ["c"]\n'
    )
    monkeypatch.setattr(chapters, "FILE", file)
    found = arrange({"z": 1, "a": 2, "d": 3, "b": 4})
    assert found == [Chapter("Much and little", ("b", "a")), Chapter("More", ("d", "z"))]
    assert found[0].anchor == "chapter-much-and-little"
    assert arrange(["a", "c"]) == [Chapter("Much and little", ("a",)), Chapter("None", ("c",))]
    assert arrange([]) == []
