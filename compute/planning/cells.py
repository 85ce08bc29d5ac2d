"""A cell that runs a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from memlake.compute.models.conditions import Condition
from memlake.warehouse.lake import Lake
from memlake.warehouse.work.cells import Cell

from .request import Execution, Subject
from .settings import ModelSettings, RangeSettings

if TYPE_CHECKING:
    from memlake.compute.models.checkpoint import Checkpoint

TOKENS = 64  # of a sequence, as samples cut them by default
FLOPS = 2e10  # a second, of one core: a forward takes twice a model's parameters for each token


@dataclass(frozen=True)
class ModelCell(Cell):
    """It measures so many sequences of its range, or a task (0 sequences)."""

    settings: ModelSettings
    subject: Subject
    execution: Execution
    sequences: int

    @property
    def group(self) -> str:
        return self.settings.model

    @property
    def device(self) -> str:
        return self.execution.device

    @property
    def forwards(self) -> float:
        """About how many forwards of the whole model it takes a sequence."""
        return 1.0

    @property
    def seconds(self) -> float:
        return self.sequences * TOKENS * 2 * self.subject.parameters / FLOPS * self.forwards

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Those that its rows name."""
        return (self.subject.condition,)

    def load(self, lake: Lake) -> tuple[Checkpoint, int | None]:
        """The model, ready to run, and the id of its BOS token."""
        from memlake.compute.models.loaded import load_once

        subject = self.subject
        return load_once(lake, subject.spec, subject.digest, subject.condition, self.execution.device)


@dataclass(frozen=True)
class RangeCell(ModelCell):
    """It measures sequences of a sample."""

    settings: RangeSettings
