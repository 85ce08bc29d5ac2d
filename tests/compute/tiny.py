"""Tiny checkpoints of the seven architectures, and windows that are partly memorized by them."""

from __future__ import annotations

import numpy as np
import torch
from transformers import (
    GPTBigCodeConfig,
    GPTBigCodeForCausalLM,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    Olmo3Config,
    Olmo3ForCausalLM,
    OlmoConfig,
    OlmoForCausalLM,
    PreTrainedModel,
)

from memlake.compute.families import parts, sees
from memlake.compute.models.checkpoint import Checkpoint
from memlake.compute.models.conditions import Condition

VOCAB, WIDTH, LAYERS, HEADS, POSITIONS = 97, 32, 2, 4, 96
# Every id a special token could have is inside the vocabulary, and EOS is a token that the models do produce: decoding
# must go on after it.
IDS = {"bos_token_id": 0, "eos_token_id": 5, "pad_token_id": 5}


def config(family: str, see: int = 256):
    """A small config of the family; its local or sliding blocks, if it has such, see `see` tokens."""
    llama = {
        "vocab_size": VOCAB,
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "max_position_embeddings": POSITIONS,
        "initializer_range": 0.5,
        **IDS,
    }
    if family == "pythia":
        return GPTNeoXConfig(**llama, attention_dropout=0.0, hidden_dropout=0.0)
    if family == "gpt_neo":
        return GPTNeoConfig(
            vocab_size=VOCAB,
            hidden_size=WIDTH,
            num_layers=LAYERS,
            num_heads=HEADS,
            max_position_embeddings=POSITIONS,
            window_size=see,
            attention_types=[[["global", "local"], LAYERS // 2]],
            initializer_range=0.5,
            **IDS,
        )
    if family == "starcoder":
        return GPTBigCodeConfig(
            vocab_size=VOCAB,
            n_embd=WIDTH,
            n_layer=LAYERS,
            n_head=HEADS,
            n_positions=POSITIONS,
            multi_query=True,
            initializer_range=0.5,
            **IDS,
        )
    if family == "open_llama":
        return LlamaConfig(**llama)
    if family == "olmo":
        return OlmoConfig(**llama, clip_qkv=2.0)
    if family == "olmo2":
        return Olmo2Config(**llama, num_key_value_heads=2)
    return Olmo3Config(
        **llama, num_key_value_heads=2, sliding_window=see, layer_types=["sliding_attention", "full_attention"]
    )


CLASSES = {
    "pythia": GPTNeoXForCausalLM,
    "gpt_neo": GPTNeoForCausalLM,
    "open_llama": LlamaForCausalLM,
    "starcoder": GPTBigCodeForCausalLM,
    "olmo": OlmoForCausalLM,
    "olmo2": Olmo2ForCausalLM,
    "olmo3": Olmo3ForCausalLM,
}
FAMILIES = sorted(CLASSES)


def build(family: str, see: int = 256, attention: str | None = None, seed: int = 0) -> PreTrainedModel:
    """A model with random weights, large enough that its best logits stand apart."""
    torch.manual_seed(seed)
    settings = config(family, see)
    settings._attn_implementation = attention or parts(family).kernels[0]
    return CLASSES[family](settings).eval().requires_grad_(False)


def checkpoint(family: str, see: int = 256, attention: str | None = None, bos: bool = False, **kwargs) -> Checkpoint:
    model = build(family, see, attention, **kwargs)
    condition = Condition(str(model.dtype).removeprefix("torch."), model.config._attn_implementation, bos)
    return Checkpoint(family, model, POSITIONS, sees(family, model.config), VOCAB, condition)


def generated(model: PreTrainedModel, prompt: np.ndarray, n: int) -> np.ndarray:
    """n tokens of plain greedy generation of one prompt alone: EOS ordinary, no padding, no generation_config."""
    out = model.generate(
        torch.from_numpy(prompt)[None],
        do_sample=False,
        min_new_tokens=n,
        max_new_tokens=n,
        eos_token_id=None,
        pad_token_id=0,
    )
    return out[0, len(prompt) :].numpy()


def windows(model: PreTrainedModel, rows: int, prefix: tuple[int, int], n: tuple[int, int], bos: int | None = None):
    """Random prompts with continuations that the model partly reproduces: (tokens, prefix lengths, what it generates).

    The continuation is what the model generates; one row in four stays so, in the others one token is replaced, at the
    first position or later. Lengths are
    drawn from the ranges (inclusive).
    """
    rng = np.random.default_rng(1)
    tokens, prefixes, expected = [], [], []
    for i in range(rows):
        prompt = rng.integers(1, VOCAB, rng.integers(prefix[0], prefix[1] + 1))
        start = prompt if bos is None else np.concatenate([[bos], prompt])
        made = generated(model, start, int(rng.integers(n[0], n[1] + 1)))
        rest = made.copy()
        if i % 4:
            at = 0 if i % 8 == 1 else int(rng.integers(1, min(31, len(made))))
            rest[at] = (made[at] + 1) % VOCAB
        tokens.append(np.concatenate([prompt, rest]))
        prefixes.append(len(prompt))
        expected.append(made)
    return tokens, np.array(prefixes), expected
