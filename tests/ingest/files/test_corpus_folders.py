"""Corpora in which a folder tells the domain: which folders are looked at, and what the files are called."""

from __future__ import annotations

import pytest

from memlake.ingest.run import ingest
from memlake.ingest.source import make
from memlake.tests.ingest.sources.test_corpora import read, write
from memlake.tests.lakes import rows
from memlake.warehouse.errors import UnknownName


@pytest.mark.parametrize(
    ("source", "name", "below"),
    [
        ("starcoderdata", "python/train-0.parquet", "python"),
        ("redpajama", "arxiv/arxiv_1.jsonl", "arxiv"),
        ("redpajama", "common_crawl/2019-30/a.jsonl.zst", "common_crawl/2019-30"),
        ("olmo_mix", "wiki/wiki-0000.json.gz", "wiki"),
        ("dolma3", "stack_edu-C-0001/shard_0.jsonl.zst", "stack_edu-C-0001"),
    ],
)
def test_a_part_of_a_corpus_gets_the_ids_it_has_in_the_whole(tmp_path, source, name, below):
    # The folder above is called as another domain, that it may not be taken for one.
    root = tmp_path / "arxiv" / "corpus"
    text = {"content": ["a"]} if name.endswith("parquet") else [{"text": "a"}]
    write(root, {f"data/{name}": text})
    for path in (root, root / "data", root / "data" / below, root / "data" / name):
        (given,) = make(source, {"path": (str(path),)}).inputs()
        assert given.name == name


@pytest.mark.parametrize("below", ["", "data"])
def test_what_lies_above_the_path_decides_no_domain(tmp_path, below):
    root = tmp_path / "math" / "wiki" / "dolmino"
    write(root, {"data/notes/a.jsonl": [{"text": "a"}], "data/pes2o/b.json.gz": [{"text": "b"}]})
    found = read("dolmino_mix", str(root / below))
    assert found["documents"] == [("pes2o/b.json.gz", 0, "pes2o", "b")]
    name = f"{'' if below else 'data/'}notes/a.jsonl"
    assert found["rejects"] == [(name, 0, "no domain: the file lies in no folder of a known name")]


def test_of_redpajama_a_file_that_is_called_as_a_domain_is_of_it(tmp_path):
    root = tmp_path / "github" / "RedPajama-Data-1T-Sample"
    write(root, {"arxiv_sample.jsonl": [{"text": "a"}], "cc_2019-30_sample.jsonl": [{"text": "b"}]})
    documents = [("arxiv_sample.jsonl", 0, "arxiv", "a"), ("cc_2019-30_sample.jsonl", 0, "common_crawl", "b")]
    assert read("redpajama", str(root))["documents"] == documents
    above = read("redpajama", str(root.parent))["documents"]
    assert [domain for _, _, domain, _ in above] == ["arxiv", "common_crawl"]


@pytest.mark.parametrize("linked", ["arxiv", "common_crawl"])
def test_a_domain_on_another_disk_is_read_as_if_it_lay_there(lake, tmp_path, linked):
    files = {
        "arxiv/arxiv_0.jsonl": [{"text": f"a {i}"} for i in range(5)],
        "book/book.jsonl": [{"text": f"b {i}"} for i in range(3)],
        "book/MORE.JSONL": [{"text": "c"}],
        "common_crawl/2019-30/a.jsonl.ZST": [{"text": "d"}],
    }
    root = tmp_path / "red"
    write(root, {name.replace(".ZST", ".zst"): records for name, records in files.items()})
    (root / "common_crawl/2019-30/a.jsonl.zst").rename(root / "common_crawl/2019-30/a.jsonl.ZST")
    before, _ = ingest(lake, "redpajama", {"path": (str(root),)})
    (root / linked).rename(tmp_path / "disk2")
    (root / linked).symlink_to(tmp_path / "disk2")
    write(root, {".ipynb_checkpoints/book-checkpoint.jsonl": files["book/book.jsonl"]})
    (root / "book/again.jsonl").symlink_to(root / "book/book.jsonl")
    after, said = ingest(lake, "redpajama", {"path": (str(root),)})
    assert (len(before.done), after.skipped, after.done) == (4, 4, [])
    assert said[1:] == [f"not read below {root}: 1 hidden, 1 linked to what is read already"]
    found = rows(lake, "select source, domain, count(*)::int from stored.documents group by all order by all")
    assert found == sorted((name, name.split("/")[0], len(records)) for name, records in files.items())


def test_a_corpus_without_the_field_of_its_domains_is_another(lake, tmp_path):
    write(tmp_path / "in", {"a.jsonl": [{"text": "a", "meta": {"set": "Github"}}]})
    with pytest.raises(UnknownName, match=r"no field 'meta\.pile_set_name': did you mean 'meta\.set'"):
        ingest(lake, "pile", {"path": (str(tmp_path / "in"),)})
    write(tmp_path / "in", {"b.jsonl": [{"text": "b", "meta.pile_set_name": "Github"}]})
    _, said = ingest(lake, "pile", {"path": (str(tmp_path / "in"),)})
    assert said[0] == "corpus pile: 1 document (github 1)"
