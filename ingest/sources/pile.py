"""The Pile (Gao et al. 2020, arXiv 2101.00027): files .jsonl.zst, one {"text", "meta": {"pile_set_name"}} a line.

The domain is the set's name in lower case with hyphens: `github`, `pile-cc`, `wikipedia-en`, `gutenberg-pg-19`, ...
The original is no longer distributed; a copy without five copyrighted sets is monology/pile-uncopyrighted on the hub.
Structural are `github`, `arxiv` (LaTeX), `dm-mathematics` and `ubuntu-irc` (logs).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from memlake.ingest.files.records import Refused
from memlake.ingest.files.source import Corpus


@dataclass(frozen=True)
class Source(Corpus):
    CORPUS = "pile"
    SUFFIXES = (".jsonl.zst", ".jsonl")
    domain_field = "meta.pile_set_name"
    STREAM = "hf://datasets/monology/pile-uncopyrighted/train"
    STRUCTURAL = frozenset({"github", "arxiv", "dm-mathematics", "ubuntu-irc"})

    def domain_of(self, fields: Mapping[str, Any], file: str) -> str:
        name = super().domain_of(fields, file)
        if not isinstance(name, str):
            raise Refused("domain is not text")
        return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")
