"""Special and added tokens that a checkpoint declares beside its vocabulary, as transformers reads them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from memlake.warehouse.errors import BadInput
from memlake.warehouse.json_files import json_object

from . import hub
from .registry import ModelSpec

if TYPE_CHECKING:
    from tokenizers import AddedToken

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
EXTRA = ("extra_special_tokens", "additional_special_tokens")
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


def settings(spec: ModelSpec) -> dict[str, Any]:
    """What tokenizer_config.json says, or special_tokens_map.json above it; the older of the two is not asked where the
    config lists its added tokens (`added_tokens_decoder`)."""
    config = _read(spec, "tokenizer_config.json")
    return config if "added_tokens_decoder" in config else config | _read(spec, "special_tokens_map.json")


def declared(spec: ModelSpec, said: dict[str, Any]) -> list[AddedToken]:
    """The tokens in the order in which they are added: those with an id by it (`added_tokens_decoder`, else
    added_tokens.json), then those with a role, then others that are special. said: its `settings`. Raises
    `BadInput`."""
    try:
        return list(_declared(said, _read(spec, "added_tokens.json")))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{spec.location} declares tokens that cannot be read: {error}") from error


def _declared(said: dict[str, Any], added: dict[str, Any]) -> Iterator[AddedToken]:
    from tokenizers import AddedToken

    roles = [*NAMED, *(k for k in said if k.endswith("_token") and k not in NAMED)]
    extra: Any = next((said[k] for k in EXTRA if said.get(k)), [])
    named = [said[k] for k in roles if isinstance(said.get(k), str | dict)]
    special = [*named, *(extra.values() if isinstance(extra, dict) else extra)]
    if "added_tokens_decoder" in said:
        for _, token in sorted(said["added_tokens_decoder"].items(), key=lambda entry: int(entry[0])):
            yield AddedToken(token["content"], **{k: token[k] for k in FLAGS if k in token})
    else:
        names = {content(token) for token in special}
        for text, _ in sorted(added.items(), key=lambda entry: int(entry[1])):
            yield AddedToken(text, normalized=text not in names, special=text in names)
    for token in special:
        flags = {k: token[k] for k in FLAGS if k in token} if isinstance(token, dict) else {}
        yield AddedToken(content(token), **flags | {"special": True})


def content(token: str | dict[str, Any]) -> str:
    """The text of a token; older files write an AddedToken out."""
    return token["content"] if isinstance(token, dict) else token


def _read(spec: ModelSpec, name: str) -> dict[str, Any]:
    path = hub.find(spec, name)
    return json_object(path) if path else {}
