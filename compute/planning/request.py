"""What is asked of an experiment, and a model as its cells refer to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from memlake.compute.models.conditions import Condition
from memlake.warehouse.models.registry import ModelSpec

CELL_MINUTES = 10.0


@dataclass(frozen=True)
class Execution:
    """How a cell is run, which decides no row."""

    device: str = "auto"  # auto, cpu or cuda
    batch_size: int | None = None  # None: what fits


@dataclass(frozen=True)
class Request:
    """What to measure, on what, and how."""

    models: tuple[str, ...]  # names of the registry or of the lake, hub ids, folders
    corpora: tuple[str, ...]
    domains: tuple[str, ...] = ()  # empty: all
    limit: int | None = None  # the first sequences of each domain's sample, so many; None: all
    dtype: str | None = None  # this and the next three: None is as in the model's base condition
    attention: str | None = None
    bos: bool | None = None  # put the beginning-of-sequence token first
    no_eos: bool | None = None  # never decide for end-of-sequence
    device: str = "auto"
    batch_size: int | None = None  # None: what fits
    family: str | None = None  # of these models; None: what the registry or memlake.json says, else their own
    role: str | None = None  # of these models on these corpora, trained or control; None: what the registry knows
    cell_minutes: float = CELL_MINUTES  # a cell takes about so long at most
    base: bool = False  # its condition becomes the models' base condition
    missing: bool = False  # plan what is not published only
    flops: float | None = None  # a second, by which time is reckoned; None: by what was measured in the lake
    options: Mapping[str, object] = field(default_factory=dict)  # the experiment's own

    @property
    def execution(self) -> Execution:
        return Execution(self.device, self.batch_size)


@dataclass(frozen=True)
class Limits:
    """What sequences a model can take."""

    vocabulary: int  # ids below this
    positions: int  # so many tokens
    bos: int  # of them, taken by the BOS token: 0 or 1


@dataclass(frozen=True)
class Subject:
    """A model as cells refer to it. checkpoint_digest, weights_digest: as `ModelSettings` has them. blocks: of
    the model, heads: of a block; None where the lake does not know them yet."""

    spec: ModelSpec
    condition: Condition
    checkpoint_digest: str | None
    weights_digest: str | None
    tokenizer_digest: str
    tokenizer: str  # its name in the lake
    limits: Limits
    parameters: int
    blocks: int | None = None
    heads: int | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of `ModelSettings`."""
        return {
            "model": self.spec.name,
            "checkpoint_digest": self.checkpoint_digest,
            "weights_digest": self.weights_digest,
            "tokenizer_digest": self.tokenizer_digest,
            "condition": self.condition.name,
        }

    @property
    def digest(self) -> str:
        """What tells its checkpoint from others."""
        return self.checkpoint_digest or self.weights_digest or ""
