"""`memlake ingest`: text into the lake, and the sequences that models are asked about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from memlake.warehouse.show.own_options import Kind, command
from memlake.warehouse.show.shell import of_registry, on_shelf
from memlake.warehouse.show.terminal import DEFAULT_LAKE, Format, FormatName, LakePath, finish, printable, say, show

app = typer.Typer(no_args_is_help=True, help="Text into the lake, and the sequences that models are asked about.")
SOURCE = Kind("source", "memlake.ingest.sources", "Source")

Name = Annotated[
    str, typer.Argument(metavar="SOURCE", help="See `memlake ingest list`.", autocompletion=on_shelf(SOURCE.shelf))
]
Workers = Annotated[
    int | None,
    typer.Option(min=0, help="Processes; 0: this one alone. Default: one a core, or 0 where that is faster."),
]

# What `count` counts with, and in
Tokenizers = Annotated[
    list[str] | None, typer.Option(help="own (default), bytes, or a model whose tokenizer it is; may be repeated.")
]
Within = Annotated[
    str | None, typer.Option("--in", help="Corpus in which is counted; by default that of the sequences.")
]
Streamed = Annotated[
    str | None,
    typer.Option(
        metavar="SOURCE",
        help="Stream the corpus from this source again, and not from the lake.",
        autocompletion=on_shelf(SOURCE.shelf),
    ),
]
Index = Annotated[
    str | None, typer.Option(help="Look up in an infini-gram index instead: its folder, or a public one's name.")
]


@app.command("list")
def list_sources(form: Format = FormatName.table) -> None:
    """Sources that `run` can read."""
    from . import source

    show(source.listing(), form)


@app.command("show")
def show_source(name: Name, form: Format = FormatName.table) -> None:
    """What a source reads, and its options."""
    from memlake.warehouse import options

    from . import source

    if form is FormatName.table:
        print(source.description(name) + "\n")
    show(options.listing(source.source_class(name)), form)


@command(app, "run", SOURCE, by="name")
def run_source(
    name: Name,
    corpus: Annotated[str | None, typer.Option(help="Name of the text collection.")] = None,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Documents of each domain to keep: a uniform sample. By default all.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Publish nothing if any record is rejected.")] = False,
    workers: Workers = None,
    lake: LakePath = DEFAULT_LAKE,
    *,
    own: Mapping[str, Any],
) -> None:
    """Read a source into the lake, which is made where it is missing."""
    from memlake.warehouse.lake import Lake
    from memlake.warehouse.paths import local

    from .run import ingest
    from .source import make

    reader = make(name, own)
    if not (local(lake) / "cells").exists():
        reader.validate(corpus)  # a mistyped --path leaves no empty lake behind
    opened = Lake.create(lake)
    summary, lines = ingest(opened, name, own, corpus=corpus, keep=keep, strict=strict, workers=workers)
    for line in lines:
        say(printable(line))
    finish(summary, f"ingest {name}", opened)


@app.command()
def sample(
    corpus: Annotated[list[str], typer.Option(help="Corpus to sample; may be repeated.")],
    model: Annotated[
        list[str],
        typer.Option(
            help="Name of the registry or the lake, hub id or folder; may be repeated.", autocompletion=of_registry
        ),
    ],
    domain: Annotated[list[str] | None, typer.Option(help="Only this domain; may be repeated.")] = None,
    per_domain: Annotated[
        int, typer.Option(help="Sequences of each domain under each tokenizer, if it gives as many.")
    ] = 300_000,
    window: Annotated[str, typer.Option(help="Tokens before and after the anchor, or bytes:128+128.")] = "32+32",
    at: Annotated[
        str,
        typer.Option(
            help="space: between two words (or two letters, in scripts without spaces); start: each document's first"
            " tokens."
        ),
    ] = "space",
    seed: Annotated[int, typer.Option(help="Another seed draws other anchors.")] = 0,
    workers: Workers = None,
    lake: LakePath = DEFAULT_LAKE,
    form: Format = FormatName.table,
) -> None:
    """Draw anchors and cut a sequence around each, under the tokenizer of every model.

    An anchor that a tokenizer loses (`too_short`, `text_changed`) is redrawn for it.
    """
    from memlake.ingest.sampling.sample import remarks
    from memlake.ingest.sampling.sample import sample as draw
    from memlake.warehouse.lake import Lake
    from memlake.warehouse.models.registry import find

    opened = Lake.open(lake)
    summary, counts = draw(
        opened,
        corpus,
        [find(opened, m) for m in model],
        domains=domain or (),
        per_domain=per_domain,
        window=window,
        at=at,
        seed=seed,
        workers=workers,
    )
    show(counts, form)
    for line in remarks(counts):
        say(printable(line))
    finish(summary, "sample")


@command(app, "count", SOURCE, by="source")
def count(
    corpus: Annotated[str, typer.Option(help="Corpus of the sequences.")],
    domain: Annotated[list[str] | None, typer.Option(help="Only this domain's; may be repeated.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Only sequences under this model's tokenizer; may be repeated.")
    ] = None,
    tokenizer: Tokenizers = None,
    within: Within = None,
    source: Streamed = None,
    index: Index = None,
    workers: Workers = None,
    lake: LakePath = DEFAULT_LAKE,
    form: Format = FormatName.table,
    *,
    own: Mapping[str, Any],
) -> None:
    """Count how often the n-grams of the sequences occur in a corpus.

    Options of the source are by default those with which the lake read the corpus.
    """
    from memlake.ingest.counting.count import count as counted
    from memlake.ingest.counting.queries import OWN
    from memlake.warehouse.lake import Lake

    summary, found = counted(
        Lake.open(lake),
        corpus,
        domains=domain or (),
        models=model or (),
        tokenizers=tokenizer or (OWN,),
        within=within,
        source=source,
        options=own,
        index=index,
        workers=workers,
    )
    show(found, form)
    finish(summary, "count")
