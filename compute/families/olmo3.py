"""OLMo 3: as OLMo 2, with a sliding window in three of four blocks (OLMo team 2025, arXiv 2512.13961)."""

from . import POST_NORMS, Parts

PARTS = Parts(model_type="olmo3", norms=POST_NORMS, window="sliding_window")
