"""`memlake compute`: measure models on sequences."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from memlake.warehouse.show.own_options import Kind, command
from memlake.warehouse.show.shell import of_registry, on_shelf
from memlake.warehouse.show.terminal import DEFAULT_LAKE, Format, FormatName, LakePath, finish, show

app = typer.Typer(no_args_is_help=True, help="Measure models on sequences.")
EXPERIMENT = Kind("experiment", "memlake.compute.experiments", "Options")

Experiment = Annotated[
    str,
    typer.Argument(
        metavar="EXPERIMENT",
        help="What to measure: see `memlake compute list`.",
        autocompletion=on_shelf(EXPERIMENT.shelf),
    ),
]
Models = Annotated[
    list[str],
    typer.Option(
        "--model",
        help="Name of the registry or the lake, hub id or folder; NAME@REVISION. Repeatable.",
        autocompletion=of_registry,
    ),
]
Corpora = Annotated[list[str], typer.Option("--corpus", help="Corpus to measure on. Repeatable.")]
Domains = Annotated[list[str] | None, typer.Option("--domain", help="Only this domain. Repeatable.")]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="Only the first N sequences of each domain's sample.")
]
Dtype = Annotated[
    str | None, typer.Option("--dtype", help="float32, float16 or bfloat16; default: the base condition's.")
]
Attention = Annotated[str | None, typer.Option("--attention", help="sdpa or eager; default: the base condition's.")]
Bos = Annotated[
    bool | None,
    typer.Option("--bos/--no-bos", help="Put the beginning-of-sequence token first; default: the base condition's."),
]
NoEos = Annotated[
    bool | None,
    typer.Option("--no-eos/--eos", help="Never decide for end-of-sequence, as under generate's min_length."),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
BatchSize = Annotated[int | None, typer.Option("--batch-size", min=1, help="Sequences at once; default: what fits.")]
Family = Annotated[
    str | None, typer.Option(help="Training line of these models; default: the registry's, else each its own.")
]
Role = Annotated[
    str | None,
    typer.Option(
        help="trained, or control: never trained on. Of these models on these corpora, where the registry cannot tell."
    ),
]
CellMinutes = Annotated[
    float,
    typer.Option(
        "--cell-minutes",
        help="Cells of about so many minutes at most, by the rate of those done before: what a kill may take.",
    ),
]


@app.command("list")
def list_experiments(form: Format = FormatName.table) -> None:
    """The experiments."""
    from .experiment import listing

    show(listing(), form)


@app.command("show")
def show_experiment(experiment: Experiment, form: Format = FormatName.table) -> None:
    """What an experiment measures, and the options of its own."""
    from memlake.warehouse import options

    from .experiment import description
    from .experiment import experiment as take

    if form is FormatName.table:
        print(description(experiment) + "\n")
    show(options.listing(take(experiment).Options), form)


@app.command()
def models(form: Format = FormatName.table) -> None:
    """The models of the registry."""
    from memlake.warehouse.models.registry import listing

    show(listing(), form)


def _request(
    model: Models,
    corpus: Corpora,
    domain: Domains = None,
    limit: Limit = None,
    dtype: Dtype = None,
    attention: Attention = None,
    bos: Bos = None,
    no_eos: NoEos = None,
    device: Device = "auto",
    batch_size: BatchSize = None,
    family: Family = None,
    role: Role = None,
    cell_minutes: CellMinutes = 10.0,
    *,
    own: Mapping[str, Any],
) -> Any:
    """The `Request`; its parameters are the options that `plan` and `run` share."""
    from memlake.compute.planning.request import Request

    places = tuple(model), tuple(corpus), tuple(domain or ())
    return Request(
        *places, limit, dtype, attention, bos, no_eos, device, batch_size, family, role, cell_minutes, options=own
    )


def _asks(function: Callable[..., None]) -> Callable[..., None]:
    """Offer the options of `_request` on a command; what they make is the command's `request`."""
    shared = inspect.signature(_request, eval_str=True).parameters
    others = {k: p for k, p in inspect.signature(function, eval_str=True).parameters.items() if k != "request"}

    @functools.wraps(function)
    def asked(**given: Any) -> None:
        function(request=_request(**{k: given.pop(k) for k in shared}), **given)

    both = [p.replace(kind=p.KEYWORD_ONLY) for p in (*shared.values(), *others.values())]
    asked.__signature__ = inspect.Signature(both)  # type: ignore[attr-defined]
    return asked


@command(app, "plan", EXPERIMENT, by="experiment")
@_asks
def plan(
    experiment: Experiment,
    request: Any,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="One row a model, of what is to do: cells, rows, bytes, hours.")
    ] = False,
    flops: Annotated[
        float | None,
        typer.Option(
            metavar="FLOP/S", help="Reckon for a device that does so many, as 3e14; default: by cells done before."
        ),
    ] = None,
    lake: LakePath = DEFAULT_LAKE,
    form: Format = FormatName.table,
) -> None:
    """What `run` would do, without doing it, and what that costs: rows, bytes on disk, hours of one process."""
    from memlake.warehouse.lake import Lake

    from .run import estimated, planned

    asked = dataclasses.replace(request, flops=flops)
    show((estimated if estimate else planned)(Lake.open(lake), experiment, asked), form)


@command(app, "run", EXPERIMENT, by="experiment")
@_asks
def run(
    experiment: Experiment,
    request: Any,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0, help="Processes; 0: this one alone. Default: one a GPU, one a core, or 0 where that is faster."
        ),
    ] = None,
    scheduler: Annotated[str | None, typer.Option(metavar="ADDR", help="A running Dask scheduler.")] = None,
    base_condition: Annotated[
        bool,
        typer.Option(
            "--base-condition",
            help="Make the condition of this run the models' base condition, which findings ask about.",
        ),
    ] = False,
    lake: LakePath = DEFAULT_LAKE,
) -> None:
    """Measure what is not measured yet. A second run does only what is missing.

    What is not said of the condition is as in the model's base condition: at first as it was stored and trained.
    """
    from memlake.warehouse.extras import need
    from memlake.warehouse.lake import Lake

    from .run import execute

    opened = Lake.open(lake)
    need("torch")  # which else only workers would miss, cell by cell
    finish(execute(opened, experiment, request, workers, scheduler, base_condition), experiment, opened)
