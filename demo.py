"""The study in small: seven families of miniatures, trained here on text that every machine has, from corpus to report.

It is a study like any other, `studies/demo.toml`; here is what only a demo says: that a lake holds one of the two, and
what to try next. Started again, it does only what is missing.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import typer

from memlake.studies import run as running
from memlake.studies.study import Study, find, read
from memlake.warehouse.errors import Conflict
from memlake.warehouse.lake import Lake
from memlake.warehouse.show.terminal import DEFAULT_LAKE
from memlake.warehouse.work.cells import published

TRAINED = "python_environment"
FULL, QUICK = "demo", "demo-quick"


def run(path: Path, *, quick: bool = False) -> None:
    """The whole study in the lake at `path`, which is made where it is missing; prints the report's path.

    Exit code 1 where something failed. Raises `Conflict` where the lake holds the study of the other extent.
    """
    study = read(find(QUICK if quick else FULL))
    lake = Lake.create(path)
    _refuse_another(lake, study)
    outcome = running.run(lake, study)
    if outcome.page:
        _go_on(lake, outcome.page)
    if outcome.failed:
        raise typer.Exit(1)


def _refuse_another(lake: Lake, study: Study) -> None:
    """The quick study trains on fewer anchors than the full one: its miniatures are others of the same name."""
    from memlake.compute.miniatures.cells import MiniatureCell, MiniatureSettings
    from memlake.compute.planning.sampled import sampled

    anchors = next(sample.per_domain for sample in study.samples if TRAINED in sample.corpus)
    asked = [s for s in sampled(lake) if s.corpus == TRAINED and s.first_rank == 0]
    trained = any(published(lake, MiniatureCell.EXPERIMENT, MiniatureSettings))
    if asked and max(s.last_rank for s in asked) + 1 != anchors and trained:
        raise Conflict(f"{lake.path} holds the other demo (quick or full): name another lake with --lake")


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
