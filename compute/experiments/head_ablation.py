"""What a continuation loses when an attention head is taken away: every head, on every sequence.

The head's output, before the output projection, is replaced at every position by the mean of the other heads of its
layer (arXiv 2603.21658, section 4.6), by zero, by its own mean over reference sequences, or by its output on another
sequence; read-outs are forced. One head at a time: what heads do for one another when several are gone is left out.
`--screen` ranks all heads by a gradient and takes away only the leaders and an audit sample, on a part of the
sequences.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from memlake.compute.planning.coverage import AMONG, COLUMNS, Ask, chosen, select, subject_settings
from memlake.compute.planning.unfit import rejected
from memlake.warehouse.errors import BadInput
from memlake.warehouse.lake import Lake
from memlake.warehouse.options import option
from memlake.warehouse.tables.head_deltas import METHODS
from memlake.warehouse.work.cells import Cell

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from memlake.compute.engine.blocks import Blocks
    from memlake.compute.interventions.ablation import Effects, Reference, Windows
    from memlake.compute.models.checkpoint import Checkpoint
    from memlake.compute.planning.request import Request, Subject

VERSION = 1
TABLES = ("head_deltas", "head_effects", "head_screens")
WITH_REFERENCE = ("mean", "resample")
REFERENCE = 64  # sequences that `mean` and `resample` take from
SAME = ("model", "corpus", "domain", "condition", "method")  # in all rows of a cell
PIECE = 1 << 18  # rows of head_deltas handed over at once


@dataclass(frozen=True)
class Options:
    method: str = option("peer_mean", "what stands in for a head: peer_mean, zero, mean or resample", METHODS)
    among: str = option("memorized", "which sequences: memorized, contrast (others beside them) or all", AMONG)
    screen: bool = option(False, "estimate all heads, take away the leaders and an audit sample only")


def plan(lake: Lake, subject: Subject, request: Request, options: Options) -> list[Cell]:
    """The cells that cover the requested sequences: those published before, and new ones for the ranks between them."""
    from memlake.compute.interventions.screening import Screen
    from memlake.compute.models.checkpoint import known_model

    # What was measured head by head holds what screening would have
    levels = {"screen": (options.screen, (True, False))}
    ask = Ask("head_ablation", {**subject_settings(subject), "method": options.method}, levels, among=options.among)
    selected = list(select(lake, subject, request, ask))
    model = known_model(lake, subject.source)  # where there are scored sequences the lake knows it
    found = []
    for settings, sequences in selected:
        n, heads = sequences.num_rows, model["n_layers"] * model["n_heads"]
        if settings["screen"] and settings["method"] == "peer_mean" and model["n_heads"] == 1:
            raise BadInput(f"heads of {model['model']} have no peers, so that there is nothing to screen")
        rows = {"head_effects": heads if n else 0, "head_screens": int(settings["screen"] and n > 0)}
        if not settings["screen"]:
            rows["head_deltas"] = n * heads
        if settings["screen"] and "screening" not in settings:
            settings["screening"] = asdict(Screen())
        if options.method in WITH_REFERENCE and "reference" not in settings:
            settings["reference"] = _sample(lake, settings, subject.tokenizer, REFERENCE).num_rows
        task = subject.task(request, n)
        found.append(Cell("head_ablation", VERSION, settings, TABLES, rows, group=subject.source.name, task=task))
    return found


def work(cell: Cell, lake: Lake) -> Iterator[tuple[str, pa.Table]]:
    """Ablate heads on the cell's sequences: yields rows of `head_deltas` piece by piece, in bounded memory, and after
    them the roll-up."""
    from memlake.compute.engine.blocks import Blocks
    from memlake.compute.models.loaded import held

    s = cell.settings
    sequences = chosen(lake, s, cell.task["tokenizer"], s["among"], COLUMNS)
    if not len(sequences):
        return
    checkpoint, bos_id = held(lake, cell)
    blocks = Blocks(checkpoint)
    effects = RollUp([(layer, head) for layer in range(blocks.n_layers) for head in range(blocks.n_heads)])
    reference = _reference(checkpoint, blocks, lake, cell, bos_id)
    windows = _windows(checkpoint, sequences, bos_id)
    study = checkpoint, blocks, windows, s["method"], reference, cell.task["batch_size"]
    screening = None
    if s["screen"]:
        from memlake.compute.interventions.screening import Screen, Screening

        screening = Screening(*study, screen=Screen(**s["screening"]))
    for at, heads, clean, after in screening.measured() if screening else _every_head(*study, list(effects.at)):
        here, deltas = sequences.take(at), _deltas(clean, after)
        effects.add(heads, deltas, here["memorized"].to_numpy())
        yield "head_deltas", rows(here, heads, deltas, s)
    yield "head_effects", effects.rows(s, screening and screening.estimate)
    if screening:
        import pyarrow as pa

        yield "head_screens", pa.Table.from_pylist([{name: s[name] for name in SAME} | screening.summary])


def _every_head(checkpoint, blocks, windows, method, reference, batch_size, heads) -> Iterator[tuple]:
    """Places of some windows, int64 [rows]; the heads; read-outs of the model as it is, and without each head: until
    every window was seen. Where nothing can stand in for a head there are no read-outs."""
    import numpy as np

    from memlake.compute.interventions.ablation import ablate, defined

    size = max(1, PIECE // len(heads))
    for start in range(0, len(windows.ids), size):
        at = np.arange(start, min(start + size, len(windows.ids)))
        found = None, None
        if defined(method, blocks):
            found = ablate(checkpoint, blocks, windows.take(at), heads, method, reference, batch_size)
        yield at, heads, *found


def _reference(checkpoint: Checkpoint, blocks: Blocks, lake: Lake, cell: Cell, bos_id: int | None) -> Reference | None:
    """What `mean` and `resample` take from: the first sequences of the domain's sample, memorized or not, which are the
    same for every cell of the domain."""
    from memlake.compute.interventions.ablation import Reference

    if "reference" not in cell.settings:
        return None
    sample = _sample(lake, cell.settings, cell.task["tokenizer"], cell.settings["reference"])
    return Reference(checkpoint, blocks, _windows(checkpoint, sample, bos_id))


def _sample(lake: Lake, settings: Mapping, tokenizer: str, n: int) -> pa.Table:
    """The first n sequences of the domain's sample, without those that scoring left out."""
    with lake.connect(["sequences", "rejects"]) as con:
        return con.execute(
            """
            select sequence_id, tokens, prefix_tokens
            from stored.sequences
            where corpus = $corpus and domain = $domain and tokenizer = $tokenizer and sample = $sample
              and len(tokens) > 0
              and rank not in (select position from stored.rejects where corpus = $corpus and source = $source)
            order by rank limit $n
            """,
            {
                **{key: settings[key] for key in ("corpus", "domain", "sample")},
                **{"tokenizer": tokenizer, "source": rejected(settings, tokenizer), "n": n},
            },
        ).to_arrow_table()


def _windows(checkpoint: Checkpoint, sequences: pa.Table, bos_id: int | None) -> Windows:
    """Sequences as the checkpoint's condition has them."""
    from memlake.compute.engine.batches import prepared
    from memlake.compute.interventions.ablation import Windows

    tokens, prefix = sequences["tokens"].to_numpy(), sequences["prefix_tokens"].to_numpy()
    return Windows(*prepared(checkpoint, list(tokens), prefix, bos_id), sequences["sequence_id"].to_numpy())


def _deltas(clean: Effects | None, after: Effects | None) -> dict[str, np.ndarray]:
    """Ablated - clean, [heads, rows] each, by the columns of `head_deltas`; empty where there are no read-outs."""
    if after is None:
        return {}
    return {
        "delta_logprob": after.logprob - clean.logprob,
        "delta_n_match": after.n_match - clean.n_match,
        "memorized_after": after.memorized,
    }


def rows(
    sequences: pa.Table, heads: Sequence[tuple[int, int]], deltas: Mapping[str, np.ndarray], settings: Mapping
) -> pa.Table:
    """The rows of `head_deltas` for sequences and heads."""
    import numpy as np
    import pyarrow as pa

    layer, head = (np.repeat(of, len(sequences)) for of in np.array(heads).T)
    return pa.table(
        {
            "sequence_id": np.tile(sequences["sequence_id"].to_numpy(), len(heads)),
            **{name: pa.repeat(settings[name], len(layer)) for name in SAME},
            "layer": layer,
            "head": head,
            **{name: column.ravel() for name, column in deltas.items()},
        }
    )


class RollUp:
    """Mean and variance of the deltas of each head, taken up piece by piece (Chan, Golub and LeVeque 1979)."""

    def __init__(self, heads: Sequence[tuple[int, int]]):
        import numpy as np

        self.at = {head: i for i, head in enumerate(heads)}
        self.n, self.n_lost = np.zeros((2, len(heads)), np.int64)
        self.mean, self.squares = np.zeros((2, len(heads)))  # squares: of the distances from the mean, summed

    def add(self, heads: Sequence[tuple[int, int]], deltas: Mapping[str, np.ndarray], memorized: np.ndarray) -> None:
        """Take up deltas of some heads on more sequences; `memorized` bool [rows]: were they before."""
        import numpy as np

        if not deltas:
            return
        at = [self.at[head] for head in heads]
        values = deltas["delta_logprob"].astype(np.float64)
        more, mean = values.shape[1], values.mean(1)
        n, step = self.n[at] + more, mean - self.mean[at]
        self.squares[at] += ((values - mean[:, None]) ** 2).sum(1) + step**2 * self.n[at] * more / n
        self.mean[at] += step * more / n
        self.n[at] = n
        self.n_lost[at] += (memorized & ~deltas["memorized_after"]).sum(1)

    def rows(self, settings: Mapping, estimate: np.ndarray | None = None) -> pa.Table:
        """The rows of `head_effects`; `estimate` [heads]: of the mean, by screening."""
        import numpy as np
        import pyarrow as pa

        layer, head = np.array(list(self.at)).T
        none = self.n == 0
        return pa.table(
            {
                **{name: pa.repeat(settings[name], len(none)) for name in SAME},
                "layer": layer,
                "head": head,
                "n": self.n,
                "mean_delta_logprob": pa.array(self.mean, mask=none),
                "var_delta_logprob": pa.array(self.squares / np.maximum(self.n - 1, 1), mask=self.n < 2),
                "n_lost": pa.array(self.n_lost, mask=none),
                **({} if estimate is None else {"estimate": estimate}),
            }
        )
