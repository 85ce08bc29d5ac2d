"""GPT-NeoX: attention and MLP in parallel (Biderman et al. 2023, arXiv 2304.01373)."""

from . import Parts

PARTS = Parts(
    model_type="gpt_neox",
    norm="final_layer_norm",
    attention="attention",
    values="query_key_value",
    output="dense",
    parallel="use_parallel_residual",
)
