"""GPT-BigCode: absolute positions, one key-value head (Li et al. 2023, arXiv 2305.06161)."""

from . import SUMMARY, Norms, Parts
from ._derived import MULTI_QUERY

RUNNER = {  # of the code that served it
    *("inference_runner", "max_batch_size", "max_sequence_length", "pad_key_length", "pre_allocate_kv_cache"),
    "validate_runner_input",
}

PARTS = Parts(
    model_type="gpt_bigcode",
    blocks="h",
    norm="ln_f",
    attention="attn",
    values="c_attn",
    output="c_proj",
    norms=Norms("ln_1", "ln_2"),
    multi_query="multi_query",
    defaults={
        "vocab_size": 50257,
        "n_positions": 1024,
        "n_embd": 768,
        "n_layer": 12,
        "n_head": 12,
        "n_inner": None,
        "activation_function": "gelu_pytorch_tanh",
        "layer_norm_epsilon": 1e-05,
        "scale_attn_weights": True,
        "attention_softmax_in_fp32": True,
        "scale_attention_softmax_in_fp32": True,
        "multi_query": True,
        "tie_word_embeddings": True,
    },
    optional={"n_inner": int},
    derived=(MULTI_QUERY,),
    carried=SUMMARY | RUNNER,
    names={
        "hidden_size": "n_embd",
        "max_position_embeddings": "n_positions",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    },
    width="n_embd",
    heads="n_head",
    positions="n_positions",
    end=50256,
)
