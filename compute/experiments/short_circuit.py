"""What a continuation loses when the attention of some blocks looks at nothing but its own position.

Attention weights become the identity; values, output projection, norms, residual and MLP stay (arXiv 2501.05078): where
memorization needs a block and ability does not, the two part. Ability is measured on control corpora, and with the
extra `benchmarks` on tasks of lm-eval. It leaves out which positions and heads a block needs: see head_ablation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from memlake.compute.models.checkpoint import role_on, unscored
from memlake.compute.planning.cells import ModelCell, RangeCell
from memlake.compute.planning.chosen import COLUMNS, Choices, chosen, pieces
from memlake.compute.planning.coverage import Coverage, Shard
from memlake.compute.planning.paper import Paper
from memlake.compute.planning.settings import AMONG, ChoiceSettings, ModelSettings
from memlake.warehouse.errors import BadInput
from memlake.warehouse.lake import Lake
from memlake.warehouse.options import option
from memlake.warehouse.work.cells import CellRows, Settings, published

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from memlake.compute.interventions.short_circuit import Effects
    from memlake.compute.planning.request import Execution, Request, Subject

EXPERIMENT = "short_circuit"
PIECE = 1 << 14  # rows handed over at once
TASK_SECONDS = 600.0  # about what a small task takes on a small model: enough to start a process for it

Range = tuple[int, int]  # first and last block


@dataclass(frozen=True)
class Options:
    blocks: tuple[str, ...] = option((), "block, or range 3-8, to short-circuit: each alone; default: every block")
    among: str | None = option(
        None, "which sequences: memorized, contrast or all; default: memorized, on control corpora all", AMONG
    )
    task: tuple[str, ...] = option((), "task of lm-eval, or a task's YAML file, to run as well")


@dataclass(frozen=True, kw_only=True)
class ShortCircuitSettings(ChoiceSettings):
    blocks: tuple[Range, ...]

    @property
    def items(self) -> tuple[Range, ...]:
        return self.blocks

    def of(self, items: Sequence[Any]) -> Self:
        return replace(self, blocks=tuple(items))


@dataclass(frozen=True, kw_only=True)
class TaskSettings(ModelSettings):
    """task_digest: of the file of a task of one's own, else None. blocks: None among them is the whole model."""

    task: str
    task_digest: str | None
    blocks: tuple[Range | None, ...]

    def to_json(self) -> dict[str, Any]:
        return super().to_json() | {"task_digest": self.task_digest}  # it is stored where it is None, too


@dataclass(frozen=True, kw_only=True)
class AnySettings(Settings):
    """Those of either kind of cell, as they are stored."""

    said: Mapping[str, Any]

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        return cls(said=stored)


@dataclass(frozen=True)
class ShortCircuitCell(RangeCell):
    EXPERIMENT: ClassVar[str] = EXPERIMENT
    TABLES: ClassVar[tuple[str, ...]] = ("block_deltas",)

    settings: ShortCircuitSettings

    @property
    def expected(self) -> dict[str, int]:
        return {"block_deltas": self.sequences * len(self.settings.blocks)}

    @property
    def forwards(self) -> float:
        return 1.0 + len(self.settings.blocks)

    def rows(self, lake: Lake) -> CellRows:
        """Short-circuit the cell's ranges of blocks, one after the other, on its sequences, in bounded memory."""
        from memlake.compute.interventions.short_circuit import short_circuit

        s = self.settings
        sequences = chosen(lake, s, s.choice, self.subject.tokenizer, COLUMNS)
        for piece in pieces(sequences, max(1, PIECE // len(s.blocks))):
            checkpoint, bos_id = self.load(lake)
            effects = short_circuit(
                checkpoint,
                piece["tokens"].to_numpy(zero_copy_only=False),
                piece["prefix_tokens"].to_numpy(),
                s.blocks,
                bos_id=bos_id,
                batch_size=self.execution.batch_size,
            )
            yield "block_deltas", block_rows(piece, effects, s)


@dataclass(frozen=True)
class TaskCell(ModelCell):
    """A task of lm-eval. task: its name there, or the absolute path of its file: a worker may run in another folder."""

    EXPERIMENT: ClassVar[str] = EXPERIMENT
    TABLES: ClassVar[tuple[str, ...]] = ("benchmark_scores",)

    settings: TaskSettings
    task: str

    def on_paper(self, flops: float) -> float:
        return TASK_SECONDS * len(self.settings.blocks)  # whatever the device

    def rows(self, lake: Lake) -> CellRows:
        """Run the task with each range of blocks short-circuited, one after the other."""
        import pyarrow as pa

        from memlake.compute.interventions.lm_eval import scores

        s = self.settings
        checkpoint, _ = self.load(lake)
        for blocks, found in scores(checkpoint, self.subject.spec, self.task, s.blocks, self.execution.batch_size):
            first, last = blocks or (None, None)
            own = {"model": s.model, "condition": s.condition, "first_block": first, "last_block": last}
            yield "benchmark_scores", pa.Table.from_pylist([own | row for row in found])


CELLS = (ShortCircuitCell, TaskCell)


def plan(lake: Lake, subject: Subject, request: Request, options: Options) -> list[ModelCell]:
    """The cells that cover the requested sequences, blocks and tasks: those published before, and new ones for what is
    missing. Raises `BadInput` for blocks that the model has not."""
    if subject.blocks is None:
        raise unscored(subject.spec.name)
    blocks = ranges(options.blocks, subject.blocks)
    stored = [settings.said for _, settings in published(lake, EXPERIMENT, AnySettings)]
    done = [ShortCircuitSettings.from_json(said) for said in stored if "task" not in said]
    coverage, choices = Coverage(lake, subject, request, EXPERIMENT, done), Choices(lake, subject)

    def make(settings: ShortCircuitSettings, _: int) -> ShortCircuitCell:
        n = choices.of(settings, settings.choice).num_rows
        return ShortCircuitCell(settings, subject, request.execution, n)

    found: list[ModelCell] = []
    for corpus in request.corpora:
        among = _among(options, role_on(lake, subject.spec, corpus, request.role))

        def want(shard: Shard, among: str = among) -> ShortCircuitSettings:
            return ShortCircuitSettings(**shard.choice(subject, among), blocks=blocks)

        found += coverage.cells(want, make, corpora=(corpus,))
    tasks = [TaskSettings.from_json(said) for said in stored if "task" in said]
    for text in dict.fromkeys(options.task):
        found += _tasks(subject, request, text, blocks, tasks)
    return found


def on_paper(subject: Subject, paper: Paper, execution: Execution, options: Options) -> Iterator[ShortCircuitCell]:
    """As `plan`, of a sample that is not scored yet and without tasks; none of a model whose blocks are not known."""
    if subject.blocks:
        among = _among(options, paper.role)
        blocks = ranges(options.blocks, subject.blocks)
        settings = ShortCircuitSettings(**paper.choice(subject, among), blocks=blocks)
        yield ShortCircuitCell(settings, subject, execution, paper.chosen(among))


def _among(options: Options, role: str | None) -> str:
    return options.among or ("all" if role == "control" else "memorized")


def ranges(texts: Sequence[str], n_layers: int) -> tuple[Range, ...]:
    """The ranges of blocks, without repetition, in order; every single block where none is named. Raises
    `BadInput`."""
    found = {(layer, layer) for layer in range(n_layers)} if not texts else set()
    for text in texts:
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < n_layers:
            raise BadInput(f"no blocks {text!r}: they are 0 to {n_layers - 1}, one as 3 or a range as 3-8")
        found.add((first, last))
    return tuple(sorted(found))


def _tasks(
    subject: Subject, request: Request, text: str, blocks: Sequence[Range], done: Sequence[TaskSettings]
) -> Iterator[TaskCell]:
    """The cells of a task on the whole model and with each range short-circuited."""
    from memlake.compute.interventions.lm_eval import find_task

    name, digest = find_task(text)
    missing: list[Range | None] = [None, *blocks]
    wanted = TaskSettings(**subject.settings, task=name, task_digest=digest, blocks=tuple(missing))
    here = Path(text).resolve()
    task = str(here) if here.is_file() else text
    for settings in done:
        if replace(settings, blocks=wanted.blocks) == wanted and any(b in settings.blocks for b in wanted.blocks):
            missing = [b for b in missing if b not in settings.blocks]
            yield TaskCell(settings, subject, request.execution, 0, task)
    if missing:
        yield TaskCell(replace(wanted, blocks=tuple(missing)), subject, request.execution, 0, task)


def block_rows(sequences: pa.RecordBatch, effects: Effects, settings: ShortCircuitSettings) -> pa.Table:
    """The rows of `block_deltas` for a piece of `sequences`: range after range."""
    import numpy as np
    import pyarrow as pa

    shape = effects.n_match.shape
    n_tokens = np.broadcast_to(sequences["n_tokens"].to_numpy(), shape).ravel()
    first, last = np.repeat(np.array(settings.blocks), shape[1], axis=0).T
    n_match = effects.n_match.ravel()

    def lists(values: np.ndarray) -> pa.Array:
        return pa.ListArray.from_arrays(np.arange(n_match.size + 1, dtype=np.int32) * values.shape[-1], values.ravel())

    return pa.table(
        {
            "sequence_id": np.tile(sequences["sequence_id"].to_numpy(), shape[0]),
            **{name: pa.repeat(value, n_match.size) for name, value in settings.place.items()},
            "first_block": first,
            "last_block": last,
            "n_tokens": n_tokens,
            "n_match": n_match,
            "memorized": n_match == n_tokens,
            "completion_entropy": effects.entropy.ravel(),
            "delta_logprob": effects.delta_logprob.ravel(),
            "output_difference": lists(effects.difference),
            "output_bound": lists(effects.bound),
        }
    )
