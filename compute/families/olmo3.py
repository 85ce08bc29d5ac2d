"""OLMo 3: as OLMo 2, with a sliding window in three of four blocks (OLMo team 2025, arXiv 2512.13961)."""

from . import OLMO, POST_NORMS, Parts
from ._derived import KEY_VALUE_HEADS, LAYER_TYPES, ROPE_BY_KIND

PARTS = Parts(
    model_type="olmo3",
    norms=POST_NORMS,
    sees="sliding_window",
    defaults=OLMO | {"rms_norm_eps": 1e-05, "sliding_window": 4096},
    optional={"sliding_window": int},
    derived=(KEY_VALUE_HEADS, LAYER_TYPES, ROPE_BY_KIND),
    end=50279,
)
