"""Architectures: one file each, a table of what differs between them. A family is the name of its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from memlake.warehouse import shelf
from memlake.warehouse.errors import BadInput

from ._derived import Derived, NotSimple

__all__ = ["POST_NORMS", "Derived", "Norms", "NotSimple", "Parts", "kv_heads", "parts", "recognise", "sees"]

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclass(frozen=True)
class Norms:
    """What a block calls its norms; None: it has none there."""

    before_attention: str | None = "input_layernorm"
    before_mlp: str | None = "post_attention_layernorm"
    after_attention: str | None = None  # on what a branch gives, before it joins the residual stream
    after_mlp: str | None = None


LLAMA = {  # defaults of Llama's config and of those that were made from it
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "hidden_size": 4096,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
    "attention_bias": False,
}
OLMO = LLAMA | {"vocab_size": 50304}
SUMMARY = frozenset(  # of a head that classifies, in configs of GPT-2's kind
    f"summary_{name}" for name in ("activation", "first_dropout", "proj_to_labels", "type", "use_proj")
)
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
    sees: str | None = None  # config entry: tokens that a sliding or local block sees; None: every block sees all
    multi_query: str | None = None  # config entry: is there one key-value head for all query heads
    kernels: tuple[str, ...] = ("sdpa", "eager")  # attention kernels it can run with, its default first
    # Its config.json, as transformers reads it. Entries that may decide rows, each with its default:
    defaults: Mapping[str, Any] = field(default_factory=dict)
    optional: Mapping[str, type] = field(default_factory=dict)  # those that may be null, and their type
    derived: tuple[Derived, ...] = ()  # those that follow from others where they are left out
    carried: frozenset[str] = frozenset()  # those that transformers does not know and keeps, as older files have them
    names: Mapping[str, str] = field(default_factory=dict)  # a name that is read too, and the own one
    width: str = "hidden_size"
    heads: str = "num_attention_heads"
    positions: str = "max_position_embeddings"
    end: int = 2  # default of eos_token_id


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


def sees(family: str, config: PreTrainedConfig) -> int | None:
    """Tokens that the narrowest block sees; None where every block sees all."""
    name = parts(family).sees
    return getattr(config, name) if name else None
