"""GPT-Neo: absolute positions, every second block attends locally (Black et al. 2021, doi 10.5281/zenodo.5297715)."""

from . import SUMMARY, Norms, Parts
from ._derived import ATTENTION_LAYERS

PARTS = Parts(
    model_type="gpt_neo",
    blocks="h",
    norm="ln_f",
    attention="attn",
    values="attention.v_proj",
    output="attention.out_proj",
    norms=Norms("ln_1", "ln_2"),
    sees="window_size",
    kernels=("eager",),
    defaults={
        "vocab_size": 50257,
        "max_position_embeddings": 2048,
        "hidden_size": 2048,
        "num_layers": 24,
        "num_heads": 16,
        "intermediate_size": None,
        "window_size": 256,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-05,
        "tie_word_embeddings": True,
    },
    optional={"intermediate_size": int},
    derived=(ATTENTION_LAYERS,),
    carried=SUMMARY,
    names={"num_attention_heads": "num_heads", "num_hidden_layers": "num_layers"},
    heads="num_heads",
    end=50256,
)
