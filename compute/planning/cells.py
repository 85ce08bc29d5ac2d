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
FLOPS = {"cpu": 2e10, "cuda": 1e13}  # a second, of one core and, not measured, of a GPU


def flop(parameters: int, forwards: float) -> float:
    """Floating-point operations of so many forwards of a sequence: twice the parameters for each token."""
    return TOKENS * 2 * parameters * forwards


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

    def on_paper(self, flops: float) -> float:
        """Seconds that it takes a device which does so many floating-point operations a second."""
        return self.sequences * flop(self.subject.parameters, self.forwards) / flops

    @property
    def seconds(self) -> float:
        return self.on_paper(FLOPS["cpu"])

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
