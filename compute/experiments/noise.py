"""What is left of memorization when noise is added inside, and whether later layers mend it.

Each strength is scored anew, greedy decoding included, and the hidden states of every layer are compared with the clean
ones (arXiv 2603.21658, section 4.4). Memorized sequences are measured beside others, among them some of like
completion entropy: what the model is sure of withstands noise, memorized or not. Strength 0 is the base row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, Self

from memlake.compute.models.conditions import Condition
from memlake.compute.planning.cells import RangeCell
from memlake.compute.planning.chosen import COLUMNS, Choices, chosen, pieces
from memlake.compute.planning.coverage import Coverage, Shard, published_settings
from memlake.compute.planning.paper import Paper
from memlake.compute.planning.settings import AMONG, ChoiceSettings
from memlake.warehouse.errors import BadInput
from memlake.warehouse.lake import Lake
from memlake.warehouse.options import option
from memlake.warehouse.work.cells import CellRows

from .scoring import DECODINGS, PIECE, ScoringSettings, match_rows

if TYPE_CHECKING:
    import pyarrow as pa

    from memlake.compute.interventions.similarity import Similarity
    from memlake.compute.planning.request import Execution, Request, Subject

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

    def __post_init__(self) -> None:
        if self.scope == "row" and self.decoding == "greedy":
            raise BadInput("scope row is forced only (a row has no RMS until it is generated): use --decoding forced")
        if 0 in self.strength:
            raise BadInput("strength 0 is the base row, which `memlake compute run scoring` measures: leave it out")
        for strength in self.strength:
            if not 0 < strength < inf:
                raise BadInput(f"no strength {strength}: it is a positive number")
        for seed in self.seed:
            if not -(2**63) <= seed < 2**63:
                raise BadInput(f"no seed {seed}: it is a whole number of 64 bits")
        object.__setattr__(self, "strength", tuple(sorted({float(s) for s in self.strength})))
        object.__setattr__(self, "seed", tuple(sorted(set(self.seed))))

    @property
    def chosen_decoding(self) -> str:
        return self.decoding or ("greedy" if self.scope == "token" else "forced")


@dataclass(frozen=True, kw_only=True)
class NoiseSettings(ChoiceSettings, ScoringSettings):
    layer: int
    scope: str
    seed: int
    strengths: tuple[float, ...]

    @property
    def question(self) -> tuple[object, ...]:
        return *super().question, self.layer, self.scope, self.seed

    @property
    def items(self) -> tuple[float, ...]:
        return self.strengths

    def of(self, items: Sequence[Any]) -> Self:
        return replace(self, strengths=tuple(items))


@dataclass(frozen=True)
class NoiseCell(RangeCell):
    """prefixes: those of its sequences that have a prefix to be compared."""

    EXPERIMENT: ClassVar[str] = "noise"
    TABLES: ClassVar[tuple[str, ...]] = ("matches", "layer_similarity")

    settings: NoiseSettings
    prefixes: int

    @property
    def expected(self) -> dict[str, int]:
        strengths = len(self.settings.strengths)
        return {
            "matches": strengths * self.sequences,
            "layer_similarity": strengths * (self.sequences + self.prefixes),
        }

    @property
    def forwards(self) -> float:
        return 1.0 + 3.0 * len(self.settings.strengths)  # scored, decoded and compared

    @property
    def noisy(self) -> tuple[Condition, ...]:
        """The condition of each strength."""
        s = self.settings
        return tuple(self.subject.condition.noisy(strength, s.seed, s.layer, s.scope) for strength in s.strengths)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return *super().conditions, *self.noisy

    def rows(self, lake: Lake) -> CellRows:
        """Measure the cell's sequences under noise of each strength, in bounded memory."""
        from memlake.compute.interventions.similarity import measure

        s = self.settings
        columns = f"{COLUMNS}, anchor_id, corpus, domain, byte_ends, byte_cut"
        for piece in pieces(chosen(lake, s, s.choice, self.subject.tokenizer, columns), PIECE):
            checkpoint, bos_id = self.load(lake)
            measured = measure(
                checkpoint,
                piece["tokens"].to_numpy(zero_copy_only=False),
                piece["prefix_tokens"].to_numpy(),
                piece["sequence_id"].to_numpy(),
                strengths=s.strengths,
                seed=s.seed,
                layer=s.layer,
                scope=s.scope,
                bos_id=bos_id,
                decode=s.decoding == "greedy",
                batch_size=self.execution.batch_size,
            )
            for condition, (scores, similarity) in zip(self.noisy, measured, strict=True):
                yield "matches", match_rows(piece, scores, model=s.model, condition=condition.name)
                for part in range(len(similarity.positions)):
                    rows = similarity_rows(piece, similarity, part, model=s.model, condition=condition.name)
                    yield "layer_similarity", rows


CELLS = (NoiseCell,)


def plan(lake: Lake, subject: Subject, request: Request, options: Options) -> list[NoiseCell]:
    """The cells that cover the requested sequences, strengths and seeds: those published before, and new ones for what
    is missing. Raises `BadInput` for a layer that the model has not."""
    import pyarrow.compute as pc

    if subject.blocks and not 0 <= options.layer < subject.blocks:
        raise BadInput(f"{subject.spec.name} has no layer {options.layer}: it is 0 to {subject.blocks - 1}")
    done = published_settings(lake, NoiseCell.EXPERIMENT, NoiseSettings)
    coverage, choices = Coverage(lake, subject, request, NoiseCell.EXPERIMENT, done), Choices(lake, subject)

    def make(settings: NoiseSettings, _: int) -> NoiseCell:
        rows = choices.of(settings, settings.choice)
        compared = pc.greater(rows["prefix_tokens"], 0 if subject.condition.bos else 1)
        prefixes = pc.sum(compared).as_py() or 0
        return NoiseCell(settings, subject, request.execution, rows.num_rows, prefixes)

    found: list[NoiseCell] = []
    for seed in options.seed:

        def want(shard: Shard, seed: int = seed) -> NoiseSettings:
            return NoiseSettings(
                **shard.choice(subject, options.among),
                decoding=options.chosen_decoding,
                layer=options.layer,
                scope=options.scope,
                seed=seed,
                strengths=options.strength,
            )

        found += coverage.cells(want, make)
    return found


def on_paper(subject: Subject, paper: Paper, execution: Execution, options: Options) -> Iterator[NoiseCell]:
    """As `plan`, of a sample that is not scored yet."""
    n = paper.chosen(options.among)
    for seed in options.seed:
        settings = NoiseSettings(
            **paper.choice(subject, options.among),
            decoding=options.chosen_decoding,
            layer=options.layer,
            scope=options.scope,
            seed=seed,
            strengths=options.strength,
        )
        yield NoiseCell(settings, subject, execution, n, n)


def similarity_rows(
    sequences: pa.RecordBatch, similarity: Similarity, part: int, model: str, condition: str
) -> pa.Table:
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
