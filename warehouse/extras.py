"""Packages that come with `memlake[compute]`: what fills a lake needs them, and what asks it does not."""

from __future__ import annotations

from importlib.util import find_spec

from .errors import BadInput

COMPUTE = {  # as they are imported
    "datasets",
    "google",  # protobuf
    "great_expectations",
    "huggingface_hub",
    "safetensors",
    "sentencepiece",
    "tokenizers",
    "torch",
    "transformers",
}


def need(package: str) -> None:
    """Raises `BadInput` where the package is not installed, before work is done in vain."""
    if find_spec(package) is None:
        raise BadInput(_line(package))


def lacking(error: ModuleNotFoundError) -> str | None:
    """The line for a package of `memlake[compute]` that is not installed; None for another."""
    package = (error.name or "").partition(".")[0]
    return _line(package) if package in COMPUTE else None


def _line(package: str) -> str:
    return f"this needs {package}: pip install 'memlake[compute]'"
