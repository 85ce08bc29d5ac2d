"""Which checkpoint is it: all that decides its rows beside condition and sequence.

Weights, tokenizer, the version of memlake's code for the architecture, and config.json less what decides no row. Two
configs are the same where transformers makes the same of them: leaving out a default equals stating it. What was stated
is kept as it was, and compared under the transformers of the day, so that another version of it changes nothing by
itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from memlake.compute.families import parts
from memlake.warehouse.errors import BadInput
from memlake.warehouse.identity import canonical, sha256
from memlake.warehouse.json_files import json_object
from memlake.warehouse.models import hub
from memlake.warehouse.models.registry import ModelSpec
from memlake.warehouse.models.tokenizer import load_tokenizer

from . import config, weights
from .conditions import Condition
from .config import Config

# Entries under which a config.json says how its weights are quantized
QUANTIZED = ("quantization_config", "compression_config", "quantization")


@dataclass(frozen=True)
class Identity:
    """A checkpoint's columns of `models` that say which one it is."""

    weights_digest: str
    checkpoint_digest: str  # of the weights, and of what config and architecture say that is not a default
    config: str  # JSON: `entries` of config.json that may decide rows, `version` of our code, `bos` and `eos` tokens
    architecture: str


def identify(spec: ModelSpec) -> Identity:
    """Read a checkpoint's identity from its files; raises `BadInput`."""
    files = weights.fetch(spec)
    own = read_config(spec, files)
    entries, version = config.kept(own.stated), parts(own.family).version
    digest = weights.digest(files.weights)
    decides = {
        "weights": digest,
        "architecture": own.model_type,
        "version": version,
        "config": config.not_default(entries),
    }
    said = {"entries": entries, "version": version}
    said |= {"bos": load_tokenizer(spec).bos_id, "eos": end_tokens(spec, own)}
    return Identity(
        weights_digest=digest,
        checkpoint_digest=sha256([canonical(decides).encode()]),
        config=canonical(said),
        architecture=own.model_type,
    )


def changes(before: str, now: str, condition: Condition | None) -> list[str]:
    """How a checkpoint differs from what was recorded of it (`Identity.config` both), as far as rows depend on it.
    Special tokens count where the condition depends on them."""
    if before == now:
        return []
    old, new = json.loads(before), json.loads(now)
    was, is_ = config.resolved(old["entries"], new["entries"])
    was["memlake's code for it"], is_["memlake's code for it"] = old["version"], new["version"]
    if condition and condition.bos:
        was["BOS token"], is_["BOS token"] = old["bos"], new["bos"]
    if condition and condition.no_eos:
        was["EOS tokens"], is_["EOS tokens"] = old["eos"], new["eos"]
    keys = [key for key in sorted({*was, *is_}) if was.get(key) != is_.get(key)]
    return [f"{key} was {was.get(key)!r}, now {is_.get(key)!r}" for key in keys]


def read_config(spec: ModelSpec, files: weights.Files) -> Config:
    """The checkpoint's config. Raises `BadInput`, also for a quantized checkpoint: its parameters could not be counted,
    nor its blocks be run one by one."""
    path = files.folder / "config.json"
    entries, family = config.stated(path, spec.location)
    how = next((entries[key] for key in QUANTIZED if entries.get(key) is not None), None)
    if isinstance(how, dict):
        how = how.get("quant_method", "see its config.json")
    if how or (how := weights.packed(files.weights)):
        raise BadInput(
            f"{spec.location} is quantized ({how}): memlake measures whole weights only,"
            " so give it the checkpoint that this one was made from"
        )
    return config.read(path, entries, family)


def end_tokens(spec: ModelSpec, own: Config) -> tuple[int, ...]:
    """The ids that `generate` takes for end-of-sequence: those of generation_config.json, else of config.json."""
    path = hub.find(spec, "generation_config.json")
    ids = json_object(path).get("eos_token_id") if path else None
    if ids is None:
        return own.end_tokens
    return tuple(ids) if isinstance(ids, list) else (ids,)
