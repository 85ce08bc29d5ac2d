"""GPT-Neo: absolute positions, every second block attends locally (Black et al. 2021, doi 10.5281/zenodo.5297715)."""

from . import Norms, Parts

PARTS = Parts(
    model_type="gpt_neo",
    blocks="h",
    norm="ln_f",
    attention="attn",
    values="attention.v_proj",
    output="attention.out_proj",
    norms=Norms("ln_1", "ln_2"),
    window="window_size",
    kernels=("eager",),
)
