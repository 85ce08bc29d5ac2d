"""OLMo-mix-1124, the first stage of OLMo 2 (OLMo team 2024, arXiv 2501.00656): data/DOMAIN/... of JSON lines.

The domain is the folder: `dclm` (.jsonl.zstd), `starcoder`, `pes2o`, `arxiv`, `open-web-math`, `algebraic-stack` and
`wiki` (.json.gz); the text stands in `text`. Structural are `starcoder`, `arxiv` (LaTeX), `open-web-math` and
`algebraic-stack`. The second stage is the source `dolmino_mix`. Layout: allenai/olmo-mix-1124 on the hub.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from memlake.ingest.files.source import FolderCorpus


@dataclass(frozen=True)
class Source(FolderCorpus):
    CORPUS = "olmo-mix-1124"
    SUFFIXES = (".json.gz", ".json.zst", ".jsonl", ".jsonl.gz", ".jsonl.zst", ".jsonl.zstd")
    STREAM = "hf://datasets/allenai/olmo-mix-1124/data"
    DOMAINS: ClassVar = frozenset({"dclm", "starcoder", "pes2o", "arxiv", "open-web-math", "algebraic-stack", "wiki"})
    STRUCTURAL = frozenset({"starcoder", "arxiv", "open-web-math", "algebraic-stack"})

    def folder_domain(self, folder: str) -> str | None:
        return folder if folder in self.DOMAINS else None
