"""What is read of a config.json without transformers is what transformers makes of it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from memlake.compute.families import Parts, parts
from memlake.compute.models import config
from memlake.tests.compute import tiny
from memlake.warehouse.identity import canonical

LOCAL = ["global", "local"]
KINDS = ["sliding_attention"] * 3 + ["full_attention"]
# Configs as they are on the hub, in the spelling of the transformers of their day
OLD = {
    "pythia": {
        "architectures": ["GPTNeoXForCausalLM"], "bos_token_id": 0, "eos_token_id": 0, "hidden_act": "gelu",
        "hidden_size": 512, "initializer_range": 0.02, "intermediate_size": 2048, "layer_norm_eps": 1e-05,
        "max_position_embeddings": 2048, "num_attention_heads": 8, "num_hidden_layers": 6, "rotary_emb_base": 10000,
        "rotary_pct": 0.25, "tie_word_embeddings": False, "torch_dtype": "float16", "transformers_version": "4.24.0",
        "use_cache": True, "use_parallel_residual": True, "vocab_size": 50304,
    },
    "gpt_neo": {
        "activation_function": "gelu_new", "attention_dropout": 0, "attention_layers": LOCAL * 6,
        "attention_types": [[LOCAL, 6]], "bos_token_id": 50256, "embed_dropout": 0, "eos_token_id": 50256,
        "gradient_checkpointing": False, "hidden_size": 768, "initializer_range": 0.02, "intermediate_size": None,
        "layer_norm_epsilon": 1e-05, "max_position_embeddings": 2048, "num_heads": 12, "num_layers": 12,
        "resid_dropout": 0, "summary_activation": None, "summary_first_dropout": 0.1, "summary_proj_to_labels": True,
        "summary_type": "cls_index", "summary_use_proj": True, "vocab_size": 50257, "window_size": 256,
    },
    "open_llama": {
        "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 3200, "initializer_range": 0.02,
        "intermediate_size": 8640, "max_position_embeddings": 2048, "num_attention_heads": 32, "num_hidden_layers": 26,
        "pad_token_id": 0, "rms_norm_eps": 1e-06, "tie_word_embeddings": False, "torch_dtype": "float16",
        "vocab_size": 32000,
    },
    "starcoder": {
        "activation_function": "gelu_pytorch_tanh", "attention_softmax_in_fp32": True, "attn_pdrop": 0.1,
        "bos_token_id": 0, "embd_pdrop": 0.1, "eos_token_id": 0, "inference_runner": 0, "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-05, "max_batch_size": None, "max_sequence_length": None, "multi_query": True,
        "n_embd": 2048, "n_head": 16, "n_inner": 8192, "n_layer": 24, "n_positions": 8192, "pad_key_length": True,
        "pre_allocate_kv_cache": False, "resid_pdrop": 0.1, "scale_attention_softmax_in_fp32": True,
        "scale_attn_weights": True, "summary_type": "cls_index", "validate_runner_input": True, "vocab_size": 49152,
    },
    "olmo": {
        "attention_bias": False, "attention_dropout": 0.0, "clip_qkv": None, "eos_token_id": 50279,
        "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 8192,
        "max_position_embeddings": 2048, "num_attention_heads": 16, "num_hidden_layers": 16, "num_key_value_heads": 16,
        "pad_token_id": 1, "rope_scaling": None, "rope_theta": 10000.0, "tie_word_embeddings": True,
        "torch_dtype": "float32", "vocab_size": 50304,
    },
    "olmo2": {
        "attention_bias": False, "eos_token_id": 100257, "hidden_act": "silu", "hidden_size": 2048,
        "intermediate_size": 8192, "max_position_embeddings": 4096, "num_attention_heads": 16, "num_hidden_layers": 16,
        "num_key_value_heads": 16, "pad_token_id": 100277, "rms_norm_eps": 1e-06, "rope_scaling": None,
        "rope_theta": 500000, "tie_word_embeddings": False, "torch_dtype": "float32", "vocab_size": 100352,
    },
    "olmo3": {
        "attention_bias": False, "eos_token_id": [100257, 100265], "hidden_act": "silu", "hidden_size": 4096,
        "intermediate_size": 11008, "layer_types": KINDS * 8, "max_position_embeddings": 8192,
        "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32, "pad_token_id": 100277,
        "rms_norm_eps": 1e-06, "rope_scaling": None, "rope_theta": 500000, "sliding_window": 4096,
        "tie_word_embeddings": False, "dtype": "bfloat16", "vocab_size": 100278,
    },
}  # fmt: skip
# Changes to any of them: values of other types, names, and kinds, and what they leave out
VALUES: list[Any] = [None, True, False, 0, 1, 3, 4, 8, 64, -1, 0.5, 1.0, 1e6, "gelu", "x", [], {}, [1], [[LOCAL, 2]]]
ROPES: list[Any] = [
    {"rope_type": "default", "rope_theta": 7.0},
    {"rope_type": "default", "rope_theta": 7, "partial_rotary_factor": 0.5},
    {"type": "default", "rope_theta": 7.0},
    {"rope_type": "linear", "factor": 2.0},
    {"full_attention": {"rope_type": "default", "rope_theta": 3.0}},
    {"full_attention": {"rope_type": "default"}, "sliding_attention": {"rope_theta": 9}},
    {"full_attention": None, "sliding_attention": {"rope_theta": 9.0}},
]
NAMES = [
    *("hidden_size", "num_attention_heads", "num_hidden_layers", "max_position_embeddings", "num_key_value_heads"),
    *("head_dim", "rope_theta", "rope_scaling", "rope_parameters", "partial_rotary_factor", "rotary_pct"),
    *("layer_types", "attention_types", "attention_layers", "n_positions", "num_heads", "sliding_window", "of_a_fork"),
    *("clip_qkv", "multi_query", "vocab_size", "tie_word_embeddings", "attention_bias", "mlp_bias", "n_inner"),
]


def stated(family: str) -> dict[str, Any]:
    return OLD[family] | {"model_type": parts(family).model_type}


def read(folder: Path) -> config.Config:
    path = folder / "config.json"
    return config.read(path, *config.stated(path, "m"))


def theirs(entries: dict[str, Any]) -> str | None:
    """What transformers makes of kept entries, None where it refuses them."""
    try:
        return canonical(config._resolved_by_transformers(entries))
    except Exception:
        return None


@pytest.mark.parametrize("family", OLD)
def test_configs_of_the_hub_and_of_today_are_read_without_transformers(family, tmp_path):
    tiny.config(family).save_pretrained(tmp_path)
    today = json.loads((tmp_path / "config.json").read_text())
    for found in (stated(family), today, {"model_type": parts(family).model_type}):
        plain = config._plain(config.kept(found))
        assert plain is not None and canonical(plain) == theirs(config.kept(found))


@pytest.mark.parametrize("family", OLD)
def test_where_it_is_read_without_transformers_it_is_what_transformers_reads(family):
    """Any entry changed to any value: what is refused, checked or derived otherwise is left to transformers."""
    draw = random.Random(family)
    plain = 0
    for _ in range(600):
        entries = config.kept(stated(family))
        for name in draw.sample([*entries, *NAMES], draw.choice((1, 1, 2))):
            if name == "model_type":
                continue
            if draw.random() < 0.3:
                entries.pop(name, None)
            else:
                entries[name] = draw.choice(ROPES if name.startswith("rope_") and draw.random() < 0.6 else VALUES)
        found = config._plain(entries)
        assert found is None or canonical(found) == theirs(entries), entries
        plain += found is not None
    assert 60 < plain < 540


@pytest.mark.parametrize("family", OLD)
@pytest.mark.parametrize("without", [(), ("eos_token_id",), ("vocab_size", "max_position_embeddings", "n_positions")])
def test_what_planning_asks_is_as_transformers_reads_it(family, without, tmp_path):
    entries = {key: value for key, value in stated(family).items() if key not in without}
    (tmp_path / "config.json").write_text(json.dumps(entries))
    ours, real = read(tmp_path), AutoConfig.from_pretrained(tmp_path)
    assert (ours.family, ours.model_type) == (family, real.model_type)
    assert (ours.vocab_size, ours.positions) == (real.vocab_size, real.max_position_embeddings)
    ends = real.eos_token_id
    assert ours.end_tokens == (tuple(ends) if isinstance(ends, list) else (ends,))
    assert ours.dtype == (None if real.dtype is None else str(real.dtype).removeprefix("torch."))


def test_what_tables_do_not_tell_is_read_by_transformers(tmp_path, monkeypatch):
    entries = stated("olmo3") | {"rope_scaling": {"rope_type": "linear", "factor": 2.0}, "max_position_embeddings": 77}
    (tmp_path / "config.json").write_text(json.dumps(entries))
    assert config._plain(config.kept(entries)) is None
    found = read(tmp_path)
    assert (found.positions, found.vocab_size, found.end_tokens) == (77, 100278, (100257, 100265))
    # an architecture whose file has no table of defaults
    bare = Parts(model_type="olmo3")
    monkeypatch.setattr(config, "parts", lambda family: bare)
    assert read(tmp_path) == found


def test_a_name_of_old_is_read(tmp_path):
    entries = {"model_type": "gpt_bigcode", "max_position_embeddings": 77, "eos_token_id": None}
    (tmp_path / "config.json").write_text(json.dumps(entries))
    ours, real = read(tmp_path), AutoConfig.from_pretrained(tmp_path)
    assert ours.positions == real.max_position_embeddings == 77
    assert ours.end_tokens == () and real.eos_token_id is None


PLAN = """
import sys
from memlake.compute.planning.request import Request
from memlake.compute.run import planned
from memlake.warehouse.lake import Lake

request = Request(models=(sys.argv[2],), corpora=("mine",))
print(planned(Lake.open(sys.argv[1]), "scoring", request)["state"].to_pylist())
print(sorted({"torch", "transformers"} & {name.partition(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize("known", [True, False])
def test_planning_imports_neither_torch_nor_transformers(known, tmp_path):
    from memlake.compute.planning.request import Request
    from memlake.compute.run import execute
    from memlake.tests.compute.small_lake import make, save

    model = save(tmp_path / "tiny")
    lake, *_ = make(tmp_path / "lake", model, tmp_path / "tiny")
    if known:
        execute(lake, "scoring", Request(models=(str(tmp_path / "tiny"),), corpora=("mine",), limit=5, device="cpu"))
    command = [sys.executable, "-c", PLAN, str(lake.path), str(tmp_path / "tiny")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    state = ["done", "to do"] if known else ["to do"]
    assert done.stdout.splitlines() == [str(state), "[]"], done.stderr
