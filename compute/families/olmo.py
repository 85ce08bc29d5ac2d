"""OLMo 1: norms without weights, queries, keys and values clipped (Groeneveld et al. 2024, arXiv 2402.00838)."""

from . import Parts

PARTS = Parts(model_type="olmo", clip="clip_qkv")
