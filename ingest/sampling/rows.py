"""Rows of `sequences` and `rejects` that a sample makes."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from memlake.ingest.source import HEAD
from memlake.warehouse.identity import hash63

from .windows import Cut, Tokens


def row(s: dict, document_id: int, rank: int, tokens: Tokens, cut: Cut) -> dict[str, object]:
    prefix, n = cut.middle - cut.first, cut.last - cut.middle
    anchor_id = hash63(document_id, cut.anchor)
    ends = tokens.ends
    return {
        "sequence_id": hash63(anchor_id, s["tokenizer_digest"], prefix, n),
        "anchor_id": anchor_id,
        "document_id": document_id,
        "corpus": s["corpus"],
        "domain": s["domain"],
        "tokenizer": s["tokenizer"],
        "sample": s["sample"],
        "shard": s["first_rank"],
        "rank": rank,
        "anchor": cut.anchor,
        "byte_start": int(ends[cut.first - 1]) if cut.first else 0,
        "byte_cut": int(ends[cut.middle - 1]),
        "byte_end": int(ends[cut.last - 1]),
        "tokens": tokens.ids[cut.first : cut.last],
        "byte_ends": ends[cut.first : cut.last],
        "prefix_tokens": prefix,
        "n_tokens": n,
    }


def reject(s: dict, rank: int, reason: str, text: str, anchor: int) -> dict[str, object]:
    """An anchor without a sequence. Its source is no file but the sample, its position the rank."""
    head = text.encode()[max(anchor, 0) :][:HEAD]
    place = source(s["domain"], s["tokenizer"], s["sample"])
    return {"corpus": s["corpus"], "source": place, "position": rank, "reason": reason, "head": head}


def source(domain: str, tokenizer: str, name: str) -> str:
    return f"{domain}/{tokenizer}/{name}"


def tables(sequences: list[dict[str, object]], rejects: list[dict[str, object]]) -> Iterator[tuple[str, pa.Table]]:
    if sequences:
        columns = {key: [row[key] for row in sequences] for key in sequences[0]}
        yield "sequences", pa.table(columns)
    if rejects:
        yield "rejects", pa.Table.from_pylist(rejects)
