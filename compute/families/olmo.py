"""OLMo 1: norms without weights, queries, keys and values clipped (Groeneveld et al. 2024, arXiv 2402.00838)."""

from . import OLMO, Parts
from ._derived import KEY_VALUE_HEADS, rope

PARTS = Parts(
    model_type="olmo",
    clip="clip_qkv",
    defaults=OLMO | {"clip_qkv": None},
    optional={"clip_qkv": float},
    derived=(KEY_VALUE_HEADS, rope()),
    end=50279,
)
