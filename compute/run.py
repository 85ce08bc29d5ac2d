"""Plan and run an experiment: from what was asked to cells, and a loaded model for each worker."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from memlake.compute.models.conditions import Condition
from memlake.compute.planning.coverage import nothing_memorized
from memlake.compute.planning.unfit import UNFIT, left_out
from memlake.warehouse import options, shelf
from memlake.warehouse.errors import BadInput, Conflict, UnknownName
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import Source, find, models
from memlake.warehouse.models.tokenizer import load_tokenizer, registered
from memlake.warehouse.publishing.register import register
from memlake.warehouse.show.terminal import say
from memlake.warehouse.work import cells
from memlake.warehouse.work.cells import Cell
from memlake.warehouse.work.runner import Summary, recover, run

from .planning.request import Request, Subject

if TYPE_CHECKING:
    from types import ModuleType

    import pyarrow as pa


EXPERIMENTS = "memlake.compute.experiments"


def plan(lake: Lake, experiment: str, request: Request) -> tuple[list[Cell], set[str]]:
    """The cells that answer a request, and the ids of those still to do. Changes nothing.

    Raises `UnknownName` (experiment, model, corpus, domain), `BadInput` (an option, a checkpoint that cannot be run,
    nothing to measure a model on) and `Conflict` (other weights under a name that the lake knows, another role).
    """
    module = _experiment(experiment)
    chosen = _options(experiment, request)
    if request.device not in ("auto", "cpu", "cuda"):
        raise BadInput(f"no device {request.device!r}: it is auto, cpu or cuda")
    _check_places(lake, request)
    found = [
        cell for text in request.models for cell in module.plan(lake, _subject(lake, text, request), request, chosen)
    ]
    return found, {cell.id for cell in cells.plan(lake, found)}


def execute(
    lake: Lake,
    experiment: str,
    request: Request,
    workers: int | None = None,
    scheduler: str | None = None,
    base: bool = False,
) -> Summary:
    """Run the cells of a request that are still to do; raises as `plan` does. A cell that fails is in the summary.
    `base`: where none does, the condition of this run becomes the base condition of its models."""
    from memlake.compute.models.checkpoint import pick_device, register_model

    recover(lake)  # what a killed run left ready counts as published
    if scheduler is None:  # else it is the workers' machines that have a GPU or not
        request = replace(request, device=pick_device(request.device))
    found, _ = plan(lake, experiment, request)
    others = []  # models whose base condition is another, and the condition of this run
    for line in nothing_memorized(lake, found):
        say(line)
    for text in request.models:
        source = _source(lake, text, request)
        model = register_model(lake, source)
        _register_roles(lake, source, request)
        condition = _condition(lake, source, request)
        extra = getattr(_experiment(experiment), "conditions", None)  # under which an experiment measures as well
        also = extra(condition, _options(experiment, request)) if extra else []
        register(lake, "conditions", [c.row() for c in (condition, *also)])
        if condition.name != model["base_condition"]:
            others.append((model, condition.name))
        if condition.name != model["base_condition"] and not base:
            say(
                f"{source.name}: {condition.name!r} is not its base condition ({model['base_condition']}), so findings"
                f" use its rows only with -p condition={condition.name} (scores stand in `matches_all`)"
            )
    if workers is None and request.device == "cuda":
        import torch

        workers = torch.cuda.device_count()
    summary = run(lake, found, _experiment(experiment).work, workers=workers, scheduler=scheduler, title=experiment)
    for line in left_out(lake, found):
        say(line)
    if base and not summary.failed:
        for model, condition in others:
            lake.amend("models", {"model": model["model"], "base_condition": condition})
            say(
                f"{model['model']}: its base condition is {condition!r} from now on (was {model['base_condition']}), so"
                " findings use rows of that; the others stay (scores stand in `matches_all`)"
            )
    return summary


def planned(lake: Lake, experiment: str, request: Request) -> pa.Table:
    """One row is one cell of the request: model, corpus, domain, sample, ranks, sequences, and whether it is done."""
    import pyarrow as pa

    found, missing = plan(lake, experiment, request)
    rules = {s["sample"]: s["rule"] for _, s in cells.published(lake, "sample")}  # of imported sequences none is known
    names = ("model", "corpus", "domain", "condition", "first_rank", "last_rank")
    return pa.Table.from_pylist(
        [
            {
                "cell": cell.id,
                **{name: cell.settings.get(name) for name in names},
                "sample_rule": (rule := rules.get(cell.settings.get("sample"), {})).get("at"),
                "sample_window": rule.get("window"),
                "sequences": cell.task["sequences"],
                "state": "to do" if cell.id in missing else "done",
            }
            for cell in found
        ],
        pa.schema(
            [
                *((name, pa.string()) for name in ("cell", "model", "corpus", "domain")),
                *((name, pa.string()) for name in ("sample_rule", "sample_window", "condition")),
                *((name, pa.int64()) for name in ("first_rank", "last_rank", "sequences")),
                ("state", pa.string()),
            ]
        ),
    )


def experiments() -> pa.Table:
    """One row is one experiment: its name, the tables it writes, and what it measures."""
    import pyarrow as pa

    modules = {name: _experiment(name) for name in shelf.names(EXPERIMENTS)}
    return pa.Table.from_pylist(
        [
            {"experiment": name, "tables": ", ".join(m.TABLES), "measures": (m.__doc__ or "").strip().splitlines()[0]}
            for name, m in modules.items()
        ]
    )


def description(name: str) -> tuple[str, pa.Table]:
    """What an experiment says of itself, and its options, a row each; raises `UnknownName`."""
    module = _experiment(name)
    return (module.__doc__ or "").strip(), options.listing(module.Options)


def registry() -> pa.Table:
    """One row is one model of the registry."""
    import pyarrow as pa

    return pa.Table.from_pylist(
        [
            {
                "model": m.name,
                "family": m.family,
                "hub_id": m.location,
                "nominal_params": m.nominal_params,
                "bos": m.bos,
                "trained_on": ", ".join(m.corpora),
            }
            for m in models().values()
        ]
    )


def _experiment(name: str) -> ModuleType:
    return shelf.take(EXPERIMENTS, name, "experiment")


def _options(name: str, request: Request) -> object:
    return options.make(_experiment(name).Options, request.options, f"experiment {name!r}")


def _source(lake: Lake, text: str, request: Request) -> Source:
    """The source that the request means by one of its models; raises `Conflict` for another family than the
    registry's."""
    source = find(lake, text)
    registered = models().get(source.name.partition("@")[0])
    if request.family is None:
        return source
    if registered and registered.location == source.location and registered.family != request.family:
        raise Conflict(f"the registry knows {source.name} as {registered.family}: leave --family out")
    return replace(source, family=request.family)


def _condition(lake: Lake, source: Source, request: Request) -> Condition:
    from memlake.compute.models.checkpoint import base_condition, condition_of

    base = base_condition(lake, source)
    return condition_of(source, request.dtype, request.attention, request.bos, request.no_eos, base)


def _subject(lake: Lake, text: str, request: Request) -> Subject:
    from memlake.compute.models.checkpoint import known_model, role_on
    from memlake.compute.models.identity import identify, read_config
    from memlake.compute.models.weights import fetch

    source = _source(lake, text, request)
    condition = _condition(lake, source, request)
    known = known_model(lake, source, condition)
    tokenizer = load_tokenizer(source)
    names = registered(lake)
    # One that is not registered yet gets this name; sequences of imported results may have it already.
    hint = source.tokenizer or source.name
    name = names.get(tokenizer.digest) or (hint if hint not in names.values() else None)
    config, _ = read_config(source, fetch(source))
    limits = {"vocabulary": config.vocab_size, "positions": config.max_position_embeddings, "bos": int(condition.bos)}
    for corpus in request.corpora:
        role_on(lake, source, corpus, request.role)
        _check_sequences(lake, corpus, name, limits, text, request)
    digests = known if known and known["weights_digest"] else vars(identify(source))
    kind = "checkpoint_digest" if digests["checkpoint_digest"] else "weights_digest"
    return Subject(source, condition, {kind: digests[kind]}, tokenizer.digest, name, limits)


def _register_roles(lake: Lake, source: Source, request: Request) -> None:
    """Write whether the model trained on each corpus, where that is known."""
    from memlake.compute.models.checkpoint import role_on

    for corpus in request.corpora:
        if role := role_on(lake, source, corpus, request.role):
            register(lake, "model_corpora", [{"model": source.name, "corpus": corpus, "role": role}])
        else:
            say(f"{source.name}: nothing tells whether it trained on {corpus}: say so with --role trained or control")


def _check_places(lake: Lake, request: Request) -> None:
    """Raise `UnknownName` for a corpus or a domain that the lake does not have."""
    with lake.connect(["domains", "sequences"]) as con:
        places = con.execute(
            "select corpus, domain from stored.domains union select distinct corpus, domain from stored.sequences"
        ).fetchall()
    for corpus in request.corpora:
        if corpus not in {c for c, _ in places}:
            raise UnknownName("corpus", corpus, {c for c, _ in places})
    domains = {d for c, d in places if c in request.corpora}
    for domain in request.domains:
        if domain not in domains:
            raise UnknownName("domain", domain, domains)


def _check_sequences(
    lake: Lake, corpus: str, tokenizer: str | None, limits: Mapping[str, int], text: str, request: Request
) -> None:
    """Raise `BadInput` where there is nothing to measure a model on: not sampled under its tokenizer, sampled in vain,
    imported without its tokens, or such that the model can take none."""
    asked = {"corpus": corpus, "tokenizer": tokenizer, "domains": list(request.domains)}
    with lake.connect(["documents", "sequences"]) as con:
        found = con.execute(
            f"select {UNFIT} as unfit from stored.sequences"
            " where corpus = $corpus and tokenizer = $tokenizer and len(tokens) > 0"
            " and (len($domains) = 0 or list_contains($domains, domain)) order by unfit is not null limit 1",
            asked | limits,
        ).fetchone()
        documents = con.execute("from stored.documents where corpus = ? limit 1", [corpus]).fetchone()
    if found and found[0] is None:
        return
    where = f"{corpus} ({', '.join(request.domains)})" if request.domains else corpus
    if found:
        raise BadInput(f"{text} can take no sequence of {where}: {found[0]}")
    nothing = f"{where} has no sequences under the tokenizer of {text} to measure it on"
    if not documents:
        raise BadInput(f"{nothing}: they were imported without its tokens, and there are no documents to sample")
    sampled = [
        s["last_rank"] - s["first_rank"] + 1
        for _, s in cells.published(lake, "sample")
        if (s["corpus"], s["tokenizer"]) == (corpus, tokenizer) and s["domain"] in (request.domains or [s["domain"]])
    ]
    if sampled:
        why = f"all {sum(sampled)} anchors were lost" if any(sampled) else "its documents have no place to begin"
        raise BadInput(
            f"{nothing}: it was sampled under it, but {why} (`memlake ingest sample` says which, and why): try another"
            " --window, --at start, or documents that are longer"
        )
    asked = [part for domain in request.domains for part in ("--domain", domain)]
    command = shlex.join(["memlake", "ingest", "sample", "--corpus", corpus, *asked, "--model", text])
    raise BadInput(f"{nothing}: run `{command}` first")
