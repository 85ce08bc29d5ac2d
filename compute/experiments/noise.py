"""What is left of memorization when noise is added inside, and whether later layers mend it.

Each strength is scored anew, greedy decoding included, and the hidden states of every layer are compared with the clean
ones (arXiv 2603.21658, section 4.4). Memorized sequences are measured beside others, among them some of like
completion entropy: what the model is sure of withstands noise, memorized or not. Strength 0 is the base row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from memlake.compute.planning.coverage import AMONG, COLUMNS, Ask, chosen, pieces, select, subject_settings
from memlake.warehouse.errors import BadInput
from memlake.warehouse.lake import Lake
from memlake.warehouse.options import option
from memlake.warehouse.work.cells import Cell

from .scoring import DECODINGS, PIECE
from .scoring import rows as matches

if TYPE_CHECKING:
    import pyarrow as pa

    from memlake.compute.interventions.similarity import Similarity
    from memlake.compute.models.conditions import Condition
    from memlake.compute.planning.request import Request, Subject

VERSION = 1
TABLES = ("matches", "layer_similarity")
SCOPES = ("token", "row")


@dataclass(frozen=True)
class Options:
    strength: tuple[float, ...] = option(
        (0.1, 0.2, 0.3, 0.4, 0.5), "standard deviation of the noise / RMS of the state"
    )
    seed: tuple[int, ...] = option((0,), "seed of the noise: each is measured")
    layer: int = option(0, "entry of hidden_states that it is added to: 0 after the embedding, l after block l")
    scope: str = option("token", "over what the RMS is taken: token (each vector) or row (forced only)", SCOPES)
    decoding: str | None = option(
        None, "greedy, or forced: skip decoding; default: greedy, with scope row forced", DECODINGS
    )
    among: str = option("contrast", "which sequences: memorized, contrast (others beside them) or all", AMONG)

    def __post_init__(self):
        if self.scope == "row" and self.decoding == "greedy":
            raise BadInput("scope row is forced only (a row has no RMS until it is generated): use --decoding forced")
        if 0 in self.strength:
            raise BadInput("strength 0 is the base row, which `memlake compute run scoring` measures: leave it out")
        for strength in self.strength:
            if not 0 < strength < inf:
                raise BadInput(f"no strength {strength}: it is a positive number")
        object.__setattr__(self, "strength", tuple(sorted({float(s) for s in self.strength})))
        object.__setattr__(self, "seed", tuple(sorted(set(self.seed))))
        object.__setattr__(self, "decoding", self.decoding or ("greedy" if self.scope == "token" else "forced"))


def conditions(condition: Condition, options: Options) -> list[Condition]:
    """The noise conditions of a request."""
    return [condition.noisy(s, seed, options.layer, options.scope) for seed in options.seed for s in options.strength]


def plan(lake: Lake, subject: Subject, request: Request, options: Options) -> list[Cell]:
    """The cells that cover the requested sequences, strengths and seeds: those published before, and new ones for what
    is missing. Raises `BadInput` for a layer that the model has not."""
    from memlake.compute.models.checkpoint import known_model

    known = known_model(lake, subject.source)
    if known and known["n_layers"] and not 0 <= options.layer < known["n_layers"]:
        raise BadInput(f"{subject.source.name} has no layer {options.layer}: it is 0 to {known['n_layers'] - 1}")
    levels = {"decoding": (options.decoding, DECODINGS)}
    found = []
    for seed in options.seed:
        same = subject_settings(subject) | {"seed": seed, "layer": options.layer, "scope": options.scope}
        ask = Ask("noise", same, levels, ("strengths", options.strength), options.among)
        for settings, rows in select(lake, subject, request, ask, columns="prefix_tokens"):
            found.append(_cell(subject, request, settings, rows))
    return found


def _cell(subject: Subject, request: Request, settings: Mapping, rows: pa.Table) -> Cell:
    import pyarrow.compute as pc

    prefixes = pc.sum(pc.greater(rows["prefix_tokens"], 0 if subject.condition.bos else 1)).as_py() or 0
    strengths = len(settings["strengths"])
    return Cell(
        "noise",
        VERSION,
        settings,
        TABLES,
        {"matches": strengths * rows.num_rows, "layer_similarity": strengths * (rows.num_rows + prefixes)},
        group=subject.source.name,
        task=subject.task(request, rows.num_rows),
    )


def work(cell: Cell, lake: Lake) -> Iterator[tuple[str, pa.Table]]:
    """Measure the cell's sequences under noise of each strength and yield their rows, in bounded memory."""
    from memlake.compute.interventions.similarity import measure
    from memlake.compute.models.loaded import held

    s = cell.settings
    columns = f"{COLUMNS}, anchor_id, corpus, domain, byte_ends, byte_cut"
    for piece in pieces(chosen(lake, s, cell.task["tokenizer"], s["among"], columns), PIECE):
        checkpoint, bos_id = held(lake, cell)
        measured = measure(
            checkpoint,
            piece["tokens"].to_numpy(zero_copy_only=False),
            piece["prefix_tokens"].to_numpy(),
            piece["sequence_id"].to_numpy(),
            strengths=s["strengths"],
            seed=s["seed"],
            layer=s["layer"],
            scope=s["scope"],
            bos_id=bos_id,
            decode=s["decoding"] == "greedy",
            batch_size=cell.task["batch_size"],
        )
        for strength, (scores, similarity) in zip(s["strengths"], measured, strict=True):
            condition = checkpoint.condition.noisy(strength, s["seed"], s["layer"], s["scope"]).name
            yield "matches", matches(piece, scores, model=s["model"], condition=condition)
            for part in range(len(similarity.positions)):
                yield "layer_similarity", rows(piece, similarity, part, model=s["model"], condition=condition)


def rows(sequences: pa.RecordBatch, similarity: Similarity, part: int, model: str, condition: str) -> pa.Table:
    """The rows of `layer_similarity` of one part for a piece of `sequences`: none where the part is empty."""
    import numpy as np
    import pyarrow as pa

    from memlake.compute.interventions.similarity import PARTS

    def lists(square: np.ndarray) -> pa.Array:
        return pa.ListArray.from_arrays(np.arange(len(square) + 1, dtype=np.int32) * square.shape[1], square.ravel())

    table = pa.table(
        {
            **{name: sequences[name] for name in ("sequence_id", "corpus", "domain")},
            "model": pa.repeat(model, sequences.num_rows),
            "condition": pa.repeat(condition, sequences.num_rows),
            "part": pa.repeat(PARTS[part], sequences.num_rows),
            "cosine": lists(similarity.cosine[part]),
            "relative_l2": lists(similarity.relative_l2[part]),
        }
    )
    return table.filter(pa.array(similarity.positions[part] > 0))
