"""StarCoderData (Li et al. 2023, arXiv 2305.06161): one folder for each language, of Parquet files, text in `content`.

The domain is the folder: `python`, `c-sharp`, `jupyter-scripts-dedup-filtered`, ... All are structural (`markdown` and
`tex` are markup, a notebook is mostly code) but `github-issues-filtered-structured`, which is conversation. Rows of
`git-commits-cleaned` without a `content` are rejects: how old and new file were put together is not published with
them. Layout: bigcode/starcoderdata on the hub (gated: accept its terms and log in with `hf auth login`).
"""

from __future__ import annotations

from dataclasses import dataclass

from memlake.ingest.files import readers
from memlake.ingest.files.source import FolderCorpus

CONVERSATION = "github-issues-filtered-structured"


@dataclass(frozen=True)
class Source(FolderCorpus):
    CORPUS = "starcoderdata"
    SUFFIXES = readers.PARQUET
    STREAM = "hf://datasets/bigcode/starcoderdata/python"
    text_field = "content"

    def folder_domain(self, folder: str) -> str | None:
        return folder or None

    def domain_class(self, domain: str) -> str:
        return "free_text" if domain == CONVERSATION else "structural"
