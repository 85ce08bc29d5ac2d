"""Made-up n-gram counts: what training showed often is made of frequent pieces, and stands there as often."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from memlake.warehouse.identity import hash63

BYTES = 4  # of each token


def as_shown(corpus: str) -> str:
    """The name of the text that training showed of a corpus, each piece as often as it was shown."""
    return f"{corpus} as shown"


def count_pieces(
    families: Sequence[str], corpus: str, domain: str, showings: Sequence[int], counted: str, tokens: int
) -> Iterator[tuple[str, list[dict]]]:
    """Rows of `ngram_counts` for the sequences of one domain, of twice `tokens` tokens, counted in `counted` and in
    what training showed of it, under their own tokenizer and in bytes. Text of another corpus is nowhere there."""
    rng = np.random.default_rng(hash63("counts", corpus, domain) % 2**32)
    rows = []
    for family, (i, times) in product(families, enumerate(showings)):
        common = rng.normal(5 + 0.3 * np.log2(1 + times), 0.5)
        copies = rng.geometric(0.6) if corpus == counted else 0
        about = {
            "sequence_id": hash63(family, corpus, domain, i), "corpus": corpus, "domain": domain, "tokenizer": family,
            "tokens_scanned": 10**8, "complete": True,
        }  # fmt: skip
        for counted_corpus, whole in ((counted, copies), (as_shown(counted), times + max(0, copies - 1))):
            for name, length in ((family, 2 * tokens), ("bytes", 2 * tokens * BYTES)):
                each = rng.normal(common + 3 * (name == "bytes"), 2, length)
                spans = {
                    "unigrams": np.exp(each).round(), "bigrams": np.exp(each[1:] - 3).round(),
                    "continuation": np.array([whole + rng.integers(2)]), "window": np.array([whole]),
                }  # fmt: skip
                way = {"counted_corpus": counted_corpus, "counted_tokenizer": name}
                rows += [about | way | {"span": s, "counts": c.astype(int).tolist()} for s, c in spans.items()]
    yield "ngram_counts", rows
