"""Datasets by name, configuration and split: tried on local folders, which `datasets` reads as it reads the hub."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from memlake.ingest.cli import app
from memlake.ingest.run import ingest
from memlake.ingest.source import Document, Reject, make
from memlake.tests.lakes import rows
from memlake.warehouse.errors import BadInput, UnknownName

README = """---
configs:
- config_name: en
  data_files:
  - split: train
    path: "en/0.jsonl"
  - split: test
    path: "en/[12].jsonl"
- config_name: de
  data_files: "de/*.jsonl"
---
A dataset.
"""


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """`datasets` leaves locks where it caches; the hub is not asked."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def lines(path: Path, *records: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records))


def texts(*names: str) -> list[dict]:
    return [{"text": name, "meta": {"source": "a"}} for name in names]


@pytest.fixture
def plain(tmp_path) -> Path:
    """A folder of JSON lines and no README."""
    for i in range(3):
        lines(tmp_path / f"plain/train-{i}.jsonl", *texts(f"{i} one", f"{i} two"))
    return tmp_path / "plain"


@pytest.fixture
def configured(tmp_path) -> Path:
    for language in ("en", "de"):
        for i in range(3):
            lines(tmp_path / f"configured/{language}/{i}.jsonl", {"text": f"{language} {i}"})
    (tmp_path / "configured/README.md").write_text(README)
    return tmp_path / "configured"


def read(folder: Path, **options) -> dict[str, list[Document | Reject]]:
    source = make("huggingface", {"dataset": str(folder)} | options)
    return {given.name: list(source.read(given)) for given in source.inputs()}


def test_a_folder_of_json_lines(plain):
    found = read(plain, domain_field="meta.source")
    assert list(found) == ["train-0.jsonl", "train-1.jsonl", "train-2.jsonl"]
    assert found["train-1.jsonl"] == [
        Document("train-1.jsonl", 0, "a", "1 one"),
        Document("train-1.jsonl", 1, "a", "1 two"),
    ]


def test_a_folder_of_parquet_files(tmp_path):
    (tmp_path / "data").mkdir()
    for split in ("train", "validation"):
        rows = {"content": [f"{split} {i}" for i in range(5)], "id": range(5)}
        pq.write_table(pa.table(rows), tmp_path / f"data/{split}-00000-of-00001.parquet", row_group_size=2)
    found = read(tmp_path, split="validation", text_field="content", id_field="id")
    (name,) = found
    assert name == "data/validation-00000-of-00001.parquet"
    assert [(d.source, d.position, d.text) for d in found[name]] == [
        (f"{name}#{i}", i, f"validation {i}") for i in range(5)
    ]


def test_configurations_and_splits(configured):
    assert list(read(configured, config="en")) == ["en/0.jsonl"]
    found = read(configured, config="en", split="test")
    assert {name: [d.text for d in found[name]] for name in found} == {"en/1.jsonl": ["en 1"], "en/2.jsonl": ["en 2"]}
    assert len(read(configured, config="de")) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"dataset .*configured cannot be read \(ValueError\): Config name is missing.*\['en', 'de'\]"),
        ({"config": "fr"}, "BuilderConfig 'fr' not found"),
        ({"config": "en", "split": "tests"}, "no split 'tests': did you mean 'test'"),
    ],
)
def test_what_the_dataset_has_not(configured, options, message):
    with pytest.raises((BadInput, UnknownName), match=message) as raised:
        read(configured, **options)
    assert "\n" not in str(raised.value)


def test_a_split_that_a_folder_without_a_readme_has_not(tmp_path):
    lines(tmp_path / "in/0.jsonl", {"text": "zero"})
    with pytest.raises(UnknownName, match="no split 'tran': did you mean 'train'"):
        read(tmp_path / "in", split="tran")


def test_no_dataset_of_that_name():
    with pytest.raises(BadInput, match="needs --dataset"):
        make("huggingface", {}).inputs()
    with pytest.raises(BadInput, match=r"dataset nobody/nothing \(there is no such folder here\) cannot be") as raised:
        make("huggingface", {"dataset": "nobody/nothing"}).inputs()
    assert "\n" not in str(raised.value)
    with pytest.raises(BadInput, match="takes no --path"):
        make("huggingface", {"path": ("x",)})


def test_each_file_has_a_schema_of_its_own(tmp_path):
    lines(tmp_path / "in/0.jsonl", {"text": "zero"})
    lines(tmp_path / "in/1.jsonl", {"text": "one", "extra": [1]}, {"text": None}, {"text": " "})
    lines(tmp_path / "in/2.jsonl", {"text": 7})
    lines(tmp_path / "in/3.jsonl", {"other": "x"})
    (tmp_path / "in/4.jsonl").touch()
    found = read(tmp_path / "in")
    got = [
        r.text if isinstance(r, Document) else (r.source, r.position, r.reason) for name in found for r in found[name]
    ]
    assert got == [
        "zero",
        "one",
        ("1.jsonl", 1, "no field text"),
        ("1.jsonl", 2, "text is empty"),
        ("2.jsonl", 0, "text is not text"),
        ("3.jsonl", 0, "no field text"),
        ("4.jsonl", 0, "empty file"),
    ]


@pytest.mark.parametrize("damaged", ["a.jsonl", "a.json.gz", "a.parquet"])
def test_the_good_records_of_a_damaged_file_are_kept(lake, tmp_path, damaged):
    path = tmp_path / "in" / damaged
    lines(tmp_path / "in/b.jsonl" if damaged != "a.parquet" else path, {"text": "other"})
    if damaged == "a.parquet":
        pq.write_table(pa.table({"text": pa.array([b"one", b"\xff", b"two"])}), path)
    else:
        data = b'{"text": "one"}\n{"text": \n{"text": "two"}\n'
        path.write_bytes(gzip.compress(data) if damaged.endswith("gz") else data)
    summary, said = ingest(lake, "huggingface", {"dataset": str(tmp_path / "in")}, corpus="mine")
    assert not summary.failed and said[1].startswith("not taken: 1 record")
    found = rows(lake, f"select position, text from stored.documents where source = '{damaged}' order by all")
    assert found == [(0, "one"), (2, "two")]
    assert rows(lake, "select source, position from stored.rejects") == [(damaged, 1)]


def test_a_json_file_of_one_array(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.json").write_text(json.dumps(texts("one", "two"), indent=1))
    found = read(tmp_path / "in", domain_field="meta.source")
    assert found == {"a.json": [Document("a.json", 0, "a", "one"), Document("a.json", 1, "a", "two")]}


def test_a_file_that_cannot_be_read_fails_and_is_tried_again(lake, tmp_path):
    plain = tmp_path / "plain"
    plain.mkdir()
    for i in range(3):
        (plain / f"train-{i}.csv").write_text(f"text,n\n{i} one,1\n{i} two,2\n")
    (plain / "train-1.csv").write_text("text,n\n1 one,1\n1 two,2,3,4\n")
    options = {"dataset": str(plain)}
    summary, _ = ingest(lake, "huggingface", options, corpus="mine")
    ((cell, reason),) = summary.failed
    assert cell.settings.file == "train-1.csv" and "\n" not in reason
    assert reason.startswith(f"train-1.csv of dataset {plain} cannot be read (")
    assert rows(lake, "select count(*), count(distinct source) from stored.documents") == [(4, 2)]
    assert rows(lake, "select count(*) from stored.rejects") == [(0,)]
    (plain / "train-1.csv").write_text("text,n\n1 one,1\n1 two,2\n")
    again, said = ingest(lake, "huggingface", options, corpus="mine")
    assert (len(again.done), again.skipped, said) == (1, 2, ["corpus mine: 6 documents (text 6)"])


def test_a_folder_may_be_moved_and_the_files_are_known(lake, plain, tmp_path):
    ingest(lake, "huggingface", {"dataset": str(plain)}, corpus="mine")
    shutil.copytree(plain, tmp_path / "elsewhere")
    summary, _ = ingest(lake, "huggingface", {"dataset": str(tmp_path / "elsewhere")}, corpus="mine")
    assert (len(summary.done), summary.skipped) == (0, 3)


def test_a_file_of_the_hub_has_one_name_in_all_revisions():
    source = make("huggingface", {"dataset": "owner/name"})
    for revision in ("main", "8b73bd22", "refs%2Fconvert%2Fparquet"):
        assert source._name(f"hf://datasets/owner/name@{revision}/data/train/0.parquet") == "data/train/0.parquet"
    assert source.options()["dataset"] == "owner/name"
    assert source.options() == make("huggingface", {"dataset": "owner/name", "revision": "main"}).options()


def test_as_a_user_types_it(lake, configured):
    given = ("run", "huggingface", "--dataset", configured, "--config", "de", "--corpus", "mine", "--keep", 2)
    done = CliRunner().invoke(app, [str(a) for a in (*given, "--lake", lake.path)])
    assert done.exit_code == 0, done.output
    assert "corpus mine: 2 of 3 documents kept (text 2 of 3)" in done.stderr


def test_a_folder_is_listed_as_those_of_other_sources(lake, tmp_path):
    root = tmp_path / "in"
    lines(root / "train/a.jsonl", {"text": "one"})
    lines(root / "train/lang=c%2B%2B/b.JSONL", {"text": "two"})
    lines(root / "test/c.jsonl", {"text": "of another split"})
    lines(root / "train/.ipynb_checkpoints/a.jsonl", {"text": "hidden"})
    lines(tmp_path / "disk2/d.jsonl", {"text": "three"})
    (root / "train/linked").symlink_to(tmp_path / "disk2")
    (root / "train/again.jsonl").symlink_to("a.jsonl")
    (root / "train/up").symlink_to("..")
    options = {"dataset": str(root), "domain_field": "lang", "domain": "rest"}
    _, said = ingest(lake, "huggingface", options, corpus="mine")
    assert said == [
        "corpus mine: 3 documents (c++ 1, rest 2)",
        "2 of 3 documents are in domain 'rest', that of records without a field 'lang'",
        f"not read below {root}: 1 .jsonl, 1 hidden, 1 linked to a folder above, 1 linked to what is read already",
    ]
    names = ["train/a.jsonl", "train/lang=c%2B%2B/b.JSONL", "train/linked/d.jsonl"]
    assert rows(lake, "select source from stored.documents order by all") == [(name,) for name in names]


def test_a_file_that_datasets_does_not_know_in_upper_case(tmp_path):
    (tmp_path / "A.CSV").write_text("text,n\none,1\n")
    assert read(tmp_path) == {"A.CSV": [Document("A.CSV", 0, "text", "one")]}


def test_a_snapshot_of_the_hubs_cache(tmp_path):
    lines(tmp_path / "blobs/1f", {"text": "one"})
    (tmp_path / "snapshots/aa/data").mkdir(parents=True)
    (tmp_path / "snapshots/aa/data/train.jsonl").symlink_to("../../../blobs/1f")
    assert list(read(tmp_path / "snapshots/aa")) == ["data/train.jsonl"]


def test_a_field_of_no_record_is_an_error(lake, tmp_path):
    for folder, name, content in (("a", "a.jsonl", '{"text": "one"}'), ("b", "b.csv", "text,n\none,1\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(content)
        with pytest.raises(UnknownName, match=r"no field 'body' \(there are: (n, )?text\)"):
            options = {"dataset": str(tmp_path / folder), "text_field": "body"}
            ingest(lake, "huggingface", options, corpus="mine")
