"""GPT-Neo: absolute positions, every second block attends locally (Black et al. 2021, doi 10.5281/zenodo.5297715)."""

from . import Parts

PARTS = Parts(model_type="gpt_neo", window="window_size", kernels=("eager",))
