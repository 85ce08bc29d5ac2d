"""The cell that reads a file: what decides its rows, as it is stored, and what goes to a worker."""

from __future__ import annotations

import json
import pickle

import pytest

from memlake.ingest.documents.reading import BYTES_PER_SECOND, FolderDomain, Input, ReadFile, ReadSettings
from memlake.ingest.source import Reject
from memlake.ingest.sources.jsonl import Source

STORED = {"source": "jsonl", "options": {"class_": ["a=structural"]}, "corpus": "mine", "file": "f", "digest": "d"}


@pytest.mark.parametrize(
    ("more", "folder", "keep", "id_"),
    [
        ({}, None, None, "c1-5c3d3724b6921cdd659d15aa842b764f"),
        ({"keep": 3}, None, 3, "c1-7309c779c66237f93efcb51287cfa524"),
        ({"folder": "py"}, FolderDomain("py"), None, "c1-39d453dbb0c3d32292a3dd4d4917ad43"),
        (
            {"folder": None},
            FolderDomain(None),
            None,
            "c1-b4bf4f2dcab96bf1840670f93f1692ab",
        ),  # a folder says that there is no domain
    ],
)
def test_the_stored_settings_give_the_same_cell(more, folder, keep, id_):
    """Ids that memlake gave when settings were dictionaries."""
    settings = ReadSettings.from_json(json.loads(json.dumps(STORED | more)))
    assert (settings.folder, settings.keep) == (folder, keep)
    assert settings.to_json() == STORED | more
    assert ReadFile(settings, Source(), Input("f", "d")).id == id_


def test_a_source_goes_to_a_worker_without_the_list_of_its_files(tmp_path):
    for i in range(300):
        (tmp_path / f"{i}.jsonl").write_text("{\n")
    source = Source(path=(str(tmp_path),))
    given = source.inputs()[7]
    assert len(source.listing.files) == 300
    cell = ReadFile(ReadSettings("jsonl", source.options(), "mine", given.name, given.digest), source, given)
    sent = pickle.dumps(cell)
    assert len(sent) < 2000
    there = pickle.loads(sent)
    assert there == cell and there.id == cell.id and "listing" not in vars(there.source)
    (record,) = there.source.read(there.given)
    assert isinstance(record, Reject) and record.source == given.name


def test_how_long_a_file_takes_follows_from_its_size(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"x" * 4000)
    (given,) = Source(path=(str(tmp_path),)).inputs()
    assert Source().seconds(given) == 4000 / BYTES_PER_SECOND
    assert Source().seconds(Input("far", "d")) > 10  # of unknown size: it pays to start processes for it
