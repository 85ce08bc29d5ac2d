"""How much of its prompt a memorized continuation needs: every shorter prompt, kept from its end or from its start.

What a token or two call up is stored otherwise than what needs the whole prompt (arXiv 2603.21658, section 4.2). More
of a prompt is not always better, so that all lengths are tried. It leaves out prompts shortened in the middle, and
prompts that are not part of the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memlake.compute.planning.coverage import COLUMNS, Ask, chosen, pieces, select, subject_settings
from memlake.warehouse.lake import Lake
from memlake.warehouse.options import option
from memlake.warehouse.work.cells import Cell

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from memlake.compute.engine.forward import Batch
    from memlake.compute.models.checkpoint import Checkpoint
    from memlake.compute.planning.request import Request, Subject

VERSION = 1
TABLES = ("prompt_compression",)
WINDOWS = ("suffix", "prefix")
PIECE = 256  # sequences read and tried at once: each makes as many rows as its prompt has tokens


@dataclass(frozen=True)
class Options:
    window: str = option(
        "suffix", "tokens of the prompt that are kept: suffix (the last) or prefix (the first)", WINDOWS
    )


def plan(lake: Lake, subject: Subject, request: Request, options: Options) -> list[Cell]:
    """The cells that cover the requested sequences: those published before, and new ones for the ranks between them."""
    ask = Ask("prompt_compression", subject_settings(subject) | {"window": options.window})
    found = []
    for settings, rows in select(lake, subject, request, ask, columns="prefix_tokens"):
        n = _prompted(rows).num_rows
        found.append(
            Cell(
                "prompt_compression",
                VERSION,
                settings,
                TABLES,
                {"prompt_compression": n},
                group=subject.source.name,
                task=subject.task(request, n),
            )
        )
    return found


def work(cell: Cell, lake: Lake) -> Iterator[tuple[str, pa.Table]]:
    """Shorten the prompts of the cell's memorized sequences and yield their rows, in bounded memory."""
    import pyarrow as pa

    from memlake.compute.models.loaded import held

    from .scoring import packed

    s = cell.settings
    memorized = chosen(lake, s, cell.task["tokenizer"], "memorized", COLUMNS)
    for piece in pieces(_prompted(memorized), PIECE):
        checkpoint, bos_id = held(lake, cell)
        prefix = piece["prefix_tokens"].to_numpy()
        tokens = piece["tokens"].to_numpy(zero_copy_only=False)
        success = successes(checkpoint, tokens, prefix, s["window"], bos_id=bos_id, batch_size=cell.task["batch_size"])
        shortest = success.argmax(-1) + 1
        columns = {
            name: pa.repeat(s[name], len(prefix)) for name in ("model", "corpus", "domain", "condition", "window")
        }
        columns |= {"sequence_id": piece["sequence_id"], "prefix_tokens": prefix, "shortest": shortest}
        yield (
            "prompt_compression",
            pa.table(columns | {"ratio": shortest / prefix, "successes": packed(success, prefix)}),
        )


def successes(
    checkpoint: Checkpoint,
    tokens: list[np.ndarray],
    prefix: np.ndarray,
    window: str,
    *,
    bos_id: int | None = None,
    batch_size: int | None = None,
) -> np.ndarray:
    """Which prompt lengths call up the whole continuation of memorized windows: bool [windows, longest prompt], column
    k - 1 for k kept tokens; after a window's own prompt False.

    `tokens`, `prefix`, `batch_size`: as in `scoring.score`, which says what it raises. Only prompts shorter than the
    whole are run. A continuation is reproduced greedily just where every teacher-forced arg-max matches.
    """
    import numpy as np
    import torch

    from memlake.compute.engine.batches import each_batch, prepared
    from memlake.compute.engine.forward import check_finite, decided, read, states

    out = np.arange(prefix.max()) == prefix[:, None] - 1
    of = np.repeat(np.arange(len(tokens)), prefix - 1)
    kept = np.concatenate([np.arange(1, p) for p in prefix])
    if len(kept) == 0:
        return out

    def best(logits: torch.Tensor, target: torch.Tensor, forbidden: tuple) -> tuple[torch.Tensor, torch.Tensor]:
        top = decided(logits, forbidden).max(-1)  # torch documents: of equals the first
        return top.indices == target, top.values.isfinite()

    def run(rows: np.ndarray, b: Batch) -> None:
        match, finite = read(checkpoint, states(checkpoint, b), torch.from_numpy(b.target), best)
        check_finite(checkpoint, bool(finite.all()))
        out[of[rows], kept[rows] - 1] = np.logical_and.reduceat(match, np.cumsum(b.n) - b.n)

    shorter = [_shortened(tokens[row], prefix[row], k, window) for row, k in zip(of, kept, strict=True)]
    shorter, lengths = prepared(checkpoint, shorter, kept, bos_id)
    with torch.inference_mode():
        each_batch(checkpoint, shorter, lengths, run, batch_size)
    return out


def _shortened(tokens: np.ndarray, prefix: int, kept: int, window: str) -> np.ndarray:
    """The window with `kept` tokens of its prompt; what is left of the prompt begins at position 0."""
    import numpy as np

    return tokens[prefix - kept :] if window == "suffix" else np.concatenate([tokens[:kept], tokens[prefix:]])


def _prompted(rows: pa.Table) -> pa.Table:
    """Without the sequences that have no prompt (a document's start, read after a BOS token): nothing to shorten."""
    import pyarrow.compute as pc

    return rows.filter(pc.greater(rows["prefix_tokens"], 0))
