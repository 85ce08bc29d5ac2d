"""What folders KEY=VALUE say, and the names of files that lie in them."""

from __future__ import annotations

import pytest

from memlake.ingest.files.folders import folder_fields, name_with_fields


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("a=b", {}),
        ("lang=python/year=2020/a.parquet", {"lang": "python", "year": "2020"}),
        ("lang=a/lang=b/a.parquet", {"lang": "b"}),
        ("x=1=2/=3/plain/a", {"x": "1=2"}),
        ("my%20key=a%2Fb%3Dc/100%/a", {"my key": "a/b=c"}),
        ("lang%3Dc%252B%252B/a", {"lang": "c++"}),  # as a web server lists the folder lang=c%2B%2B
        ("lang=__HIVE_DEFAULT_PARTITION__/a", {"lang": None}),
        ("lang=z%C3%BCrich/a", {"lang": "zürich"}),
        ("lang=z%FCrich/a", {"lang": "z%FCrich"}),  # Latin-1
    ],
)
def test_folders_tell_fields(name, fields):
    assert folder_fields(name) == fields


@pytest.mark.parametrize(
    ("given", "location", "keys", "name"),
    [
        ("a.parquet", "/in/lang=python/a.parquet", ["lang"], "lang=python/a.parquet"),
        ("x/a.parquet", "/in/lang=python/y=1/x/a.parquet", ["lang"], "lang=python/y=1/x/a.parquet"),
        ("x/a.parquet", "/k=2/in/lang=python/y=1/x/a.parquet", ["lang", "y", "z"], "lang=python/y=1/x/a.parquet"),
        ("lang=c/a.parquet", "/in/lang=python/lang=c/a.parquet", ["lang"], "lang=c/a.parquet"),
        ("a.parquet", "/lang=c/in/lang=python/a.parquet", ["lang"], "lang=python/a.parquet"),
        ("a.parquet", "/in/lang=python/a.parquet", [], "a.parquet"),
        ("a.parquet", "hf://datasets/o/n@main/lang=c/a.parquet", ["lang"], "lang=c/a.parquet"),
    ],
)
def test_a_file_is_called_from_the_folder_on_that_tells(given, location, keys, name):
    assert name_with_fields(given, location, keys) == name
