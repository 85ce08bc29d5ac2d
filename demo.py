"""The study in small: seven families of miniatures, trained here on text that every machine has, from corpus to report.

Written only in terms of the public parts: each step is what a command does, on the code that runs real checkpoints too.
Started again, it does only what is missing.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

from memlake.warehouse.errors import Conflict
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.register import register
from memlake.warehouse.show.terminal import DEFAULT_LAKE, finish, say
from memlake.warehouse.work.cells import published
from memlake.warehouse.work.cluster import cluster
from memlake.warehouse.work.runner import run_cells

TRAINED, CONTROL = "python_environment", "python_environment_held_out"
SHOWN = "python_environment_shown"  # the sampled windows of TRAINED, each as often as training showed it
CONTROL_MODEL = "mini-pythia-100k-control"
NAMED = "mini-open_llama-300k"  # whose tokenizer all are counted under as well, as A did with Llama 2's
INSIDE = {  # experiment, as it is by default: the corpora it is run on
    "prompt_compression": (TRAINED,),
    "noise": (TRAINED,),
    "layer_tokens": (TRAINED,),
    "head_ablation": (TRAINED,),
    "short_circuit": (TRAINED, CONTROL),
}


@dataclass(frozen=True)
class Extent:
    """How large the study is."""

    families: tuple[str, ...]
    sizes: tuple[str, ...]
    documents: int  # of each domain and corpus, at most
    anchors: int  # of each domain of the corpus that is trained on
    controls: int  # of each domain of the control corpus


FULL = Extent(
    families=("pythia", "gpt_neo", "open_llama", "starcoder", "olmo", "olmo2", "olmo3"),
    sizes=("100k", "300k", "1m"),
    documents=300,
    anchors=100,
    controls=250,
)
QUICK = replace(FULL, families=("pythia", "open_llama"), sizes=("100k", "300k"), anchors=70, controls=125)


def run(path: Path, *, quick: bool = False) -> None:
    """The whole study in the lake at `path`, which is made where it is missing; prints rates and the report's path.

    Exit code 1 where a cell failed. Raises `Conflict` where the lake holds the study of the other extent.
    """
    began = monotonic()
    lake = Lake.create(path)
    extent = QUICK if quick else FULL
    _refuse_another(lake, extent)
    with cluster():
        with step("text of this environment, for training and for control"):
            _corpora(lake, extent)
        with step("a tokenizer for each family, and the sequences that the models are asked about"):
            _sequences(lake, extent)
        with step("training the miniatures"):
            models = _miniatures(lake, extent)
        with step("scoring: which continuations does each model reproduce"):
            _measure(lake, "scoring", models, (TRAINED, CONTROL))
            _measure(lake, "scoring", [CONTROL_MODEL], (TRAINED,))
        with step("counts: how often does each text stand in the corpus, and in what training showed"):
            _counts(lake, models)
        with step("inside the largest model of each family (heads: of all): prompts, noise, layers, heads, blocks"):
            for experiment, corpora in INSIDE.items():
                chosen = models if experiment == "head_ablation" else largest(models)
                _measure(lake, experiment, chosen, corpora, extent.anchors)
    with step("the report"):
        from memlake.reports.page import write

        page = write(lake).path
    say(f"all of it took {monotonic() - began:.0f} s")
    _go_on(lake, page)


def _refuse_another(lake: Lake, extent: Extent) -> None:
    """The quick study trains on fewer anchors than the full one: its miniatures are others of the same name."""
    from memlake.compute.planning.sampled import sampled

    asked = [s for s in sampled(lake) if s.corpus == TRAINED and s.first_rank == 0]
    if asked and max(s.last_rank for s in asked) + 1 != extent.anchors and _trained(lake):
        raise Conflict(f"{lake.path} holds the other demo (quick or full): name another lake with --lake")


def _trained(lake: Lake) -> bool:
    """Has it a miniature already?"""
    from memlake.compute.miniatures.cells import MiniatureCell, MiniatureSettings

    return any(published(lake, MiniatureCell.EXPERIMENT, MiniatureSettings))


@contextmanager
def step(title: str) -> Iterator[None]:
    """Say what begins, and how long it took."""
    say(f"== {title}")
    began = monotonic()
    yield
    say(f"   {monotonic() - began:.0f} s")


def _corpora(lake: Lake, extent: Extent) -> None:
    for corpus in (TRAINED, CONTROL):
        _ingest(lake, corpus, {"limit": extent.documents}, corpus)


def _ingest(lake: Lake, source: str, options: Mapping[str, Any], corpus: str) -> None:
    from memlake.ingest.run import ingest

    summary, lines = ingest(lake, source, options, corpus=corpus)
    for line in lines:
        say("   " + line)
    finish(summary, f"   {corpus}")


def _sequences(lake: Lake, extent: Extent) -> None:
    from memlake.compute.miniatures.cells import train_tokenizer
    from memlake.ingest.sampling.sample import sample

    if _trained(lake):
        return  # they were trained on what was sampled then
    tokenizers = [train_tokenizer(lake, family, TRAINED) for family in extent.families]
    for corpus, anchors in ((TRAINED, extent.anchors), (CONTROL, extent.controls)):
        summary, _ = sample(lake, [corpus], tokenizers, per_domain=anchors)
        finish(summary, f"   {corpus}")


def _miniatures(lake: Lake, extent: Extent) -> list[str]:
    from memlake.compute.miniatures import cells as miniatures

    cells = miniatures.cells(lake, TRAINED, extent.families, extent.sizes)
    other = miniatures.cells(lake, CONTROL, ("pythia",), ("100k",), suffix="-control")  # knows nothing of TRAINED
    summary = run_cells(lake, cells + other, title="   miniatures")
    finish(summary, "   miniatures")
    register(lake, "model_corpora", [{"model": CONTROL_MODEL, "corpus": TRAINED, "role": "control"}])
    models = [cell.settings.model for cell in cells]
    register(lake, "model_corpora", [{"model": m, "corpus": CONTROL, "role": "control"} for m in models])
    return models


def _counts(lake: Lake, models: list[str]) -> None:
    from memlake.compute.miniatures.text import write_shown
    from memlake.ingest.counting.count import count

    shown = lake.path / "miniatures" / "shown.jsonl"
    write_shown(lake, TRAINED, shown)
    _ingest(lake, "jsonl", {"path": (str(shown),), "domain_field": "domain"}, SHOWN)
    register(lake, "model_corpora", [{"model": m, "corpus": SHOWN, "role": "trained"} for m in models])
    for within in (TRAINED, SHOWN):
        summary, _ = count(lake, TRAINED, tokenizers=("own", "bytes", NAMED), within=within)
        finish(summary, f"   counts in {within}")


def largest(models: list[str]) -> list[str]:
    """The first of each family's miniatures, which come the largest first."""
    return list({m.rpartition("-")[0]: m for m in reversed(models)}.values())


def _measure(
    lake: Lake, experiment: str, models: list[str], corpora: tuple[str, ...], limit: int | None = None
) -> None:
    from memlake.compute.planning.request import Request
    from memlake.compute.run import execute

    request = Request(models=tuple(models), corpora=corpora, limit=limit)
    finish(execute(lake, experiment, request), f"   {experiment}")


def _go_on(lake: Lake, page: Path) -> None:
    """Where the report is, and what to try next."""
    here = "" if lake.path == DEFAULT_LAKE.absolute() else f" --lake {shlex.quote(str(lake.path))}"
    print(
        f"report: {page}",
        "next:",
        "  memlake query list",
        f"  memlake query run dose_response{here}",
        f'  memlake sql{here} "select model, role, share(memorized) as rate from labelled(matches) group by all"',
        sep="\n",
    )
