"""What each layer would predict if it were the last, at every continuation position: the logit lens.

It tells at what depth a continuation is decided, and whether memorized ones are decided elsewhere than others (arXiv
2603.21658, section 4.5). All layers come from one forward. It leaves out what a layer holds in directions that the
unembedding does not read yet: early layers look worse than they are (Belrose et al. 2023, arXiv 2303.08112).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memlake.compute.planning.coverage import AMONG, COLUMNS, Ask, chosen, pieces, select, subject_settings
from memlake.warehouse.lake import Lake
from memlake.warehouse.options import option
from memlake.warehouse.work.cells import Cell

if TYPE_CHECKING:
    import pyarrow as pa

    from memlake.compute.interventions.lens import Lens
    from memlake.compute.planning.request import Request, Subject

VERSION = 1
TABLES = ("layer_tokens",)
PIECE = 512  # sequences read and handed over at once: 32 positions x 65 entries of each take 21 MB in all


@dataclass(frozen=True)
class Options:
    among: str = option("contrast", "which sequences: memorized, contrast (others beside them) or all", AMONG)


def plan(lake: Lake, subject: Subject, request: Request, options: Options) -> list[Cell]:
    """The cells that cover the requested sequences: those published before, and new ones for the ranks between them."""
    import pyarrow.compute as pc

    ask = Ask("layer_tokens", subject_settings(subject), among=options.among)
    return [
        Cell(
            "layer_tokens",
            VERSION,
            settings,
            TABLES,
            {"layer_tokens": pc.sum(rows["n_tokens"]).as_py() or 0},
            group=subject.source.name,
            task=subject.task(request, rows.num_rows),
        )
        for settings, rows in select(lake, subject, request, ask, columns="n_tokens")
    ]


def work(cell: Cell, lake: Lake) -> Iterator[tuple[str, pa.Table]]:
    """Read the layers at the cell's sequences and yield their rows of `layer_tokens`, in bounded memory."""
    from memlake.compute.interventions.lens import decode
    from memlake.compute.models.loaded import held

    s = cell.settings
    sequences = chosen(lake, s, cell.task["tokenizer"], s["among"], COLUMNS)
    for piece in pieces(sequences, PIECE):
        checkpoint, bos_id = held(lake, cell)
        lens = decode(
            checkpoint,
            piece["tokens"].to_numpy(zero_copy_only=False),
            piece["prefix_tokens"].to_numpy(),
            bos_id=bos_id,
            batch_size=cell.task["batch_size"],
        )
        yield "layer_tokens", rows(piece, lens, s)


def rows(sequences: pa.RecordBatch, lens: Lens, settings: dict) -> pa.Table:
    """The rows of `layer_tokens` for a piece of `sequences`; `settings` gives model, corpus, domain and condition."""
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
            **{name: pa.repeat(settings[name], len(of)) for name in ("model", "corpus", "domain", "condition")},
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
