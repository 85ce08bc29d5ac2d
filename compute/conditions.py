"""Conditions: everything besides model and sequence that decides a row of `matches`."""

from __future__ import annotations

from dataclasses import dataclass

TOP_K = 40  # Hayes et al. 2024, arXiv 2410.19482: extraction by sampling from the 40 likeliest tokens
TEMPERATURE = 1.0


@dataclass(frozen=True)
class Condition:
    """One condition; `name` is what rows call it."""

    dtype: str  # float32, float16 or bfloat16
    attention: str  # sdpa or eager
    bos: bool = False  # put the beginning-of-sequence token first

    @property
    def name(self) -> str:
        return f"{self.dtype}-{self.attention}" + ("-bos" if self.bos else "")

    def row(self) -> dict:
        """Its row of `conditions`."""
        return {
            "condition": self.name,
            "dtype": self.dtype,
            "attention": self.attention,
            "noise": 0.0,
            "bos": self.bos,
            "top_k": TOP_K,
            "temperature": TEMPERATURE,
        }
