"""What commands owe the shell: names that complete, and a `--lake` that may stand before the command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import typer

from memlake.warehouse import shelf


def on_shelf(package: str, suffix: str = ".py") -> Callable[[str], list[str]]:
    """Completes the names of things on a shelf."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in shelf.names(package, suffix) if name.startswith(incomplete)]

    return complete


def of_registry(incomplete: str) -> list[str]:
    """Completes the names of models; folders, the shell completes by itself where no name fits."""
    from memlake.warehouse.models.registry import models

    return [name for name in models() if name.startswith(incomplete)]


def before_or_behind(context: typer.Context, lake: Path) -> Path:
    """The lake that is named behind the command, else the one before it, else the environment's, else the default."""
    before: Path | None = context.find_root().params.get("lake")
    source = context.get_parameter_source("lake")
    return lake if before is None or (source and source.name == "COMMANDLINE") else before
