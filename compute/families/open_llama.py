"""Llama (Touvron et al. 2023, arXiv 2302.13971), as trained by OpenLLaMA."""

from . import Parts

PARTS = Parts(model_type="llama")
