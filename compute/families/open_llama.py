"""Llama (Touvron et al. 2023, arXiv 2302.13971), as trained by OpenLLaMA."""

from . import LLAMA, Parts
from ._derived import HEAD_DIM, KEY_VALUE_HEADS, rope

PARTS = Parts(
    model_type="llama",
    defaults=LLAMA | {"vocab_size": 32000, "rms_norm_eps": 1e-06, "pretraining_tp": 1, "mlp_bias": False},
    derived=(KEY_VALUE_HEADS, HEAD_DIM, rope()),
)
