"""What is asked of an experiment, and a model as its cells refer to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from memlake.compute.models.conditions import Condition
from memlake.warehouse.models.registry import Source


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
    options: Mapping[str, object] = field(default_factory=dict)  # the experiment's own


@dataclass(frozen=True)
class Subject:
    """A model as cells refer to it."""

    source: Source
    condition: Condition
    digest: Mapping[str, str]  # `checkpoint_digest`; `weights_digest` for a model registered when ids had only that
    tokenizer_digest: str
    tokenizer: str  # its name in the lake
    limits: Mapping[str, int]  # of the sequences that it can take: `vocabulary`, `positions`, and how many go to `bos`

    def task(self, request: Request, sequences: int) -> dict:
        """What a worker needs in order to run a cell of so many sequences, and what does not decide rows."""
        return {
            "sequences": sequences,
            "source": {**vars(self.source), "corpora": list(self.source.corpora)},
            "condition": vars(self.condition),
            "tokenizer": self.tokenizer,
            "limits": dict(self.limits),
            "device": request.device,
            "batch_size": request.batch_size,
        }
