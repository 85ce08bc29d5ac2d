"""Entries that a config of transformers derives from others, as far as they are simple.

Each function completes the entries of a config in place, and raises `NotSimple` where transformers may do more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Entries = dict[str, Any]
LAYERS = ("sliding_attention", "full_attention")  # kinds of OLMo 3's


class NotSimple(ValueError):
    """Only transformers knows what it makes of this."""


@dataclass(frozen=True)
class Derived:
    """reads: entries that a config may state for it."""

    reads: tuple[str, ...]
    complete: Callable[[Entries], None]


def demand(simple: bool) -> None:
    if not simple:
        raise NotSimple


def _key_value_heads(said: Entries) -> None:
    heads = said.get("num_key_value_heads")
    said["num_key_value_heads"] = said["num_attention_heads"] if heads is None else heads
    demand(type(said["num_key_value_heads"]) is int)


def _multi_query(said: Entries) -> None:
    heads = 1 if said["multi_query"] else said["n_head"]
    demand(said.setdefault("num_key_value_heads", heads) == heads)


def _head_dim(said: Entries) -> None:
    if said.get("head_dim") is None:
        said["head_dim"] = said["hidden_size"] // said["num_attention_heads"]
    demand(type(said["head_dim"]) is int and (said["head_dim"] <= 4 or said["head_dim"] % 2 == 0))


def _attention_layers(said: Entries) -> None:
    if said.get("attention_types") is None:
        said["attention_types"] = [[["global", "local"], 12]]
    try:
        layers = [kind for kinds, times in said["attention_types"] for _ in range(times) for kind in kinds]
    except (TypeError, ValueError) as error:
        raise NotSimple from error
    demand(said.setdefault("attention_layers", layers) == layers and len(layers) == said["num_layers"])


def _layer_types(said: Entries) -> None:
    if said.get("layer_types") is None:
        said["layer_types"] = [LAYERS[(i + 1) % 4 == 0] for i in range(said["num_hidden_layers"])]
    demand(isinstance(said["layer_types"], list) and len(said["layer_types"]) == said["num_hidden_layers"])
    demand(all(kind in LAYERS for kind in said["layer_types"]))


def rope(theta: float = 10000.0, name: str = "rope_theta", part: float | None = None) -> Derived:
    """Rotary positions of one kind in all layers. theta: its default, in older configs under `name`. part: default of
    the share of a head that is rotated; None where it is all of it."""
    default = {"rope_theta": theta, "rope_type": "default"} | ({} if part is None else {"partial_rotary_factor": part})
    older = {name: "rope_theta"} | ({} if part is None else {"rotary_pct": "partial_rotary_factor"})

    def complete(said: Entries) -> None:
        demand(said.pop("rope_scaling", None) is None)
        stated = said.get("rope_parameters")
        spelled = {older[key]: said.pop(key) for key in older if key in said}
        demand(not (spelled and stated))
        said["rope_parameters"] = _rope(spelled if stated is None else stated, default)

    return Derived(("rope_parameters", "rope_scaling", *older), complete)


def _rope(stated: object, default: Mapping[str, Any]) -> Entries:
    """The parameters of a rope without scaling."""
    demand(isinstance(stated, dict))
    found = dict(default) | stated  # type: ignore[operator]  # a dict, by the line above
    numbers = [value for key, value in found.items() if key != "rope_type"]
    demand(found.keys() == default.keys() and found["rope_type"] == "default")
    demand(all(type(number) in (int, float) for number in numbers))
    return found


def _rope_by_kind(said: Entries) -> None:
    """OLMo 3's, for each kind of layer; `rope_theta` is that of layers that see everything."""
    default = {"rope_theta": 500000.0, "rope_type": "default"}
    demand(said.pop("rope_scaling", None) is None)
    stated = said.get("rope_parameters")
    spelled = {"rope_theta": said.pop("rope_theta")} if "rope_theta" in said else {}
    demand(not (spelled and stated) and (stated is None or isinstance(stated, dict)))
    stated = stated or {"full_attention": spelled}
    demand(all(kind in LAYERS for kind in stated))
    said["rope_parameters"] = {kind: _rope(stated.get(kind) or {}, default) for kind in LAYERS}


KEY_VALUE_HEADS = Derived(("num_key_value_heads",), _key_value_heads)
MULTI_QUERY = Derived(("num_key_value_heads",), _multi_query)
HEAD_DIM = Derived(("head_dim",), _head_dim)
ATTENTION_LAYERS = Derived(("attention_types", "attention_layers"), _attention_layers)
LAYER_TYPES = Derived(("layer_types",), _layer_types)
ROPE_BY_KIND = Derived(("rope_parameters", "rope_scaling", "rope_theta"), _rope_by_kind)
