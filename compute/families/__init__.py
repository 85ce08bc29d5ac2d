"""Architectures: one file each, a table of the names that differ between them. A family is the name of its file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from memlake.warehouse import shelf
from memlake.warehouse.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclass(frozen=True)
class Norms:
    """What a block calls its norms; None: it has none there."""

    before_attention: str | None = "input_layernorm"
    before_mlp: str | None = "post_attention_layernorm"
    after_attention: str | None = None  # on what a branch gives, before it joins the residual stream
    after_mlp: str | None = None


POST_NORMS = Norms(None, None, "post_attention_layernorm", "post_feedforward_layernorm")  # of OLMo 2 and 3


@dataclass(frozen=True)
class Parts:
    """What an architecture calls its parts in transformers."""

    model_type: str  # `model_type` of its config
    version: int = 1  # of memlake's code for it: bumped by hand when the same checkpoint gives other rows
    blocks: str = "layers"  # in the base model: the list of its blocks
    norm: str = "norm"  # in the base model: the norm before the unembedding
    attention: str = "self_attn"  # in a block: its attention, which takes hidden states and returns (output, weights)
    values: str = "v_proj"  # in the attention: the projection that gives the values; with queries and keys if fused
    output: str = "o_proj"  # in the attention: the projection of what the heads give
    mlp: str = "mlp"  # in a block
    norms: Norms = Norms()  # in a block
    parallel: str | None = None  # config entry: does the MLP read what the attention reads; None: what it leaves
    clip: str | None = None  # config entry: bound on the size of queries, keys and values
    window: str | None = None  # config entry: tokens that a sliding or local block sees; None: every block sees all
    multi_query: str | None = None  # config entry: is there one key-value head for all query heads
    kernels: tuple[str, ...] = ("sdpa", "eager")  # attention kernels it can run with, its default first


@cache
def parts(family: str) -> Parts:
    """The parts of a family; raises `UnknownName`."""
    return shelf.take(__name__, family, "family").PARTS


def recognise(model_type: str, where: str) -> str:
    """The family of a config's `model_type`; raises `BadInput` for an architecture that is none of ours."""
    known = {parts(name).model_type: name for name in shelf.names(__name__)}
    if model_type not in known:
        listed = ", ".join(f"{family} ({architecture})" for architecture, family in sorted(known.items()))
        raise BadInput(f"{where} is of the architecture {model_type!r}; memlake knows: {listed}")
    return known[model_type]


def kv_heads(family: str, config: PreTrainedConfig) -> int:
    """Key-value heads of a block."""
    flag = parts(family).multi_query
    if flag and getattr(config, flag):
        return 1
    return getattr(config, "num_key_value_heads", None) or config.num_attention_heads


def window(family: str, config: PreTrainedConfig) -> int | None:
    """Tokens that the narrowest block sees; None where every block sees all."""
    name = parts(family).window
    return getattr(config, name) if name else None
