"""Which checkpoint is it: all that decides its rows beside condition and sequence.

Weights, tokenizer, the version of memlake's code for the architecture, and config.json less `IGNORED`. Two configs are
the same where transformers makes the same of them: leaving out a default equals stating it. What was stated is kept as
it was, and compared under the transformers of the day, so that another version of it changes nothing by itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from memlake.compute.families import parts, recognise
from memlake.warehouse.errors import BadInput, one_line
from memlake.warehouse.identity import canonical, sha256
from memlake.warehouse.models import hub
from memlake.warehouse.models.registry import Source, json_object
from memlake.warehouse.models.tokenizer import load_tokenizer

from . import weights
from .conditions import Condition

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

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

# Entries under which a config.json says how its weights are quantized
QUANTIZED = ("quantization_config", "compression_config", "quantization")


@dataclass(frozen=True)
class Identity:
    """A checkpoint's columns of `models` that say which one it is."""

    weights_digest: str
    checkpoint_digest: str  # of the weights, and of what config and architecture say that is not a default
    config: str  # JSON: `entries` of config.json that may decide rows, `version` of our code, `bos` and `eos` tokens
    architecture: str


def identify(source: Source) -> Identity:
    """Read a checkpoint's identity from its files; raises `BadInput`."""
    files = weights.fetch(source)
    config, family = read_config(source, files)
    entries = _kept(json_object(files.folder / "config.json"))
    decides = {
        "weights": weights.digest(files.weights),
        "architecture": config.model_type,
        "version": parts(family).version,
        "config": _not_default(entries),
    }
    said = {"entries": entries, "version": decides["version"]}
    said |= {"bos": load_tokenizer(source).bos_id, "eos": end_tokens(source, config)}
    return Identity(
        weights_digest=decides["weights"],
        checkpoint_digest=sha256([canonical(decides).encode()]),
        config=canonical(said),
        architecture=config.model_type,
    )


def changes(before: str, now: str, condition: Condition | None) -> list[str]:
    """How a checkpoint differs from what was recorded of it (`Identity.config` both), as far as rows depend on it.
    Special tokens count where the condition depends on them."""
    old, new = json.loads(before), json.loads(now)
    was, is_ = (_resolved(said["entries"]) | {"memlake's code for it": said["version"]} for said in (old, new))
    if condition and condition.bos:
        was["BOS token"], is_["BOS token"] = old["bos"], new["bos"]
    if condition and condition.no_eos:
        was["EOS tokens"], is_["EOS tokens"] = old["eos"], new["eos"]
    keys = [key for key in sorted({*was, *is_}) if was.get(key) != is_.get(key)]
    return [f"{key} was {was.get(key)!r}, now {is_.get(key)!r}" for key in keys]


def read_config(source: Source, files: weights.Files) -> tuple[PreTrainedConfig, str]:
    """The checkpoint's config and the module of its architecture. The type is read first: transformers may know nothing
    of a foreign one. Raises `BadInput`, also for a quantized checkpoint: its parameters could not be counted, nor its
    blocks be run one by one."""
    from transformers import AutoConfig

    path = files.folder / "config.json"
    stated = json_object(path)
    family = recognise(str(stated.get("model_type", "unknown")), source.location)
    how = next((stated[key] for key in QUANTIZED if stated.get(key) is not None), None)
    if isinstance(how, dict):
        how = how.get("quant_method", "see its config.json")
    if how or (how := weights.packed(files.weights)):
        raise BadInput(
            f"{source.location} is quantized ({how}): memlake measures whole weights only,"
            " so give it the checkpoint that this one was made from"
        )
    try:
        return AutoConfig.from_pretrained(files.folder, trust_remote_code=False, local_files_only=True), family
    except Exception as error:  # its checks of each entry raise errors of many kinds
        raise BadInput(f"{path} is no config of {family}: {one_line(error)}") from error


def end_tokens(source: Source, config: PreTrainedConfig) -> tuple[int, ...]:
    """The ids that `generate` takes for end-of-sequence: those of generation_config.json, else of config.json."""
    path = hub.find(source, "generation_config.json")
    ids = json_object(path).get("eos_token_id") if path else None
    ids = config.eos_token_id if ids is None else ids
    return () if ids is None else tuple(ids) if isinstance(ids, list) else (ids,)


def _kept(entries: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entries.items() if key not in IGNORED and not key.startswith("_")}


def _resolved(entries: Mapping[str, Any]) -> dict[str, Any]:
    """What transformers makes of the entries: every default filled in. Of its two spellings of a rope's kind it keeps
    the older beside the newer where that was written."""
    from transformers import CONFIG_MAPPING

    no_tokens = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))  # a default may be beyond a vocabulary
    said = _kept(CONFIG_MAPPING[entries["model_type"]].from_dict(dict(entries) | no_tokens).to_dict())
    if isinstance(rope := said.get("rope_parameters"), dict) and "rope_type" in rope:
        said["rope_parameters"] = {key: value for key, value in rope.items() if key != "type"}
    return said


def _not_default(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The part of them that no default says: what a later transformers adds with a default does not change it. Null
    is the default of what transformers does not know."""
    default = _resolved({"model_type": entries["model_type"]})
    return {key: value for key, value in _resolved(entries).items() if value != default.get(key)}
