"""RedPajama-Data-1T (Together 2023): one folder for each domain, of .jsonl files; common_crawl of .jsonl.zst.

arxiv, book, c4, common_crawl, github, stackexchange and wikipedia, one {"text", "meta"} a line. The domain is what the
record says of itself, as `red_pajama_subset` (exports of the hub's loader) or `meta.redpajama_set_name` (SlimPajama),
`meta` being an object or that object as a string of JSON; else how the file's name begins, as in
RedPajama-Data-1T-Sample (`arxiv_sample.jsonl`, `cc_2019-30_sample.jsonl`); else the folder. Structural are `github` and
`arxiv` (LaTeX).
Layout: https://data.together.xyz/redpajama-data-1T/v1.0.0/urls.txt and the hub's RedPajama-Data-1T.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from memlake.ingest.files.records import Refused
from memlake.ingest.files.source import FolderCorpus

DOMAINS = ("arxiv", "book", "c4", "common_crawl", "github", "stackexchange", "wikipedia")
ALIASES = {"books": "book", "cc": "common_crawl", "wiki": "wikipedia", "commoncrawl": "common_crawl"}


@dataclass(frozen=True)
class Source(FolderCorpus):
    CORPUS = "redpajama"
    SUFFIXES = (".jsonl", ".jsonl.zst")
    STREAM = "https://data.together.xyz/redpajama-data-1T/v1.0.0/arxiv/... (a file of its urls.txt)"
    STRUCTURAL = frozenset({"github", "arxiv"})

    PARTS = r"\d{4}-\d{2}"  # a dump of common_crawl

    def folder_domain(self, folder: str) -> str | None:
        return folder if folder in DOMAINS else None

    def domain_of(self, fields: Mapping[str, Any], file: str) -> str:
        if said := fields.get("red_pajama_subset") or _meta(fields).get("redpajama_set_name"):
            return _domain(said)
        begins = _domain(re.split("[_.-]", file.rsplit("/", 1)[-1])[0])
        if begins in DOMAINS:
            return begins
        return super().domain_of(fields, file)


def _meta(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    meta = fields.get("meta")
    if isinstance(meta, str):
        try:
            meta = json.loads(meta)
        except (ValueError, RecursionError):  # nothing is needed of it where the folder tells the domain
            return {}
    return meta if isinstance(meta, Mapping) else {}


def _domain(said: object) -> str:
    """`RedPajamaCommonCrawl`, `cc` and `common_crawl` are one domain; a name unknown here stays as it is."""
    if not isinstance(said, str):
        raise Refused("domain is not text")
    short = said.removeprefix("RedPajama").lower()
    short = ALIASES.get(short, short)
    return short if short in DOMAINS else said
