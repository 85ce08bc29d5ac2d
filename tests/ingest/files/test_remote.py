"""Files of a store: found, told apart and read as local ones are; a store that fails is no fault of the file."""

from __future__ import annotations

import gzip
import json
from hashlib import sha1
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import known_implementations

from memlake.ingest.documents.base import Input
from memlake.ingest.files import streams
from memlake.ingest.files.listing import find
from memlake.ingest.run import ingest
from memlake.ingest.source import Document
from memlake.ingest.sources import jsonl, parquet
from memlake.tests.ingest.store import REPO, serving
from memlake.tests.lakes import rows
from memlake.warehouse.errors import BadInput, Conflict

LINES = b"".join(json.dumps({"text": sha1(b"%d" % i).hexdigest()}).encode() + b"\n" for i in range(500))
PACKED = zstandard.ZstdCompressor().compress(LINES)


@pytest.fixture(scope="module", autouse=True)
def web():
    """Where aiohttp is missing, the web store of fsspec that needs requests only stands in for the usual one."""
    try:
        import aiohttp  # noqa: F401
    except ImportError:
        import fsspec.implementations.http_sync  # noqa: F401


@pytest.fixture
def hub(monkeypatch):
    """Let hf:// mean the server at an address."""
    import huggingface_hub

    def at(address: str) -> str:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        huggingface_hub.HfFileSystem.clear_instance_cache()
        return f"hf://{REPO}"

    yield at
    huggingface_hub.HfFileSystem.clear_instance_cache()


@pytest.fixture
def folder(tmp_path) -> Path:
    root = tmp_path / "store"
    (root / "data/deep").mkdir(parents=True)
    (root / "data/a.jsonl.zst").write_bytes(PACKED)
    (root / "data/deep/b.jsonl.gz").write_bytes(gzip.compress(LINES))
    (root / "data/notes.txt").write_bytes(b"no text of ours")
    table = pa.table({"text": [f"row {i}" for i in range(900)], "unread": ["x" * 100] * 900})
    pq.write_table(table, root / "data/c.parquet", row_group_size=100)
    return root


def texts(source, location: str) -> list[str]:
    found = list(source.read(Input("name", "", location)))
    assert all(isinstance(r, Document) for r in found)
    return [r.text for r in found]


@pytest.mark.parametrize("kind", ["web", "hub"])
def test_a_store_reads_as_the_folder_does(folder, hub, kind):
    with serving(folder) as (address, _):
        root = hub(address) + "/data" if kind == "hub" else f"{address}/data/"
        found = find([root], (".jsonl.zst", ".jsonl.gz", ".parquet")).files
        assert [name for name, _ in found] == ["a.jsonl.zst", "c.parquet", "deep/b.jsonl.gz"]
        assert all(location == f"{root.rstrip('/')}/{name}" for name, location in found)
        hub(address)  # another process has not listed the folder
        for name, location in found:
            assert find([location], ()).files == [(name.split("/")[-1], location)]
            source = parquet.Source() if name.endswith(".parquet") else jsonl.Source()
            assert texts(source, location) == texts(source, str(folder / "data" / name)) != []


@pytest.mark.parametrize("kind", ["web", "hub"])
def test_the_digest_follows_the_content(folder, hub, kind):
    seen = set()
    for content in (b"one", b"two", b"four", b"one"):
        (folder / "data/x.jsonl").write_bytes(content)
        with serving(folder) as (address, _):
            root = hub(address) if kind == "hub" else address
            seen.add(streams.digest(f"{root}/data/x.jsonl"))
    assert len(seen) == 3 and all(":" in digest for digest in seen)


def test_a_store_is_ingested_once_and_a_changed_file_is_refused(lake, folder, hub):
    with serving(folder) as (address, _):
        path = (f"{hub(address)}/data",)
        first, lines = ingest(lake, "jsonl", {"path": path}, corpus="mine")
        again, _ = ingest(lake, "jsonl", {"path": path}, corpus="mine")
        (folder / "data/a.jsonl.zst").write_bytes(PACKED + PACKED)
        hub(address)  # another day
        with pytest.raises(Conflict, match=r"holds a\.jsonl\.zst already, with other content"):
            ingest(lake, "jsonl", {"path": path}, corpus="mine")
    assert (len(first.done), again.skipped, again.done) == (2, 2, [])
    assert lines == ["corpus mine: 1000 documents (text 1000)", f"not read below {path[0]}: 1 .parquet, 1 .txt"]
    found = rows(lake, "select source, count(*) from stored.documents group by all order by all")
    assert found == [("a.jsonl.zst", 500), ("deep/b.jsonl.gz", 500)]


@pytest.mark.parametrize("kind", ["web", "hub"])
def test_hidden_names_endings_and_folders_that_tell_are_as_in_a_folder(lake, folder, hub, kind):
    for name in (
        "lang=c%2B%2B/X.JSONL.ZST",
        "lang=c%2B%2B/._X.jsonl.zst",
        ".git/y.jsonl.zst",
        "_delta_log/z.jsonl.zst",
    ):
        (folder / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "in" / name).write_bytes(PACKED)
    with serving(folder) as (address, _):
        root = hub(address) + "/in" if kind == "hub" else f"{address}/in/"
        for path in (root, f"{root.rstrip('/')}/{'lang=c%2B%2B' if kind == 'hub' else 'lang%3Dc%252B%252B'}/"):
            _, said = ingest(lake, "jsonl", {"path": (path,), "domain_field": "lang"}, corpus="mine")
            hidden = 3 if path == root else 1
            assert said == ["corpus mine: 500 documents (c++ 500)", f"not read below {path}: {hidden} hidden"]
    assert rows(lake, "select count(*) from stored.documents") == [(500,)]


class Breaking:
    """A file that ends early (`cut`), or whose reads fail (`fail`), after that many bytes."""

    cut: int | None = None
    fail: int | None = None

    def __init__(self, file):
        self.file, self.size = file, file.size

    def read(self, size=-1):
        data = self.file.read(size)
        if Breaking.fail is not None and self.file.tell() > Breaking.fail:
            raise ConnectionResetError("reset by peer")
        return data if Breaking.cut is None else data[: max(Breaking.cut - self.file.tell() + len(data), 0)]

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.fixture
def breaking(folder, monkeypatch):
    """The files in a store of fsspec's, whose reads break as `Breaking` says."""
    store = fsspec.filesystem("memory")
    for name in ("a.jsonl.zst", "c.parquet", "deep/b.jsonl.gz"):
        store.pipe_file(f"/{name}", (folder / "data" / name).read_bytes())
    whole = MemoryFileSystem._open
    monkeypatch.setattr(MemoryFileSystem, "_open", lambda *a, **k: Breaking(whole(*a, **k)))
    yield monkeypatch
    store.rm("/", recursive=True)


@pytest.mark.parametrize("how", ["cut", "fail"])
@pytest.mark.parametrize("name", ["a.jsonl.zst", "deep/b.jsonl.gz", "c.parquet"])
def test_a_store_that_breaks_off_fails_the_cell_and_the_next_run_tries_again(lake, breaking, how, name):
    source, options = "parquet" if name == "c.parquet" else "jsonl", {"path": (f"memory://{name}",), "domain": "all"}
    breaking.setattr(Breaking, how, 3000)
    summary, _ = ingest(lake, source, options, corpus="mine")
    ((_, reason),) = summary.failed
    assert reason.startswith(f"memory://{name} ") and reason.endswith("run the same command again")
    assert "\n" not in reason
    assert rows(lake, "select count(*) from stored.rejects") == [(0,)]
    breaking.setattr(Breaking, how, None)
    summary, _ = ingest(lake, source, options, corpus="mine")
    assert len(summary.done) == 1
    expected = 900 if source == "parquet" else 500
    assert rows(lake, "select count(*) from stored.documents") == [(expected,)]


@pytest.mark.parametrize("how", ["cut", "fail"])
def test_a_store_that_breaks_off_does_not_settle_that_records_have_no_domain(lake, breaking, how):
    options = {"path": ("memory://a.jsonl.zst",)}
    breaking.setattr(Breaking, how, 3000)
    with pytest.raises(BadInput, match="run the same command again"):
        ingest(lake, "jsonl", options, corpus="mine")
    assert rows(lake, "select count(*) from stored.cells") == [(0,)]


def test_a_truncated_file_of_a_sound_store_is_a_reject(lake, folder):
    (folder / "data/a.jsonl.zst").write_bytes(PACKED[:-20])
    with serving(folder) as (address, _):
        summary, _ = ingest(lake, "jsonl", {"path": (f"{address}/data/a.jsonl.zst",)}, corpus="mine")
    assert len(summary.done) == 1
    assert rows(lake, "select reason from stored.rejects") == [("the zstd stream is cut off",)]


def test_a_connection_that_is_cut_is_no_reject(lake, folder):
    with serving(folder) as (address, handler):
        handler.broken = len(PACKED) // 2
        asked = {"path": (f"{address}/data/a.jsonl.zst",), "domain": "all"}
        summary, _ = ingest(lake, "jsonl", asked, corpus="mine")
    ((_, reason),) = summary.failed
    assert "cannot be read (" in reason and reason.endswith("run the same command again")


def test_what_cannot_be_found_or_asked_is_one_clear_line(folder, hub, monkeypatch):
    lacking = {"class": "nowhere.Store", "err": "Install nowhere to read it"}
    monkeypatch.setitem(known_implementations, "lacking", lacking)
    with serving(folder) as (address, _):
        root = hub(address)
        cases = {
            "nothing://a/b.jsonl": "nothing://a/b.jsonl cannot be read: Protocol not known: nothing",
            "lacking://a/b.jsonl": "lacking://a/b.jsonl cannot be read: Install nowhere to read it",
            f"{root}/missing.jsonl": f"there is no file or folder {root}/missing.jsonl",
            "hf://datasets/owner/unknown/x.jsonl": "there is no file or folder hf://datasets/owner/unknown/x.jsonl",
            f"{address}/missing.jsonl": f"there is no file or folder {address}/missing.jsonl",
            f"{root}/data/deep": f"the folder {root}/data/deep holds no file that ends in .parquet",
        }
        for url, message in cases.items():
            with pytest.raises(BadInput) as raised:
                find([url], [".parquet"])
            assert str(raised.value).startswith(message) and "\n" not in str(raised.value)


def test_a_store_that_does_not_answer_is_one_clear_line():
    with pytest.raises(BadInput, match=r"http://127\.0\.0\.1:9/x\.jsonl \(\w*Error: "):
        find(["http://127.0.0.1:9/x.jsonl"], [".jsonl"])


def test_a_file_url_is_a_local_path(lake, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "one"}))
    first, _ = ingest(lake, "jsonl", {"path": (f"file://{path}",)}, corpus="mine")
    again, _ = ingest(lake, "jsonl", {"path": (str(path),)}, corpus="mine")
    assert (len(first.done), again.skipped) == (1, 1)
