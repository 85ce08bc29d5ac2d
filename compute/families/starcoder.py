"""GPT-BigCode: absolute positions, one key-value head (Li et al. 2023, arXiv 2305.06161)."""

from . import Norms, Parts

PARTS = Parts(
    model_type="gpt_bigcode",
    blocks="h",
    norm="ln_f",
    attention="attn",
    values="c_attn",
    output="c_proj",
    norms=Norms("ln_1", "ln_2"),
    multi_query="multi_query",
)
