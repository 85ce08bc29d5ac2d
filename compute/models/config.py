"""A checkpoint's config.json, as transformers reads it: every entry that may decide rows, defaults filled in.

For configs that state known entries with values of their types this is a matter of tables (`families`), and needs
neither transformers nor torch. Everything else is given to transformers, which has the last word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memlake.compute.families import NotSimple, parts, recognise
from memlake.warehouse.errors import BadInput, one_line
from memlake.warehouse.json_files import json_object

# Entries of a config.json that decide no row. Any other counts, also one that transformers does not know.
IGNORED = frozenset(
    """
    architectures auto_map dtype finetuning_task gradient_checkpointing name_or_path tokenizer_class torch_dtype
    torchscript transformers_version use_bfloat16 use_cache
    attention_dropout attn_pdrop classifier_dropout embd_pdrop embed_dropout hidden_dropout resid_dropout resid_pdrop
    initializer_range
    id2label label2id num_labels problem_type task_specific_params
    bos_token_id cls_token_id decoder_start_token_id eos_token_id forced_bos_token_id forced_eos_token_id pad_token_id
    sep_token_id
    output_attentions output_hidden_states output_scores return_dict return_dict_in_generate
    add_cross_attention chunk_size_feed_forward cross_attention_hidden_size is_decoder is_encoder_decoder pruned_heads
    tf_legacy_loss tie_encoder_decoder unk_token_id
    bad_words_ids begin_suppress_tokens diversity_penalty do_sample early_stopping encoder_no_repeat_ngram_size
    exponential_decay_length_penalty length_penalty max_length max_new_tokens min_length no_repeat_ngram_size
    num_beam_groups num_beams num_return_sequences prefix remove_invalid_values repetition_penalty suppress_tokens
    temperature top_k top_p typical_p
    """.split()  # noqa: SIM905
)
Entries = Mapping[str, Any]


@dataclass(frozen=True)
class Config:
    """What planning asks of a config."""

    model_type: str
    family: str
    stated: Entries  # all of the file
    vocab_size: int
    positions: int  # the longest sequence it can take
    end_tokens: tuple[int, ...]
    dtype: str | None  # number format that it says its weights have


def stated(path: Path, where: str) -> tuple[Entries, str]:
    """The entries of a config.json, and the family of its architecture; where: what a message calls the checkpoint.
    Raises `BadInput` where it is none that memlake knows: transformers may know nothing of it either."""
    entries = json_object(path)
    return entries, recognise(str(entries.get("model_type", "unknown")), where)


def read(path: Path, entries: Entries, family: str) -> Config:
    """The config that says this; raises `BadInput` for entries that transformers refuses."""
    own, ends = parts(family), entries.get("eos_token_id")
    if (plain := _plain(kept(entries))) is None or not _ids(ends):
        real = in_transformers(path, family)
        vocab_size, positions, ends = real.vocab_size, real.max_position_embeddings, real.eos_token_id
    else:
        vocab_size, positions, ends = plain["vocab_size"], plain[own.positions], entries.get("eos_token_id", own.end)
    dtype = entries.get("dtype", entries.get("torch_dtype"))
    return Config(
        model_type=own.model_type,
        family=family,
        stated=entries,
        vocab_size=vocab_size,
        positions=positions,
        end_tokens=() if ends is None else tuple(ends) if isinstance(ends, list) else (ends,),
        dtype=dtype if isinstance(dtype, str) else None,
    )


def in_transformers(path: Path, family: str) -> Any:
    """The config as an object of transformers; raises `BadInput` for what it refuses."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(path.parent, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # its checks of each entry raise errors of many kinds
        raise BadInput(f"{path} is no config of {family}: {one_line(error)}") from error


def kept(stated: Entries) -> dict[str, Any]:
    """The entries that may decide rows."""
    return {key: value for key, value in stated.items() if key not in IGNORED and not key.startswith("_")}


def resolved(*each: Entries) -> list[dict[str, Any]]:
    """What transformers makes of the kept entries of some configs: every default filled in."""
    plain = [_plain(entries) for entries in each]
    known = [found for found in plain if found is not None]
    return known if len(known) == len(each) else [_resolved_by_transformers(entries) for entries in each]


def not_default(entries: Entries) -> dict[str, Any]:
    """The part of the kept entries that no default says: what a later transformers adds with a default does not change
    it. Null is the default of what transformers does not know."""
    own, default = resolved(entries, {"model_type": entries["model_type"]})
    return {key: value for key, value in own.items() if value != default.get(key)}


def _resolved_by_transformers(entries: Entries) -> dict[str, Any]:
    """Of its two spellings of a rope's kind it keeps the older beside the newer where that was written."""
    from transformers import CONFIG_MAPPING

    no_tokens = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))  # a default may be beyond a vocabulary
    said = kept(CONFIG_MAPPING[entries["model_type"]].from_dict(dict(entries) | no_tokens).to_dict())
    if isinstance(rope := said.get("rope_parameters"), dict) and "rope_type" in rope:
        said["rope_parameters"] = {key: value for key, value in rope.items() if key != "type"}
    return said


def _plain(entries: Entries) -> dict[str, Any] | None:
    """What transformers makes of kept entries, where defaults are all that it adds; None where it may check, convert or
    derive more than is known here."""
    own = parts(recognise(entries["model_type"], "a config"))
    if not own.defaults:
        return None
    said = {own.names.get(key, key): value for key, value in entries.items()}
    if len(said) < len(entries):  # one thing under two names
        return None
    derived = {key for of in own.derived for key in of.reads}
    for key in said.keys() - derived - own.carried - {"model_type"}:
        if key not in own.defaults or not _fits(said[key], own.defaults[key], own.optional.get(key)):
            return None
    said = {**own.defaults, **said}
    if said[own.width] % said[own.heads]:
        return None
    try:
        for of in own.derived:
            of.complete(said)
    except NotSimple:
        return None
    return said


def _fits(value: Any, default: Any, optional: type | None) -> bool:
    """Is it of the type of such an entry; a number of things above zero."""
    right = type(value) is type(default) or (value is None or type(value) is optional if optional else False)
    return right and (type(value) is not int or value > 0)


def _ids(value: Any) -> bool:
    """Is this a token's id, several, or none?"""
    return value is None or type(value) is int or (isinstance(value, list) and all(type(i) is int for i in value))
