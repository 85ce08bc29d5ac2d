"""Dolma 3 mix, the first stage of OLMo 3 (OLMo team 2025, arXiv 2512.13961): data/SUBSET-TOPIC/ of JSON lines.

Files end in .jsonl.zst, part of the PDFs in .jsonl.gz; the text stands in `text`. The domain is the subset, without
topic, language and number: `common_crawl`, `olmocr_science_pdfs`, `stack_edu`, `finemath-3plus`, `arxiv`
(rpj-proofpile-arxiv) and `wikipedia` (dolma1_7-wiki-en). Structural are `stack_edu`, `finemath-3plus` and `arxiv`
(LaTeX). Texts that were taken out after training stand there as [REMOVED]: they are rejects. Layout:
allenai/dolma3_mix-6T on the hub (OLMo 3 32B); the 7B trained on allenai/dolma3_mix-6T-1025-7B.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from memlake.ingest.files.records import Record
from memlake.ingest.files.source import FolderCorpus
from memlake.ingest.source import Document, Reject

SUBSETS = {  # in the folder's name: the domain
    "common_crawl": "common_crawl",
    "olmocr_science_pdfs": "olmocr_science_pdfs",
    "stack_edu": "stack_edu",
    "finemath-3plus": "finemath-3plus",
    "rpj-proofpile-arxiv": "arxiv",
    "dolma1_7-wiki-en": "wikipedia",
}
REMOVED = "[REMOVED]"


@dataclass(frozen=True)
class Source(FolderCorpus):
    CORPUS = "dolma3"
    SUFFIXES = (".jsonl.zst", ".jsonl.gz")
    STREAM = "hf://datasets/allenai/dolma3_mix-6T/data"
    STRUCTURAL = frozenset({"stack_edu", "finemath-3plus", "arxiv"})

    def folder_domain(self, folder: str) -> str | None:
        return next((d for subset, d in SUBSETS.items() if f"{folder}-".startswith(f"{subset}-")), None)

    def document(self, file: str, record: Record) -> Document | Reject:
        if record.fields.get(self.text_field) == REMOVED:
            record = replace(record, problem=f"its publisher has taken the text out ({REMOVED})")
        return super().document(file, record)
