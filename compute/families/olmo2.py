"""OLMo 2: norms after each branch, and on queries and keys (OLMo team 2024, arXiv 2501.00656)."""

from . import OLMO, POST_NORMS, Parts
from ._derived import KEY_VALUE_HEADS, rope

PARTS = Parts(
    model_type="olmo2",
    norms=POST_NORMS,
    defaults=OLMO | {"rms_norm_eps": 1e-05},
    derived=(KEY_VALUE_HEADS, rope()),
    end=50279,
)
