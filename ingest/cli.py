"""`memlake ingest`: text into the lake, and the sequences that models are asked about."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from memlake.warehouse.show.terminal import DEFAULT_LAKE, Format, FormatName, LakePath, finish, printable, say, show

app = typer.Typer(no_args_is_help=True, help="Text into the lake, and the sequences that models are asked about.")

Name = Annotated[str, typer.Argument(metavar="SOURCE", help="See `memlake ingest list`.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes on this machine; by default one a core.")]
# Options of single sources: `memlake ingest show SOURCE` tells which it takes
Path = Annotated[list[str] | None, typer.Option(help="File, folder or URL to read; may be repeated.")]
TextField = Annotated[str | None, typer.Option(help="Field that holds the text.")]
IdField = Annotated[str | None, typer.Option(help="Field with the record's own id.")]
DomainField = Annotated[str | None, typer.Option(help="Field with the record's domain.")]
MaxBytes = Annotated[int | None, typer.Option(help="Longest record that is taken.")]
Limit = Annotated[int | None, typer.Option(help="Documents of each domain at most.")]
Dataset = Annotated[str | None, typer.Option(help="Name on the Hugging Face hub, or folder of a dataset.")]
Config = Annotated[str | None, typer.Option(help="Configuration of the dataset.")]
Split = Annotated[str | None, typer.Option(help="Split of the dataset; train by default.")]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of the dataset.")]

# What `count` counts with, and in
Tokenizers = Annotated[
    list[str] | None, typer.Option(help="own (default), bytes, or a model whose tokenizer it is; may be repeated.")
]
Within = Annotated[
    str | None, typer.Option("--in", help="Corpus in which is counted; by default that of the sequences.")
]
Streamed = Annotated[str | None, typer.Option(help="Stream the corpus from this source again, and not from the lake.")]
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


@app.command("run")
def run_source(
    name: Name,
    path: Path = None,
    corpus: Annotated[str | None, typer.Option(help="Name of the text collection.")] = None,
    text_field: TextField = None,
    id_field: IdField = None,
    domain_field: DomainField = None,
    domain: Annotated[str | None, typer.Option(help="Domain of records without one.")] = None,
    class_: Annotated[list[str] | None, typer.Option("--class", help="CLASS for all domains, or DOMAIN=CLASS.")] = None,
    max_bytes: MaxBytes = None,
    limit: Limit = None,
    model: Annotated[
        str | None, typer.Option(help="Model whose results they are, where the files do not tell.")
    ] = None,
    family: Annotated[str | None, typer.Option(help="Family of a model that is not in the registry.")] = None,
    params: Annotated[int | None, typer.Option(help="Parameters of such a model.")] = None,
    dataset: Dataset = None,
    config: Config = None,
    split: Split = None,
    revision: Revision = None,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Documents of each domain to keep: a uniform sample. By default all.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Publish nothing if any record is rejected.")] = False,
    workers: Workers = None,
    lake: LakePath = DEFAULT_LAKE,
) -> None:
    """Read a source into the lake, which is made where it is missing.

    `show SOURCE` tells which options it takes.
    """
    from memlake.warehouse.lake import Lake
    from memlake.warehouse.paths import local

    from .run import ingest
    from .source import make

    given = _given(
        path=path,
        text_field=text_field,
        id_field=id_field,
        domain_field=domain_field,
        domain=domain,
        class_=class_,
        max_bytes=max_bytes,
        limit=limit,
        model=model,
        family=family,
        params=params,
        dataset=dataset,
        config=config,
        split=split,
        revision=revision,
    )
    reader = make(name, given)
    if not (local(lake) / "cells").exists():
        reader.validate(corpus)  # a mistyped --path leaves no empty lake behind
    summary, lines = ingest(Lake.create(lake), name, given, corpus=corpus, keep=keep, strict=strict, workers=workers)
    for line in lines:
        say(printable(line))
    finish(summary, f"ingest {name}")


@app.command()
def sample(
    corpus: Annotated[list[str], typer.Option(help="Corpus to sample; may be repeated.")],
    model: Annotated[
        list[str], typer.Option(help="Name of the registry or the lake, hub id or folder; may be repeated.")
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


@app.command()
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
    path: Path = None,
    text_field: TextField = None,
    id_field: IdField = None,
    domain_field: DomainField = None,
    max_bytes: MaxBytes = None,
    limit: Limit = None,
    dataset: Dataset = None,
    config: Config = None,
    split: Split = None,
    revision: Revision = None,
    workers: Workers = None,
    lake: LakePath = DEFAULT_LAKE,
    form: Format = FormatName.table,
) -> None:
    """Count how often the n-grams of the sequences occur in a corpus.

    Options of the source are by default those with which the lake read the corpus.
    """
    from memlake.ingest.counting.count import count as counted
    from memlake.ingest.counting.queries import OWN
    from memlake.warehouse.lake import Lake

    options = _given(
        path=path,
        text_field=text_field,
        id_field=id_field,
        domain_field=domain_field,
        max_bytes=max_bytes,
        limit=limit,
        dataset=dataset,
        config=config,
        split=split,
        revision=revision,
    )
    summary, found = counted(
        Lake.open(lake),
        corpus,
        domains=domain or (),
        models=model or (),
        tokenizers=tokenizer or (OWN,),
        within=within,
        source=source,
        options=options,
        index=index,
        workers=workers,
    )
    show(found, form)
    finish(summary, "count")


def _given(**options: Any) -> dict[str, Any]:
    """The options that the user gave."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in options.items() if v not in (None, [])}
