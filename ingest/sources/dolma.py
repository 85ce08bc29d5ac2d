"""Dolma v1 to v1.7 (Soldaini et al. 2024, arXiv 2402.00159): files .json.gz, one {"id", "text", "source", ...} a line.

The domain is the record's `source`, as it stands: in v1.5 and v1.6 (OLMo 1) `common-crawl`, `c4`, `stack-dedup`,
`reddit`, `s2` (peS2o), `gutenberg` and `wikipedia`; v1.7 adds `redpajama/arxiv`, `starcoder`, `megawika` and others.
The folders and files (cc_en_head-0000.json.gz, v1_5r2_sample-0000.json.gz) tell no domain. Structural are code, LaTeX
and the maths of Proof-Pile-2. Layout: docs/data-format.md of allenai/dolma, and the `urls/` of allenai/dolma on the
hub, which holds no texts; names of the sources: AI2's search over Dolma.
"""

from __future__ import annotations

from dataclasses import dataclass

from memlake.ingest.files.source import Corpus


@dataclass(frozen=True)
class Source(Corpus):
    CORPUS = "dolma"
    SUFFIXES = (".json.gz",)
    domain_field = "source"
    STREAM = "https://olmo-data.org/dolma-v1_6/... (a file of urls/v1_6.txt of allenai/dolma on the hub)"
    STRUCTURAL = frozenset(
        {
            "stack-dedup",
            "starcoder",
            "redpajama/arxiv",
            "proof-pile-2_algebraic-stack",
            "proof-pile-2_open-web-math",
        }
    )
