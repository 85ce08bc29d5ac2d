"""GPT-NeoX: attention and MLP in parallel (Biderman et al. 2023, arXiv 2304.01373)."""

from . import Parts
from ._derived import rope

PARTS = Parts(
    model_type="gpt_neox",
    norm="final_layer_norm",
    attention="attention",
    values="query_key_value",
    output="dense",
    parallel="use_parallel_residual",
    defaults={
        "vocab_size": 50432,
        "hidden_size": 6144,
        "num_hidden_layers": 44,
        "num_attention_heads": 64,
        "intermediate_size": 24576,
        "hidden_act": "gelu",
        "max_position_embeddings": 2048,
        "layer_norm_eps": 1e-05,
        "tie_word_embeddings": False,
        "use_parallel_residual": True,
        "attention_bias": True,
    },
    derived=(rope(name="rotary_emb_base", part=0.25),),
)
