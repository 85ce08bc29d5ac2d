"""OLMo 2: norms after each branch, and on queries and keys (OLMo team 2024, arXiv 2501.00656)."""

from . import POST_NORMS, Parts

PARTS = Parts(model_type="olmo2", norms=POST_NORMS)
