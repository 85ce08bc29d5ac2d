"""Plan and run an experiment: from what was asked to cells, and what is registered before they run."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from math import inf
from typing import TYPE_CHECKING, Any

from memlake.warehouse import options
from memlake.warehouse.errors import BadInput, Conflict, UnknownName
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import ModelSpec, find, models
from memlake.warehouse.models.tokenizer import load_tokenizer, registered
from memlake.warehouse.publishing.register import register
from memlake.warehouse.show.terminal import say
from memlake.warehouse.work import cells
from memlake.warehouse.work.runner import Summary, recover, run_cells

from .experiment import experiment as take
from .models import weights
from .models.checkpoint import ModelRow, base_condition, condition_of, known_model, register_model, role_on
from .models.conditions import Condition
from .models.device import pick_device
from .models.identity import identify, read_config
from .planning.cells import ModelCell
from .planning.chosen import nothing_memorized
from .planning.cost import row_count, summary, total
from .planning.request import Limits, Request, Subject
from .planning.sampled import sampled
from .planning.unfit import UNFIT, left_out

if TYPE_CHECKING:
    import pyarrow as pa


def plan(lake: Lake, experiment: str, request: Request) -> tuple[list[ModelCell], set[str]]:
    """The cells that answer a request, and the ids of those still to do. Changes nothing.

    Raises `UnknownName` (experiment, model, corpus, domain), `BadInput` (an option, a checkpoint that cannot be run,
    nothing to measure a model on) and `Conflict` (other weights under a name that the lake knows, another role).
    """
    module = take(experiment)
    chosen = options.make(module.Options, request.options, f"experiment {experiment!r}")
    if request.device not in ("auto", "cpu", "cuda"):
        raise BadInput(f"no device {request.device!r}: it is auto, cpu or cuda")
    if not request.cell_minutes > 0:
        raise BadInput(f"no --cell-minutes {request.cell_minutes:g}: it is a positive number")
    if request.flops is not None and not 1 <= request.flops < inf:
        raise BadInput(f"no --flops {request.flops:g}: it is a number, at least 1")
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

    def refused(_: Request, error: Exception) -> None:
        raise error

    return execute_all(lake, experiment, [replace(request, base=base)], refused, workers, scheduler)


def execute_all(
    lake: Lake,
    experiment: str,
    requests: Sequence[Request],
    refused: Callable[[Request, Exception], None],
    workers: int | None = None,
    scheduler: str | None = None,
) -> Summary:
    """Run the cells of several requests at once, so that a model has not to wait for another one. `refused` is told of
    a request that cannot be planned, and why; the others are run all the same."""
    recover(lake)  # what a killed run left ready counts as published
    cells: list[ModelCell] = []
    others: list[tuple[ModelRow, str, set[str]]] = []
    for request in requests:
        try:
            found, todo = plan(lake, experiment, request)
            if scheduler is None and workers is None and (todo or request.device == "cuda"):
                workers = _workers(request.device)  # else it is the workers' machines that have a GPU or not
            for line in nothing_memorized(lake, found):
                say(line)
            ids = {cell.id for cell in found}
            others += [(*other, ids) for other in _register(lake, request, found)]
        except Exception as error:
            refused(request, error)
            continue
        cells += found
    summary = run_cells(lake, cells, workers=workers, scheduler=scheduler, title=experiment)
    for line in left_out(lake, cells):
        say(line)
    for model, condition, ids in others:
        if not any(cell.id in ids for cell, _ in summary.failed):
            lake.amend("models", {"model": model.model, "base_condition": condition})
            say(
                f"{model.model}: its base condition is {condition!r} from now on (was {model.base_condition}), so"
                " findings use rows of that; the others stay (scores stand in `matches_all`)"
            )
    return summary


def _workers(device: str) -> int | None:
    """A process for each GPU where cells run on GPUs; none but this one for a single GPU. Else None: the runner's
    choice. Raises `BadInput` where there is no GPU but one was asked for."""
    if pick_device(device) == "cpu":
        return None
    import torch

    count = torch.cuda.device_count()
    return count if count > 1 else 0


def _register(lake: Lake, request: Request, found: Sequence[ModelCell]) -> list[tuple[ModelRow, str]]:
    """Write the rows that those of the cells refer to: models, their roles, conditions. Returns the models whose base
    condition is to become that of the request, and the latter."""
    others = []
    for text in request.models:
        spec = _spec(lake, text, request)
        model = register_model(lake, spec)
        _register_roles(lake, spec, request)
        condition = _condition(lake, spec, request)
        register(lake, "conditions", [condition.row()])
        if condition.name != model.base_condition and request.base:
            others.append((model, condition.name))
        elif condition.name != model.base_condition:
            say(
                f"{spec.name}: {condition.name!r} is not its base condition ({model.base_condition}), so findings"
                f" use its rows only with -p condition={condition.name} (scores stand in `matches_all`)"
            )
    register(lake, "conditions", [c.row() for c in dict.fromkeys(c for cell in found for c in cell.conditions)])
    return others


def planned(lake: Lake, experiment: str, request: Request) -> pa.Table:
    """One row is one cell of the request: model, corpus, domain, sample, ranks, sequences, rows (NULL: not known
    beforehand), and whether it is done. Says what those to do cost."""
    import pyarrow as pa

    found, missing = plan(lake, experiment, request)
    rules = {s.sample: s.rule for s in sampled(lake)}  # of imported sequences none is known
    columns = ("model", "corpus", "domain", "condition", "first_rank", "last_rank")
    rows = []
    for cell in found:
        settings = cell.settings.to_json()  # cells of a task have no corpus
        rule = rules.get(settings.get("sample", ""), {})
        rows.append(
            {
                "cell": cell.id,
                **{name: settings.get(name) for name in columns},
                "sample_rule": rule.get("at"),
                "sample_window": rule.get("window"),
                "sequences": cell.sequences,
                "rows": row_count(cell),
                "state": "to do" if cell.id in missing else "done",
            }
        )
    costs = summary(lake, experiment, request, [cell for cell in found if cell.id in missing])
    say(_in_words(costs))
    return pa.Table.from_pylist(
        rows,
        pa.schema(
            [
                *((name, pa.string()) for name in ("cell", "model", "corpus", "domain")),
                *((name, pa.string()) for name in ("sample_rule", "sample_window", "condition")),
                *((name, pa.int64()) for name in ("first_rank", "last_rank", "sequences", "rows")),
                ("state", pa.string()),
            ]
        ),
    )


def estimated(lake: Lake, experiment: str, request: Request) -> pa.Table:
    """One row is one model of the request with cells to do: how many, their sequences, rows and bytes (NULL: not known
    beforehand), hours of one process, and by what rate."""
    import pyarrow as pa

    found, missing = plan(lake, experiment, request)
    numbers = [(name, pa.int64()) for name in ("cells", "sequences", "rows", "bytes")]
    costs = summary(lake, experiment, request, [cell for cell in found if cell.id in missing])
    if not costs:
        say(_in_words(costs))
    return pa.Table.from_pylist(
        costs,
        pa.schema([("model", pa.string()), *numbers, ("hours", pa.float64()), ("rate", pa.string())]),
    )


def _in_words(costs: Sequence[Mapping[str, Any]]) -> str:
    """A line on what cells to do cost: the rows of `summary`."""
    if not costs:
        return "nothing to do"
    sums = {name: total([cost[name] for cost in costs]) for name in ("cells", "sequences", "rows", "bytes")}
    size = sums.pop("bytes")
    counts = [f"{n} {name[:-1] if n == 1 else name}" for name, n in sums.items() if n is not None]
    if size is not None:
        counts.append(_scaled(size, {"bytes": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}))
    seconds = 3600 * sum(cost["hours"] for cost in costs)
    time = f"about {_scaled(seconds, {'seconds': 1, 'minutes': 60, 'hours': 3600})}"
    if seconds < 0.05:
        time = "less than 0.1 seconds"
    rates = list(dict.fromkeys(cost["rate"] for cost in costs))
    by = rates[0] if len(rates) == 1 else "each model by its own rate: --estimate"
    return f"to do: {', '.join(counts)}, {time} of one process ({by})"


def _scaled(number: float, units: Mapping[str, float]) -> str:
    """A number in the largest unit of which it holds one; units: how many of the first each is, in order."""
    name, size = [(name, size) for name, size in units.items() if number >= size or size == 1][-1]
    return f"{number / size:.{0 if number >= 9.95 * size else 1}f}".removesuffix(".0") + f" {name}"


def _spec(lake: Lake, text: str, request: Request) -> ModelSpec:
    """The spec of what the request means by one of its models; raises `Conflict` for another family than the
    registry's."""
    spec = find(lake, text)
    registered = models().get(spec.name.partition("@")[0])
    if request.family is None:
        return spec
    if registered and registered.location == spec.location and registered.family != request.family:
        raise Conflict(f"the registry knows {spec.name} as {registered.family}: leave --family out")
    return replace(spec, family=request.family)


def _condition(lake: Lake, spec: ModelSpec, request: Request) -> Condition:
    base = base_condition(lake, spec)
    return condition_of(spec, request.dtype, request.attention, request.bos, request.no_eos, base)


def _subject(lake: Lake, text: str, request: Request) -> Subject:
    spec = _spec(lake, text, request)
    condition = _condition(lake, spec, request)
    known = known_model(lake, spec, condition)
    tokenizer = load_tokenizer(spec)
    names = registered(lake)
    # One that is not registered yet gets this name; sequences of imported results may have it already.
    hint = spec.tokenizer or spec.name
    name = names.get(tokenizer.digest) or (hint if hint not in names.values() else None)
    files = weights.fetch(spec)
    config = read_config(spec, files)
    limits = Limits(config.vocab_size, config.positions, int(condition.bos))
    for corpus in request.corpora:
        role_on(lake, spec, corpus, request.role)
        _check_sequences(lake, corpus, name, limits, text, request)
    recorded = known if known and known.weights_digest else identify(spec)
    whole = recorded.checkpoint_digest
    return Subject(
        spec=spec,
        condition=condition,
        checkpoint_digest=whole,
        weights_digest=None if whole else recorded.weights_digest,
        tokenizer_digest=tokenizer.digest,
        tokenizer=name or "",
        limits=limits,
        parameters=(known and known.n_params) or weights.count(files.weights),
        blocks=known.n_layers if known else None,
        heads=known.n_heads if known else None,
    )


def _register_roles(lake: Lake, spec: ModelSpec, request: Request) -> None:
    """Write whether the model trained on each corpus, where that is known."""
    for corpus in request.corpora:
        if role := role_on(lake, spec, corpus, request.role):
            register(lake, "model_corpora", [{"model": spec.name, "corpus": corpus, "role": role}])
        else:
            say(f"{spec.name}: nothing tells whether it trained on {corpus}: say so with --role trained or control")


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
    lake: Lake, corpus: str, tokenizer: str | None, limits: Limits, text: str, request: Request
) -> None:
    """Raise `BadInput` where there is nothing to measure a model on: not sampled under its tokenizer, sampled in vain,
    imported without its tokens, or such that the model can take none."""
    asked = {"corpus": corpus, "tokenizer": tokenizer, "domains": list(request.domains)}
    with lake.connect(["documents", "sequences"]) as con:
        found = con.execute(
            f"select {UNFIT} as unfit from stored.sequences"
            " where corpus = $corpus and tokenizer = $tokenizer and len(tokens) > 0"
            " and (len($domains) = 0 or list_contains($domains, domain)) order by unfit is not null limit 1",
            asked | asdict(limits),
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
    anchors = [
        s.last_rank - s.first_rank + 1
        for s in sampled(lake)
        if (s.corpus, s.tokenizer) == (corpus, tokenizer) and s.domain in (request.domains or [s.domain])
    ]
    if anchors:
        why = f"all {sum(anchors)} anchors were lost" if any(anchors) else "its documents have no place to begin"
        raise BadInput(
            f"{nothing}: it was sampled under it, but {why} (`memlake ingest sample` says which, and why): try another"
            " --window, --at start, or documents that are longer"
        )
    domains = [part for domain in request.domains for part in ("--domain", domain)]
    command = shlex.join(["memlake", "ingest", "sample", "--corpus", corpus, *domains, "--model", text])
    raise BadInput(f"{nothing}: run `{command}` first")
