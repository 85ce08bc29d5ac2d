"""To add a table, a source, an experiment, an architecture, a model, a finding or a figure, add a file: each of these
tests drops one into a shelf and uses it from the command line."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from typer.testing import CliRunner

from memlake.cli import app
from memlake.compute import families
from memlake.compute.planning.request import Request
from memlake.warehouse import shelf
from memlake.warehouse.lake import Lake
from memlake.warehouse.models import registry

Drop = Callable[[str, str, str], None]

TABLE = """
from memlake.warehouse.schema import INT, TEXT, Column, Expect, Table

TABLE = Table(
    grain="One row is one dummy.",
    columns=(Column("dummy", TEXT, "its name"), Column("size", INT, "its height in metres")),
    key=("dummy",),
    expect=(Expect("size_positive", "size > 0"),),
)
"""
SOURCE = '''
"""Documents that are made up: as many as are asked for."""

from collections.abc import Iterator
from dataclasses import dataclass

from memlake.ingest.documents.base import DocumentSource
from memlake.ingest.documents.reading import Input
from memlake.ingest.source import Document
from memlake.warehouse.options import option


@dataclass(frozen=True)
class Source(DocumentSource):
    CORPUS = "dummies"
    an_option: int = option(1, "documents that are made up")

    def inputs(self) -> list[Input]:
        return [Input("nowhere", "d1", size=0)]

    def read(self, given: Input) -> Iterator[Document]:
        for i in range(self.an_option):
            yield Document(given.name, i, "made_up", f"The text of document {i}.")

    def domain_class(self, domain: str) -> str:
        return "free_text"
'''
EXPERIMENT = '''
"""How dumb a model is.

It is not asked much.
"""

from dataclasses import dataclass

from memlake.warehouse.options import option

CELLS = ()


@dataclass(frozen=True)
class Options:
    tries: int = option(3, "questions that are asked")
    aloud: bool = option(False, "whether they are read out")


def plan(lake, subject, request, options):
    return []
'''
ARCHITECTURE = '''
"""Dummies."""

from . import Parts

PARTS = Parts(model_type="dumb", blocks="layers_of_it")
'''
MODELS = """
corpora = ["dummies"]
tokenizer = "dummy"
bos = true

[models]
dummy-1b = { hub = "nobody/dummy-1b", params = 1_000_000_000 }
"""
FINDING = """
-- One row is one corpus: how many documents it holds.
--
-- Leaves out: nothing.
-- Units: documents.
-- Source: made up.
-- Columns:
--   corpus   the corpus
--   n        its documents
with parameters as (select
    1 as at_least       -- documents of a corpus that is shown
)
select corpus, count(*) as n
from documents
group by all
having n >= (select at_least from parameters)
order by all
"""
FIGURE = '''
"""How many documents are there?

A bar is a corpus.
"""

import altair as alt
import pandas as pd


def draw(rows: pd.DataFrame) -> list[alt.Chart]:
    return [alt.Chart(rows).mark_bar().encode(x="n:Q", y="corpus:N")]
'''


@pytest.fixture
def drop(tmp_path: Path) -> Iterator[Drop]:
    """Put a file on a shelf, as if it lay in the folder of that package; it is gone afterwards."""
    undo: list[Callable[[], Any]] = []

    def drop(package: str, name: str, text: str) -> None:
        folder = tmp_path / package
        folder.mkdir()
        (folder / name).write_text(dedent(text).lstrip())
        path = importlib.import_module(package).__path__
        path.append(str(folder))
        undo.append(lambda: path.remove(str(folder)))
        undo.append(lambda: sys.modules.pop(f"{package}.{Path(name).stem}", None))

    caches = (registry.models.cache_clear, families.parts.cache_clear)
    for clear in caches:
        clear()
    yield drop
    for step in (*undo, *caches):
        step()


def memlake(*words: object) -> str:
    """What a command prints."""
    ended = CliRunner().invoke(app, [str(w) for w in words], env={"COLUMNS": "200"})
    assert ended.exit_code == 0, (ended.output, ended.exception)
    return ended.stdout


def rows(*words: object) -> list[dict[str, Any]]:
    return json.loads(memlake(*words, "--format", "json"))


def test_a_table(drop, tmp_path):
    before = Lake.create(tmp_path / "old").path
    drop("memlake.warehouse.tables", "dummy.py", TABLE)
    assert "One row is one dummy." in memlake("warehouse", "show", "dummy")
    for lake in (before, Lake.create(tmp_path / "new").path):
        assert rows("sql", "select count(*) as n, max(size) as size from dummy", "--lake", lake) == [
            {"n": 0, "size": None}
        ]
        assert {"table": "dummy", "rows": 0}.items() <= next(
            row for row in rows("warehouse", "tables", "--lake", lake) if row["table"] == "dummy"
        ).items()


def test_a_source(drop, tmp_path):
    drop("memlake.ingest.sources", "dummy.py", SOURCE)
    assert {"source": "dummy", "reads": "Documents that are made up: as many as are asked for."} in rows(
        "ingest", "list"
    )
    assert rows("ingest", "show", "dummy") == [
        {"option": "--an-option", "default": "1", "means": "documents that are made up"}
    ]
    assert "--an-option" in memlake("ingest", "run", "dummy", "--help").split("Options of dummy")[1]
    memlake("ingest", "run", "dummy", "--an-option", 3, "--lake", tmp_path / "lake")
    found = rows("sql", "select corpus, domain, text from documents order by text", "--lake", tmp_path / "lake")
    assert found == [{"corpus": "dummies", "domain": "made_up", "text": f"The text of document {i}."} for i in range(3)]


def test_an_experiment(drop, tmp_path, monkeypatch):
    drop("memlake.compute.experiments", "dummy.py", EXPERIMENT)
    assert {"experiment": "dummy", "tables": "", "measures": "How dumb a model is."} in rows("compute", "list")
    assert "It is not asked much." in memlake("compute", "show", "dummy")
    own = memlake("compute", "run", "dummy", "--help").split("Options of dummy")[1]
    assert "--tries" in own and "[default: 3]" in own and "--aloud" in own
    asked: list[Request] = []
    monkeypatch.setattr("memlake.compute.run.planned", lambda lake, name, request: asked.append(request))
    monkeypatch.setattr("memlake.compute.cli.show", lambda *_: None)
    lake = Lake.create(tmp_path / "lake").path
    memlake("compute", "plan", "dummy", "--aloud", "--tries", 5, "--model", "m", "--corpus", "c", "--lake", lake)
    assert [request.options for request in asked] == [{"aloud": True, "tries": 5}]


def test_an_architecture(drop):
    drop("memlake.compute.families", "dummy.py", ARCHITECTURE)
    assert families.recognise("dumb", "a checkpoint") == "dummy"
    assert families.parts("dummy").blocks == "layers_of_it"


def test_a_family_of_models(drop):
    drop("memlake.warehouse.models.catalog", "dummy.toml", MODELS)
    shown = next(row for row in rows("compute", "models") if row["model"] == "dummy-1b")
    assert (shown["family"], shown["hub_id"], shown["trained_on"]) == ("dummy", "nobody/dummy-1b", "dummies")
    assert registry.role(registry.resolve("dummy-1b"), "dummies") == "trained"


def test_a_finding_and_its_figure(drop, tmp_path):
    lake = tmp_path / "lake"
    drop("memlake.ingest.sources", "dummy.py", SOURCE)
    memlake("ingest", "run", "dummy", "--an-option", 3, "--lake", lake)
    drop("memlake.queries.findings", "dummy.sql", FINDING)
    assert "One row is one corpus" in memlake("query", "show", "dummy")
    assert rows("query", "run", "dummy", "--lake", lake) == [{"corpus": "dummies", "n": 3}]
    assert rows("query", "run", "dummy", "-p", "at_least=4", "--lake", lake) == []
    drop("memlake.reports.figures", "dummy.py", FIGURE)
    memlake("report", "run", "dummy", "--lake", lake, "--out", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "How many documents are there?" in page and "A bar is a corpus." in page and "<svg" in page


def test_a_file_beside_others_of_its_name_is_the_one_that_is_imported(drop):
    drop("memlake.compute.families", "olmo.py", ARCHITECTURE)
    assert families.parts("olmo").model_type == "olmo"
    assert (
        "dumb" not in shelf.text("memlake.compute.families", "olmo")
        and shelf.names(families.__name__).count("olmo") == 1
    )
