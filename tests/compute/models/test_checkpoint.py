"""Loading and describing checkpoints, and the digest of their weights."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
import torch
from safetensors.torch import load_file, save_file

from memlake.compute.models import checkpoint, weights
from memlake.compute.models.checkpoint import ModelRow, condition_of, describe, load
from memlake.compute.models.conditions import Condition
from memlake.tests.compute.small_lake import save
from memlake.tests.compute.tiny import FAMILIES, HEADS, LAYERS, VOCAB, WIDTH
from memlake.warehouse import schema
from memlake.warehouse.errors import BadInput
from memlake.warehouse.models.registry import resolve


def digest(folder) -> str:
    return weights.digest(weights.fetch(resolve(str(folder))).weights)


def test_a_row_of_models_has_the_columns_of_the_table():
    assert [f.name for f in fields(ModelRow)] == schema.table("models").schema.names


@pytest.mark.parametrize("family", FAMILIES)
def test_describe_counts_what_is_in_the_model(tmp_path, family):
    model = save(tmp_path / family, family)
    row = describe(resolve(str(tmp_path / family)), "words")
    assert row.n_params == sum(p.numel() for p in model.parameters())
    assert (row.family, row.model) == (family, family)
    assert (row.n_layers, row.n_heads, row.hidden_size, row.vocab_size) == (LAYERS, HEADS, WIDTH, VOCAB)
    assert row.n_kv_heads == {"starcoder": 1, "olmo2": 2, "olmo3": 2}.get(family, HEADS)
    assert row.base_condition == ("float32-eager" if family == "gpt_neo" else "float32-sdpa")
    assert row.miniature


def test_tied_parameters_count_once(tmp_path):
    # GPT-Neo ties embedding and unembedding: 97 x 32 of them are in the sum once.
    model = save(tmp_path / "m", "gpt_neo")
    row = describe(resolve(str(tmp_path / "m")), "words")
    names = {name: p.numel() for name, p in model.named_parameters(remove_duplicate=False)}
    assert sum(names.values()) - row.n_params == VOCAB * WIDTH


def test_digest_is_of_the_tensors(tmp_path):
    model = save(tmp_path / "one")
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    (tmp_path / "old").mkdir()
    model.config.save_pretrained(tmp_path / "old")
    torch.save(load_file(tmp_path / "one" / "model.safetensors"), tmp_path / "old" / "pytorch_model.bin")
    assert digest(tmp_path / "one") == digest(tmp_path / "shards") == digest(tmp_path / "old")
    model.get_input_embeddings().weight[3, 3] += 1e-3
    model.save_pretrained(tmp_path / "other")
    assert digest(tmp_path / "other") != digest(tmp_path / "one")


def test_bin_loads_as_safetensors_do(tmp_path):
    model = save(tmp_path / "new")
    (tmp_path / "old").mkdir()
    model.config.save_pretrained(tmp_path / "old")
    torch.save(model.state_dict(), tmp_path / "old" / "pytorch_model.bin")
    ids = torch.arange(8)[None]
    want = model(ids).logits
    for name in ("new", "old"):
        loaded = load(resolve(str(tmp_path / name)), Condition("float32", "sdpa"), "cpu")
        torch.testing.assert_close(loaded.model(ids).logits, want)


def test_default_dtype_is_the_stored_one(tmp_path):
    from memlake.tests.compute.tiny import build

    build("olmo").half().save_pretrained(tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    (tmp_path / "m" / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16", "torch_dtype": "bfloat16"}))
    assert condition_of(resolve(str(tmp_path / "m"))).dtype == "float16"
    for key in ("dtype", "torch_dtype"):
        config.pop(key, None)
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    assert condition_of(resolve(str(tmp_path / "m"))).dtype == "float16"
    assert condition_of(resolve(str(tmp_path / "m")), dtype="bfloat16", bos=True).name == "bfloat16-sdpa-bos"


def test_of_several_dtypes_that_of_most_weights(tmp_path):
    save(tmp_path / "m")
    path = tmp_path / "m" / "model.safetensors"
    tensors = load_file(path)
    total = sum(t.numel() for t in tensors.values())
    half, left = {}, total  # three weights in five as bfloat16, which are fewer bytes
    for name, t in sorted(tensors.items(), key=lambda item: -item[1].numel()):
        half[name] = t.bfloat16() if left > 0.4 * total else t
        left -= t.numel() if left > 0.4 * total else 0
    count = {d: sum(t.numel() for t in half.values() if t.dtype == d) for d in (torch.bfloat16, torch.float32)}
    assert 4 * count[torch.float32] > 2 * count[torch.bfloat16] > 2 * count[torch.float32]
    save_file(half, path, {"format": "pt"})
    assert condition_of(resolve(str(tmp_path / "m"))).dtype == "bfloat16"


QUANTIZATIONS = [  # (entry of config.json, what the line says)
    ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, "bitsandbytes"),
    ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "gptq"),
    ({"quantization_config": {"quant_method": "awq"}}, "awq"),
    ({"quantization_config": {"quant_method": "fp8"}}, "fp8"),
    ({"quantization_config": {"quant_method": "mxfp4"}}, "mxfp4"),
    ({"quantization_config": {"load_in_8bit": True}}, "see its config.json"),
    ({"quantization_config": {}}, "see its config.json"),
    ({"compression_config": {"quant_method": "compressed-tensors"}}, "compressed-tensors"),
    ({"quantization": {"group_size": 64, "bits": 4}}, "see its config.json"),
]


@pytest.mark.parametrize(("entry", "how"), QUANTIZATIONS)
def test_a_quantized_checkpoint_is_one_line(tmp_path, entry, how):
    save(tmp_path / "m")
    path = tmp_path / "m" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entry))
    spec = resolve(str(tmp_path / "m"))
    for ask in (condition_of, lambda s: describe(s, "words"), lambda s: load(s, Condition("float32", "sdpa"), "cpu")):
        with pytest.raises(BadInput, match=rf"m is quantized \({how}\): memlake measures whole weights only") as error:
            ask(spec)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32, torch.float8_e4m3fn])
@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_quantized_weights_that_no_config_tells_of(tmp_path, dtype, form):
    save(tmp_path / "m")
    path = tmp_path / "m" / "model.safetensors"
    name = "gpt_neox.layers.0.mlp.dense_h_to_4h.weight"
    tensors = load_file(path)
    tensors["gpt_neox.layers.0.attention.bias"] = torch.ones(1, 1, 8, 8, dtype=torch.uint8)  # a mask, as of old

    def put(tensors: dict) -> None:
        if form == "safetensors":
            save_file(tensors, path, {"format": "pt"})
        else:
            path.unlink(missing_ok=True)
            torch.save(tensors, tmp_path / "m" / "pytorch_model.bin")

    put(tensors)
    assert condition_of(resolve(str(tmp_path / "m"))).dtype == "float32"
    put(tensors | {name: tensors[name].to(dtype)})
    with pytest.raises(BadInput, match=rf"is quantized \({name} as .*8|is quantized \({name} as .*32"):
        condition_of(resolve(str(tmp_path / "m")))


@pytest.mark.parametrize(
    ("key", "value", "message"), [("dtype", "int8", "float32, float16"), ("attention", "sdpa", "eager")]
)
def test_what_it_cannot_run_with(tmp_path, key, value, message):
    save(tmp_path / "m", "gpt_neo")
    with pytest.raises(BadInput, match=message):
        condition_of(resolve(str(tmp_path / "m")), **{key: value})


def test_a_foreign_architecture_lists_ours(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    with pytest.raises(BadInput, match="architecture 'bert'") as error:
        condition_of(resolve(str(tmp_path)))
    assert all(family in str(error.value) for family in FAMILIES)
    assert "\n" not in str(error.value)


def test_missing_weights_are_one_line(tmp_path):
    save(tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").unlink()
    with pytest.raises(BadInput, match="holds no weights"):
        weights.fetch(resolve(str(tmp_path / "m")))
    (tmp_path / "m" / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-1.safetensors"}}')
    with pytest.raises(BadInput, match=r"incomplete: it lacks model-1\.safetensors"):
        weights.fetch(resolve(str(tmp_path / "m")))


def test_a_weight_that_is_not_there(tmp_path):
    save(tmp_path / "m")
    path = tmp_path / "m" / "model.safetensors"
    tensors = load_file(path)
    tensors.pop("gpt_neox.layers.0.mlp.dense_h_to_4h.weight")
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(BadInput, match="lacks weights"):
        load(resolve(str(tmp_path / "m")), Condition("float32", "sdpa"), "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_no_cuda_is_one_line(tmp_path):
    save(tmp_path / "m")
    with pytest.raises(BadInput, match="no CUDA device"):
        load(resolve(str(tmp_path / "m")), Condition("float32", "sdpa"), "cuda")


HEADERS = [
    b"\xff" * 64,
    (2).to_bytes(8, "little") + b"[]",
    (8).to_bytes(8, "little") + b'{"a": 1}',
    (9).to_bytes(8, "little") + b'{"a": {}}',
    b"short",
]


@pytest.mark.parametrize("data", HEADERS)
def test_damaged_safetensors_are_one_line(tmp_path, data):
    save(tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").write_bytes(data)
    with pytest.raises(BadInput, match=r"model\.safetensors is no file of weights, or is damaged") as error:
        digest(tmp_path / "m")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("data", [b"", b"nonsense", b"PK\x03\x04nonsense"])
def test_damaged_bin_is_one_line(tmp_path, data):
    save(tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").unlink()
    (tmp_path / "m" / "pytorch_model.bin").write_bytes(data)
    with pytest.raises(BadInput, match=r"pytorch_model\.bin is no file of weights, or is damaged"):
        digest(tmp_path / "m")


def test_a_damaged_index_is_one_line(tmp_path):
    save(tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").unlink()
    for text in ("{", "[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 1, "b": "c"}}'):
        (tmp_path / "m" / "model.safetensors.index.json").write_text(text)
        with pytest.raises(BadInput, match="is no index of weights"):
            weights.fetch(resolve(str(tmp_path / "m")))


def test_no_stored_dtype_is_one_line(tmp_path):
    save(tmp_path / "m")
    save_file({"a": torch.zeros(3, dtype=torch.int8)}, tmp_path / "m" / "model.safetensors")
    with pytest.raises(BadInput, match="no weights of a known dtype"):
        weights.stored_dtype((tmp_path / "m" / "model.safetensors",))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ({"model_type": ["gpt_neox"]}, "is of the architecture"),
        ({"hidden_size": "wide"}, "is no config of pythia"),
        ({"hidden_size": 2 * WIDTH}, r"does not fit its config\.json: .* by the config \[97, 64\]"),
        ({"hidden_act": "nope"}, "describes no pythia model"),
    ],
)
def test_a_malformed_config_is_one_line(tmp_path, entries, message):
    save(tmp_path / "m")
    path = tmp_path / "m" / "config.json"
    if isinstance(entries, dict):
        entries = json.dumps(json.loads(path.read_text()) | entries)
    path.write_text(entries)
    spec = resolve(str(tmp_path / "m"))
    with pytest.raises(BadInput, match=message) as error:
        describe(spec, "words")
        load(spec, Condition("float32", "sdpa"), "cpu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("free", "reads"), [(0, False), (1 << 40, True)])
def test_a_model_too_large_for_the_gpu_is_one_line(tmp_path, monkeypatch, free, reads):
    model = save(tmp_path / "m")
    read = []

    def full(self, device):
        read.append(device)
        raise torch.cuda.OutOfMemoryError

    monkeypatch.setattr(checkpoint, "pick_device", lambda device: "cuda")
    monkeypatch.setattr(checkpoint, "free_memory", lambda device: free)
    monkeypatch.setattr(type(model), "to", full)
    with pytest.raises(BadInput, match="m does not fit this GPU: use --dtype bfloat16"):
        load(resolve(str(tmp_path / "m")), Condition("float32", "sdpa"), "cuda")
    assert bool(read) == reads


def test_parameters_are_counted_without_reading_them(tmp_path):
    model = save(tmp_path / "m")
    files = weights.fetch(resolve(str(tmp_path / "m"))).weights
    assert weights.count(files) == sum(p.numel() for p in model.parameters())
