"""What each layer would predict if it were the last, at every continuation position: the logit lens.

It tells at what depth a continuation is decided, and whether memorized ones are decided elsewhere than others (arXiv
2603.21658, section 4.5). All layers come from one forward. It leaves out what a layer holds in directions that the
unembedding does not read yet: early layers look worse than they are (Belrose et al. 2023, arXiv 2303.08112).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from memlake.compute.planning.cells import RangeCell
from memlake.compute.planning.chosen import COLUMNS, Choices, chosen, pieces
from memlake.compute.planning.coverage import Coverage, Shard, published_settings
from memlake.compute.planning.paper import Paper
from memlake.compute.planning.settings import AMONG, ChoiceSettings
from memlake.warehouse.lake import Lake
from memlake.warehouse.options import option
from memlake.warehouse.work.cells import CellRows

if TYPE_CHECKING:
    import pyarrow as pa

    from memlake.compute.interventions.lens import Lens
    from memlake.compute.planning.request import Execution, Request, Subject

PIECE = 512  # sequences read and handed over at once: 32 positions x 65 entries of each take 21 MB in all


@dataclass(frozen=True)
class Options:
    among: str = option("contrast", "which sequences: memorized, contrast (others beside them) or all", AMONG)


@dataclass(frozen=True)
class LayerTokensCell(RangeCell):
    """tokens: continuation positions of its sequences."""

    EXPERIMENT: ClassVar[str] = "layer_tokens"
    TABLES: ClassVar[tuple[str, ...]] = ("layer_tokens",)

    settings: ChoiceSettings
    tokens: int

    @property
    def expected(self) -> dict[str, int]:
        return {"layer_tokens": self.tokens}

    @property
    def forwards(self) -> float:
        return 2.0  # the second for the read-outs of all layers

    def rows(self, lake: Lake) -> CellRows:
        """Read the layers at the cell's sequences, in bounded memory."""
        from memlake.compute.interventions.lens import decode

        s = self.settings
        for piece in pieces(chosen(lake, s, s.choice, self.subject.tokenizer, COLUMNS), PIECE):
            checkpoint, bos_id = self.load(lake)
            lens = decode(
                checkpoint,
                piece["tokens"].to_numpy(zero_copy_only=False),
                piece["prefix_tokens"].to_numpy(),
                bos_id=bos_id,
                batch_size=self.execution.batch_size,
            )
            yield "layer_tokens", token_rows(piece, lens, s)


CELLS = (LayerTokensCell,)


def plan(lake: Lake, subject: Subject, request: Request, options: Options) -> list[LayerTokensCell]:
    """The cells that cover the requested sequences: those published before, and new ones for the ranks between them."""
    import pyarrow.compute as pc

    choices = Choices(lake, subject)

    def want(shard: Shard) -> ChoiceSettings:
        return ChoiceSettings(**shard.choice(subject, options.among))

    def make(settings: ChoiceSettings, _: int) -> LayerTokensCell:
        rows = choices.of(settings, settings.choice)
        tokens = pc.sum(rows["n_tokens"]).as_py() or 0
        return LayerTokensCell(settings, subject, request.execution, rows.num_rows, tokens)

    done = published_settings(lake, LayerTokensCell.EXPERIMENT, ChoiceSettings)
    return list(Coverage(lake, subject, request, LayerTokensCell.EXPERIMENT, done).cells(want, make))


def on_paper(subject: Subject, paper: Paper, execution: Execution, options: Options) -> Iterator[LayerTokensCell]:
    """As `plan`, of a sample that is not scored yet."""
    n = paper.chosen(options.among)
    settings = ChoiceSettings(**paper.choice(subject, options.among))
    yield LayerTokensCell(settings, subject, execution, n, n * paper.continuation)


def token_rows(sequences: pa.RecordBatch, lens: Lens, settings: ChoiceSettings) -> pa.Table:
    """The rows of `layer_tokens` for a piece of `sequences`."""
    import numpy as np
    import pyarrow as pa

    of = np.repeat(np.arange(len(lens.n)), lens.n)
    entries = lens.top1.shape[1]
    offsets = np.arange(0, lens.top1.size + 1, entries, dtype=np.int32)

    def lists(values: np.ndarray) -> pa.Array:
        return pa.ListArray.from_arrays(offsets, values.ravel())

    return pa.table(
        {
            "sequence_id": sequences["sequence_id"].take(of),
            **{name: pa.repeat(value, len(of)) for name, value in settings.place.items()},
            "position": np.arange(len(of)) - np.repeat(np.cumsum(lens.n) - lens.n, lens.n),
            "target": lens.target,
            "top1": lists(lens.top1),
            "target_probability": lists(lens.probability),
            "target_rank": lists(lens.rank),
            "entropy": lists(lens.entropy),
            "kl_to_final": lists(lens.kl),
            "first_layer": lens.first_layer,
        }
    )
