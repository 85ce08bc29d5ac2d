"""The documents of a domain of the lake: which they are now, and the anchors that are drawn in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from memlake.warehouse.errors import UnknownName
from memlake.warehouse.identity import tagged
from memlake.warehouse.lake import Lake

from .anchors import Drawn, draw, draw_starts

BATCH = 256  # documents read at once


def snapshots(lake: Lake, corpora: Sequence[str], domains: Sequence[str]) -> dict[tuple[str, str], str]:
    """For each domain a digest of its documents, the same in any order. Raises `UnknownName`."""
    with lake.connect(["documents"]) as con:
        rows = con.sql(
            "select corpus, domain, count(*), sum(document_id::hugeint)::varchar, sum(text_hash::hugeint)::varchar"
            " from stored.documents group by all order by all"
        ).fetchall()
    for corpus in corpora:
        if corpus not in {r[0] for r in rows}:
            raise UnknownName("corpus", corpus, {r[0] for r in rows})
    for domain in domains:
        known = {r[1] for r in rows if r[0] in corpora}
        if domain not in known:
            raise UnknownName("domain", domain, known)
    return {(c, d): tagged("d1", rest) for c, d, *rest in rows if c in corpora and (not domains or d in domains)}


def drawn(lake: Lake, corpus: str, domain: str, snapshot: str, seed: int, at: str, wanted: int) -> Drawn:
    """At least the first `wanted` anchors of a domain, or all there are."""
    return _draw(str(lake.path), corpus, domain, snapshot, seed, at, 1 << (wanted - 1).bit_length() if wanted else 0)


@lru_cache(maxsize=4)
def _draw(lake_path: str, corpus: str, domain: str, snapshot: str, seed: int, at: str, wanted: int) -> Drawn:
    """Kept for the next tokenizer, and for anchors that take the place of lost ones: `snapshot` tells other documents
    apart."""
    where = "from stored.documents where corpus = ? and domain = ?"
    with Lake(Path(lake_path)).connect(["documents"]) as con:

        def documents() -> Iterator[tuple[int, bytes]]:
            texts = con.execute(f"select document_id, encode(text) {where}", [corpus, domain])
            for batch in texts.to_arrow_reader(BATCH):
                yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

        if at == "start":
            ids = con.execute(f"select document_id {where}", [corpus, domain]).fetchnumpy()["document_id"]
            found = draw_starts(ids.tolist(), seed)
        else:
            most, full = 1, True
            while full:
                found, full = draw(documents(), seed, most)
                full, most = full and len(found) < wanted, most * 4
    return replace(found, document_id=found.document_id[:wanted], anchor=found.anchor[:wanted])
