"""How much of its prompt a memorized continuation needs: every shorter prompt, kept from its end or from its start.

What a token or two call up is stored otherwise than what needs the whole prompt (arXiv 2603.21658, section 4.2). More
of a prompt is not always better, so that all lengths are tried. It leaves out prompts shortened in the middle, and
prompts that are not part of the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from memlake.compute.planning.cells import RangeCell
from memlake.compute.planning.chosen import COLUMNS, Choices, chosen, pieces, whole_range
from memlake.compute.planning.coverage import Coverage, Shard, published_settings
from memlake.compute.planning.paper import Paper
from memlake.compute.planning.settings import RangeSettings
from memlake.warehouse.lake import Lake
from memlake.warehouse.options import option
from memlake.warehouse.work.cells import CellRows

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from memlake.compute.engine.forward import Batch
    from memlake.compute.models.checkpoint import Checkpoint
    from memlake.compute.planning.request import Execution, Request, Subject

KEPT = ("suffix", "prefix")  # parts of a prompt
PIECE = 256  # sequences read and tried at once: each makes as many rows as its prompt has tokens


@dataclass(frozen=True)
class Options:
    window: str = option("suffix", "tokens of the prompt that are kept: suffix (the last) or prefix (the first)", KEPT)


@dataclass(frozen=True, kw_only=True)
class CompressionSettings(RangeSettings):
    window: str  # the part of the prompt that is kept

    @property
    def question(self) -> tuple[object, ...]:
        return *super().question, self.window


@dataclass(frozen=True)
class CompressionCell(RangeCell):
    EXPERIMENT: ClassVar[str] = "prompt_compression"
    TABLES: ClassVar[tuple[str, ...]] = ("prompt_compression",)

    settings: CompressionSettings

    @property
    def expected(self) -> dict[str, int]:
        return {"prompt_compression": self.sequences}

    @property
    def forwards(self) -> float:
        return 32.0  # one for each token of a prompt of usual length

    def rows(self, lake: Lake) -> CellRows:
        """Shorten the prompts of the cell's memorized sequences, in bounded memory."""
        import pyarrow as pa

        from .scoring import packed

        s = self.settings
        memorized = chosen(lake, s, whole_range(s, "memorized"), self.subject.tokenizer, COLUMNS)
        for piece in pieces(_prompted(memorized), PIECE):
            checkpoint, bos_id = self.load(lake)
            prefix = piece["prefix_tokens"].to_numpy()
            tokens = piece["tokens"].to_numpy(zero_copy_only=False)
            success = successes(
                checkpoint, tokens, prefix, s.window, bos_id=bos_id, batch_size=self.execution.batch_size
            )
            shortest = success.argmax(-1) + 1
            same = s.place | {"window": s.window}
            columns = {name: pa.repeat(value, len(prefix)) for name, value in same.items()}
            columns |= {"sequence_id": piece["sequence_id"], "prefix_tokens": prefix, "shortest": shortest}
            columns |= {"ratio": shortest / prefix, "successes": packed(success, prefix)}
            yield "prompt_compression", pa.table(columns)


CELLS = (CompressionCell,)


def plan(lake: Lake, subject: Subject, request: Request, options: Options) -> list[CompressionCell]:
    """The cells that cover the requested sequences: those published before, and new ones for the ranks between them."""
    choices = Choices(lake, subject)

    def want(shard: Shard) -> CompressionSettings:
        return CompressionSettings(**shard.settings(subject), window=options.window)

    def make(settings: CompressionSettings, _: int) -> CompressionCell:
        n = _prompted(choices.of(settings, whole_range(settings, "memorized"))).num_rows
        return CompressionCell(settings, subject, request.execution, n)

    done = published_settings(lake, CompressionCell.EXPERIMENT, CompressionSettings)
    return list(Coverage(lake, subject, request, CompressionCell.EXPERIMENT, done).cells(want, make))


def on_paper(subject: Subject, paper: Paper, execution: Execution, options: Options) -> Iterator[CompressionCell]:
    """As `plan`, of a sample that is not scored yet."""
    settings = CompressionSettings(**paper.settings(subject), window=options.window)
    yield CompressionCell(settings, subject, execution, paper.chosen("memorized"))


def _prompted(memorized: pa.Table) -> pa.Table:
    """Without those that have no prompt (a document's start, read after a BOS token): there is nothing to shorten."""
    import pyarrow.compute as pc

    return memorized.filter(pc.greater(memorized["prefix_tokens"], 0))


def successes(
    checkpoint: Checkpoint,
    tokens: list[np.ndarray],
    prefix: np.ndarray,
    kept_part: str,
    *,
    bos_id: int | None = None,
    batch_size: int | None = None,
) -> np.ndarray:
    """Which prompt lengths call up the whole continuation of memorized sequences: bool [sequences, longest prompt],
    column k - 1 for k kept tokens; after a sequence's own prompt False.

    kept_part: of KEPT. `tokens`, `prefix`, `batch_size`: as in `scoring.score`, which says what it raises. Only prompts
    shorter than the whole are run. A continuation is reproduced greedily just where every teacher-forced arg-max
    matches.
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

    shorter = [_shortened(tokens[row], prefix[row], k, kept_part) for row, k in zip(of, kept, strict=True)]
    shorter, lengths = prepared(checkpoint, shorter, kept, bos_id)
    with torch.inference_mode():
        each_batch(checkpoint, shorter, lengths, run, batch_size)
    return out


def _shortened(tokens: np.ndarray, prefix: int, kept: int, part: str) -> np.ndarray:
    """The sequence with `kept` tokens of its prompt; what is left of the prompt begins at position 0."""
    import numpy as np

    return tokens[prefix - kept :] if part == "suffix" else np.concatenate([tokens[:kept], tokens[prefix:]])
