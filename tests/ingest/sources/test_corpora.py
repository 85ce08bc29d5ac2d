"""Each corpus in the layout in which it is published, with damaged records: documents, domains, classes, rejects."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from memlake.ingest.run import ingest
from memlake.ingest.source import SHELF, Document, Reject, description, make, source_class
from memlake.tests.lakes import rows
from memlake.warehouse import shelf
from memlake.warehouse.errors import BadInput
from memlake.warehouse.models.registry import models

ZSTD = zstandard.ZstdCompressor().compress
PACK = {".gz": gzip.compress, ".zst": ZSTD, ".zstd": ZSTD}
CORPORA = ("dolma", "dolma3", "dolmino_mix", "olmo_mix", "pile", "redpajama", "starcoderdata")


def write(root: Path, files: Mapping[str, object]) -> str:
    """Files by their names: a list of records, or a column of them for Parquet, or bytes as they are."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            pq.write_table(pa.table(content), path)
            continue
        if not isinstance(content, bytes):
            content = b"".join((r if isinstance(r, bytes) else json.dumps(r).encode()) + b"\n" for r in content)
        path.write_bytes(PACK.get(path.suffix, bytes)(content))
    return str(root)


def read(source: str, path: str) -> dict[str, list]:
    """What a source reads there, in plain lists in order."""
    own = make(source, {"path": (path,)})
    records = [record for given in own.inputs() for record in own.read(given)]
    documents = [r for r in records if isinstance(r, Document)]
    rejects = [r for r in records if isinstance(r, Reject)]
    return {
        "documents": sorted((r.source, r.position, r.domain, r.text) for r in documents),
        "classes": sorted((domain, own.domain_class(domain)) for domain in {r.domain for r in documents}),
        "rejects": sorted((r.source, r.position, r.reason) for r in rejects),
    }


def test_a_corpus_has_its_own_name_in_the_lake(lake, tmp_path):
    files = {
        "data/wiki/wiki-0000.json.gz": [{"text": "an article"}, {"text": None}],
        "data/math/gsm8k/main/train/0.jsonl.zst": [{"text": "1 + 1"}],
    }
    summary, lines = ingest(lake, "dolmino_mix", {"path": (write(tmp_path / "in", files),)})
    assert len(summary.done) == 2
    assert lines == [
        "corpus dolmino-mix-1124: 2 documents (math 1, wiki 1)",
        "not taken: 1 record, each with its reason in `rejects` (no field text 1)",
    ]
    assert rows(lake, 'select corpus, domain, "class", n_documents from stored.domains order by all') == [
        ("dolmino-mix-1124", "math", "structural", 1),
        ("dolmino-mix-1124", "wiki", "free_text", 1),
    ]


def test_the_pile(tmp_path):
    sets = ["Github", "ArXiv", "DM Mathematics", "Pile-CC", "Wikipedia (en)", "Gutenberg (PG-19)", "Ubuntu IRC"]
    files = {
        "train/00.jsonl.zst": [
            *({"text": f"text {i}", "meta": {"pile_set_name": name}} for i, name in enumerate(sets)),
            {"text": "no set", "meta": {}},
            {"text": "flat", "meta": "Github"},
            {"text": "seven", "meta": {"pile_set_name": 7}},
            {"text": "", "meta": {"pile_set_name": "Github"}},
            b'{"text": "cut',
        ],
        "val.jsonl.zst": [{"text": "new", "meta": {"pile_set_name": "A Set (of 2030)"}}],
    }
    found = read("pile", write(tmp_path / "pile", files))
    domains = ["github", "arxiv", "dm-mathematics", "pile-cc", "wikipedia-en", "gutenberg-pg-19", "ubuntu-irc"]
    assert found["documents"] == [
        *(("train/00.jsonl.zst", i, domain, f"text {i}") for i, domain in enumerate(domains)),
        ("val.jsonl.zst", 0, "a-set-of-2030", "new"),
    ]
    structural = {domain for domain, kind in found["classes"] if kind == "structural"}
    assert structural == {"github", "arxiv", "dm-mathematics", "ubuntu-irc"} and len(found["classes"]) == 8
    assert found["rejects"] == [
        ("train/00.jsonl.zst", 7, "no field meta.pile_set_name"),
        ("train/00.jsonl.zst", 8, "no field meta.pile_set_name"),
        ("train/00.jsonl.zst", 9, "domain is not text"),
        ("train/00.jsonl.zst", 10, "text is empty"),
        ("train/00.jsonl.zst", 11, "malformed JSON"),
    ]


def test_redpajama(tmp_path):
    dump = "common_crawl/2019-30/en_head_0000.json.gz.dedup.classifier.jsonl.zst"
    files = {
        "arxiv/arxiv_024de5df.jsonl": [{"text": "\\section{A}", "meta": {"arxiv_id": "1"}}, {"meta": {}}],
        "book/book.jsonl": [{"text": "a book", "meta": {"title": "B"}}],
        "c4/c4-train.00000-of-01024.jsonl": [{"text": "a page", "meta": {"source": "c4"}}],
        dump: [{"text": "crawled", "pred_label": "__label__cc", "source": "cc/2019-30/en_head_0000.json.gz/line1"}],
        "github/filtered_0a.sampled.jsonl": [{"text": "x = 1", "meta": {"repo_name": "r"}}, b"\xff\xfe"],
        "stackexchange/stackexchange.jsonl": [{"text": "Q: A:", "meta": {"source": "stackexchange"}}],
        "wikipedia/wiki.jsonl": [{"text": "an article", "meta": {"language": "en"}}],
        "readme.jsonl": [{"text": "of no domain", "meta": "{"}],
    }
    found = read("redpajama", write(tmp_path / "rp", files))
    assert [(source, domain) for source, _, domain, _ in found["documents"]] == [
        ("arxiv/arxiv_024de5df.jsonl", "arxiv"),
        ("book/book.jsonl", "book"),
        ("c4/c4-train.00000-of-01024.jsonl", "c4"),
        (dump, "common_crawl"),
        ("github/filtered_0a.sampled.jsonl", "github"),
        ("stackexchange/stackexchange.jsonl", "stackexchange"),
        ("wikipedia/wiki.jsonl", "wikipedia"),
    ]
    assert {d for d, kind in found["classes"] if kind == "structural"} == {"arxiv", "github"}
    assert found["rejects"] == [
        ("arxiv/arxiv_024de5df.jsonl", 1, "no field text"),
        ("github/filtered_0a.sampled.jsonl", 1, "not UTF-8"),
        ("readme.jsonl", 0, "no domain: the file lies in no folder of a known name"),
    ]


def test_redpajama_where_the_record_or_the_file_tells_the_domain(tmp_path):
    files = {
        "arxiv_sample.jsonl": [{"text": "a", "meta": "{'arxiv_id': 1}"}],
        "cc_2019-30_sample.jsonl": [{"text": "b", "meta": "{}"}],
        "chunk1/example_0.jsonl.zst": [
            {"text": "c", "meta": {"redpajama_set_name": "RedPajamaCommonCrawl"}},
            {"text": "d", "meta": '{"redpajama_set_name": "RedPajamaStackExchange"}'},
            {"text": "e", "meta": {"redpajama_set_name": "RedPajamaNews"}},
            {"text": "f", "meta": {"redpajama_set_name": 3}},
        ],
        "export.jsonl": [{"text": "g", "meta": "{}", "red_pajama_subset": "books"}],
    }
    found = read("redpajama", write(tmp_path / "rp", files))
    domains = {text: domain for _, _, domain, text in found["documents"]}
    assert domains == {
        **{"a": "arxiv", "b": "common_crawl", "c": "common_crawl", "d": "stackexchange"},
        **{"e": "RedPajamaNews", "g": "book"},
    }
    assert found["rejects"] == [("chunk1/example_0.jsonl.zst", 3, "domain is not text")]


def test_starcoderdata(tmp_path):
    code = {"max_stars_repo_name": ["a/b", "c/d", "e/f"], "id": ["1", "2", "3"]}
    issues = "github-issues-filtered-structured/train-00000-of-00059.parquet"
    commits = "git-commits-cleaned/train-00000-of-00055.parquet"
    files = {
        "python/train-00000-of-00059.parquet": {"content": ["x = 1", None, " "], **code},
        "c-sharp/train-00000-of-00045.parquet": {"content": ["class A {}"], "id": [7]},
        "markdown/train-00000-of-00079.parquet": {"content": ["# Title"]},
        issues: {"repo": ["a/b"], "issue_id": [3], "content": ["<issue_start> it fails"]},
        commits: {"old_contents": ["a"], "new_contents": ["b"], "message": ["fix"]},
    }
    root = write(tmp_path / "starcoderdata", files)
    (tmp_path / "starcoderdata/ada").mkdir()
    (tmp_path / "starcoderdata/ada/train-00000-of-00001.parquet").write_bytes(b"PAR1 and no more")
    found = read("starcoderdata", root)
    assert found["documents"] == [
        ("c-sharp/train-00000-of-00045.parquet", 0, "c-sharp", "class A {}"),
        (issues, 0, "github-issues-filtered-structured", "<issue_start> it fails"),
        ("markdown/train-00000-of-00079.parquet", 0, "markdown", "# Title"),
        ("python/train-00000-of-00059.parquet", 0, "python", "x = 1"),
    ]
    kinds = dict(found["classes"])
    assert kinds.pop("github-issues-filtered-structured") == "free_text"
    assert set(kinds.values()) == {"structural"} and len(kinds) == 3
    assert found["rejects"][0][2].startswith("the Parquet file cannot be read (")
    assert found["rejects"][1:] == [
        (commits, 0, "no field content"),
        ("python/train-00000-of-00059.parquet", 1, "no field content"),
        ("python/train-00000-of-00059.parquet", 2, "content is empty"),
    ]


def test_dolma(tmp_path):
    def record(text, source, **more):
        return {"id": "a1", "text": text, "source": source, "added": "2023-04-11", "created": "2019-01-01", **more}

    files = {
        "cc_en_head-0000.json.gz": [record("crawled", "common-crawl"), record(None, "common-crawl")],
        "v1_5r2_sample-0000.json.gz": [record(s, s) for s in ("c4", "stack-dedup", "s2", "reddit", "gutenberg")],
        "redpajama-arxiv/arxiv-0000.json.gz": [record("\\begin", "redpajama/arxiv", version="v0")],
        "wiki/wiki-0000.json.gz": [{"id": "2", "text": "no source"}, record("an article", "wikipedia")],
        "urls/v1_6.txt": b"https://olmo-data.org/dolma-v1_6/books/books-0000.json.gz",
    }
    found = read("dolma", write(tmp_path / "dolma", files))
    assert {(source, domain) for source, _, domain, _ in found["documents"]} == {
        ("cc_en_head-0000.json.gz", "common-crawl"),
        *(("v1_5r2_sample-0000.json.gz", s) for s in ("c4", "stack-dedup", "s2", "reddit", "gutenberg")),
        ("redpajama-arxiv/arxiv-0000.json.gz", "redpajama/arxiv"),
        ("wiki/wiki-0000.json.gz", "wikipedia"),
    }
    assert {d for d, kind in found["classes"] if kind == "structural"} == {"stack-dedup", "redpajama/arxiv"}
    assert found["rejects"] == [
        ("cc_en_head-0000.json.gz", 1, "no field text"),
        ("wiki/wiki-0000.json.gz", 0, "no field source"),
    ]


def test_olmo_mix(tmp_path):
    inner = "raw/hero-run/filtered/processed_data/global-shard_01_of_10/local-shard_0_of_10"
    files = {
        f"data/dclm/{inner}/shard_00000000_processed.jsonl.zstd": [{"text": "a page", "url": "u"}],
        "data/starcoder/v1-decon-100_to_20k-2star-top_token_030/documents/ada-0000.json.gz": [{"text": "begin"}],
        "data/arxiv/train/arxiv-train-0000.json.gz": [{"text": "\\begin"}, {"text": 3}],
        "data/open-web-math/train/open-web-math-train-0000.json.gz": [{"text": "$1$"}],
        "data/algebraic-stack/train/algebraic-stack-train-0000.json.gz": [{"text": "theorem"}],
        "data/pes2o/pes2o-0000.json.gz": [{"text": "a paper"}],
        "data/wiki/wiki-0000.json.gz": [{"text": "an article"}],
        "README.md": b"no text of the corpus",
    }
    found = read("olmo_mix", write(tmp_path / "olmo-mix-1124", files))
    kinds = {domain: kind == "structural" for domain, kind in found["classes"]}
    assert kinds == {
        **dict.fromkeys(("starcoder", "arxiv", "open-web-math", "algebraic-stack"), True),
        **dict.fromkeys(("dclm", "pes2o", "wiki"), False),
    }
    assert {source.split("/")[0] for source, *_ in found["documents"]} == set(kinds)
    assert found["rejects"] == [("arxiv/train/arxiv-train-0000.json.gz", 1, "text is not text")]


def test_dolmino_mix(tmp_path):
    files = {
        "data/dclm/0000/dclm-0000.json.zst": [{"text": "a page", "id": "1"}],
        "data/flan/tulu_flan-0000.json.gz": [{"text": "Question: ?"}],
        "data/math/tinyGSM-MIND/2students/tiny_gsm_inline_part000.000000.jsonl.gz": [{"text": "1 + 1"}],
        "data/math/mathcoder2-synthmath/m-a-p_Matrix/filtered-math/book_math.0000.0000.jsonl": [{"text": "2 + 2"}],
        "data/math/gsm8k/main/train/0.jsonl.zst": [{"text": "3 + 3"}, {"question": "4 + 4"}],
        "data/pes2o/pes2o-0000.json.gz": [{"text": "a paper"}],
        "data/stackexchange/stackexchange-0000.json.gz": [{"text": "Q: A:"}],
        "data/wiki/wiki-0000.json.gz": [{"text": "an article"}],
    }
    found = read("dolmino_mix", write(tmp_path / "dolmino-mix-1124", files))
    assert dict(found["classes"]) == {"math": "structural"} | dict.fromkeys(
        ("dclm", "flan", "pes2o", "stackexchange", "wiki"), "free_text"
    )
    assert [text for _, _, domain, text in found["documents"] if domain == "math"] == ["3 + 3", "2 + 2", "1 + 1"]
    assert found["rejects"] == [("math/gsm8k/main/train/0.jsonl.zst", 1, "no field text")]


def test_dolma3(tmp_path):
    record = {"id": "1", "metadata": {}, "added": "2025"}
    pdf = "data/olmocr_science_pdfs-literature/literature-9501.jsonl.gz"
    files = {
        "data/common_crawl-crime_and_law-0007/shard_00000112.jsonl.zst": [{**record, "text": "crawled"}],
        pdf: [{**record, "text": "scanned"}, {**record, "text": "[REMOVED]"}],
        "data/olmocr_science_pdfs-health/shard_00000032.jsonl.zst338588528": b"an upload that broke off",
        "data/stack_edu-Python-0001/shard_00000009.jsonl.zst": [{**record, "text": "x = 1"}],
        "data/finemath-3plus/finemath-3plus-0000.jsonl.zst": [{**record, "text": "1 + 1"}],
        "data/rpj-proofpile-arxiv/arxiv-train-0007.jsonl.zst": [{**record, "text": "\\begin"}],
        "data/dolma1_7-wiki-en/00000.jsonl.zst": [{**record, "text": "an article"}],
        "data/common_crawl_extra/shard_00000000.jsonl.zst": [{**record, "text": "of no subset"}],
    }
    found = read("dolma3", write(tmp_path / "dolma3_mix-6T", files))
    assert [(source.split("/")[0], domain, text) for source, _, domain, text in found["documents"]] == [
        ("common_crawl-crime_and_law-0007", "common_crawl", "crawled"),
        ("dolma1_7-wiki-en", "wikipedia", "an article"),
        ("finemath-3plus", "finemath-3plus", "1 + 1"),
        ("olmocr_science_pdfs-literature", "olmocr_science_pdfs", "scanned"),
        ("rpj-proofpile-arxiv", "arxiv", "\\begin"),
        ("stack_edu-Python-0001", "stack_edu", "x = 1"),
    ]
    structural = {domain for domain, kind in found["classes"] if kind == "structural"}
    assert structural == {"stack_edu", "finemath-3plus", "arxiv"}
    assert found["rejects"] == [
        (
            "data/common_crawl_extra/shard_00000000.jsonl.zst",
            0,
            "no domain: the file lies in no folder of a known name",
        ),
        (pdf.removeprefix("data/"), 1, "its publisher has taken the text out ([REMOVED])"),
    ]


def test_every_source_of_a_corpus_reads_well():
    assert set(CORPORA) <= set(shelf.names(SHELF))
    for name in CORPORA:
        first, blank, *_ = description(name).splitlines()
        assert len(first) < 120 and blank == ""
        with pytest.raises(BadInput) as raised:
            make(name, {}).inputs()
        stream = source_class(name).STREAM
        assert str(raised.value) == (
            f"source {name!r} needs --path: a file or a folder, or {stream} to stream it"
        ) and stream.startswith(("hf://datasets/", "https://"))


def test_the_registry_names_the_corpora_as_the_sources_do():
    named = {corpus for model in models().values() for corpus in model.corpora}
    assert named == {source_class(name).CORPUS for name in CORPORA}
