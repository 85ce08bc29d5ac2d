"""Conditions: everything besides model and sequence that decides a row of `matches`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

TOP_K = 40  # Hayes et al. 2024, arXiv 2410.19482: extraction by sampling from the 40 likeliest tokens
TEMPERATURE = 1.0


@dataclass(frozen=True)
class Condition:
    """One condition; `name` is what rows call it."""

    dtype: str  # float32, float16 or bfloat16
    attention: str  # sdpa or eager
    bos: bool = False  # put the beginning-of-sequence token first
    noise: float = 0.0  # strength: standard deviation of the noise / RMS of the hidden state
    noise_seed: int | None = None
    noise_layer: int | None = None  # entry of hidden_states that it is added to
    noise_scope: str | None = None  # over what the RMS is taken
    no_eos: bool = False  # never decide for the end-of-sequence token, as under `generate(min_length=...)`

    @property
    def name(self) -> str:
        special = ("-bos" if self.bos else "") + ("-noeos" if self.no_eos else "")
        noise = f"-noise{self.noise}-{self.noise_scope}-layer{self.noise_layer}-seed{self.noise_seed}"
        return f"{self.dtype}-{self.attention}{special}" + (noise if self.noise else "")

    def noisy(self, strength: float, seed: int, layer: int, scope: str) -> Condition:
        """This condition with noise: see `noise.Noise`."""
        return replace(self, noise=strength, noise_seed=seed, noise_layer=layer, noise_scope=scope)

    def row(self) -> dict[str, Any]:
        """Its row of `conditions`."""
        return {
            "condition": self.name,
            "dtype": self.dtype,
            "attention": self.attention,
            "noise": self.noise,
            "noise_seed": self.noise_seed,
            "noise_layer": self.noise_layer,
            "noise_scope": self.noise_scope,
            "bos": self.bos,
            "no_eos": self.no_eos or None,  # older rows know nothing of it
            "top_k": TOP_K,
            "temperature": TEMPERATURE,
        }
