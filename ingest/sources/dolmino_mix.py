"""Dolmino-mix-1124, the second stage of OLMo 2 (OLMo team 2024, arXiv 2501.00656): data/DOMAIN/... of JSON lines.

The domain is the folder: `dclm` (.json.zst), `flan`, `pes2o`, `stackexchange`, `wiki` (.json.gz) and `math` (.jsonl,
.jsonl.gz, .jsonl.zst), the last structural; the text stands in `text`. Layout: allenai/dolmino-mix-1124 on the hub.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import olmo_mix


@dataclass(frozen=True)
class Source(olmo_mix.Source):
    CORPUS = "dolmino-mix-1124"
    STREAM = "hf://datasets/allenai/dolmino-mix-1124/data"
    DOMAINS = frozenset({"dclm", "flan", "pes2o", "stackexchange", "wiki", "math"})
    STRUCTURAL = frozenset({"math"})
