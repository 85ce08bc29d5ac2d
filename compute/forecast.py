"""What a request costs where the checkpoint need not be here, nor the corpus be read: from what the lake knows of both,
else on paper, by what the registry knows of the model and what is assumed of the corpus.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from memlake.warehouse import options
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import ModelSpec
from memlake.warehouse.words import counted
from memlake.warehouse.work import cells

from .experiment import experiment as take
from .families import parts as parts_of
from .families import recognise
from .models import weights
from .models.checkpoint import Unscored, role_on
from .models.conditions import Condition
from .planning.cells import ModelCell
from .planning.cost import Rates, Sizes, row_count, total
from .planning.paper import Paper, parts
from .planning.request import Limits, Request, Subject

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
MEMORIZED = 0.02  # of what is not scored, where nothing else is said
DTYPE = "float16"  # of a checkpoint that is not here


@dataclass(frozen=True)
class Supposed:
    """What is said of a corpus's sample that is not there yet: domains (counted: in the lake's documents), and
    sequences of each; None: not known. continuation: tokens of a sequence. memorized: their share."""

    domains: int | None
    per_domain: int
    continuation: int
    memorized: float = MEMORIZED
    counted: bool = False


@dataclass(frozen=True)
class Forecast:
    """What is to do for one model, None where it is not known. size: bytes on disk; memory: bytes of the weights;
    hours: of one process, reckoned from `by`. condition: in which it is measured. todo: the cells, where the lake knows
    the model and its sequences. notes: what is assumed."""

    cells: int | None
    sequences: int | None
    rows: int | None
    size: int | None
    memory: int | None
    hours: float | None
    by: str
    condition: str
    todo: tuple[ModelCell, ...]
    notes: tuple[str, ...]


def forecast(
    lake: Lake, experiment: str, spec: ModelSpec, request: Request, supposed: Mapping[str, Supposed]
) -> Forecast:
    """Of one model, whatever the request calls it. supposed: by corpus. Changes nothing and fetches nothing. Raises
    `UnknownName`, and `BadInput` where the model or an option cannot be used."""
    module = take(experiment)
    chosen = options.make(module.Options, request.options, f"experiment {experiment!r}")
    rates, sizes = Rates(lake, experiment, request), Sizes(lake)
    known, notes = known_subject(lake, spec, request), list[str]()
    subject = known or _on_paper(spec, request, notes)
    sized = bool(subject.parameters)  # else nothing is near it in size, and no time can be told
    exact: list[ModelCell] = []
    reckoned: list[tuple[ModelCell, int]] = []  # and so many of it
    unknown = False
    for corpus in request.corpora:
        one = replace(request, corpora=(corpus,), missing=True)
        there = _sequences(lake, corpus, subject.tokenizer, request)
        if known and there:
            try:
                exact += module.plan(lake, known, one, chosen)
                continue
            except Unscored:
                pass
        found = _papers(lake, spec, subject, one, there, supposed[corpus], experiment, notes)
        unknown |= found is None
        for paper, many in found or ():
            made = list(module.on_paper(subject, paper, request.execution, chosen))
            unknown |= not made
            if not made:
                notes.append("of its heads and blocks nothing is known before it is scored")
            reckoned += [(cell, many) for cell in made]
    exact = list({cell.id: cell for cell in exact}.values())
    todo = cells.plan(lake, exact)
    costs = [(cell, 1, 1) for cell in todo] + [
        (cell, many, parts(rates.seconds(cell), cell.sequences, request.cell_minutes) if sized else 1)
        for cell, many in reckoned
    ]
    hours = sum(rates.seconds(cell) * many for cell, many, _ in costs) / 3600 if sized and not unknown else None
    width = BYTES.get(subject.condition.dtype)
    nothing = unknown and not costs
    return Forecast(
        cells=None if nothing else sum(many * n for _, many, n in costs),
        sequences=None if nothing else sum(cell.sequences * many for cell, many, _ in costs),
        rows=None if unknown else total([_times(row_count(cell), many) for cell, many, _ in costs]),
        size=None if unknown else total([_times(sizes.of(cell), many) for cell, many, _ in costs]),
        memory=subject.parameters * width if sized and width and (costs or nothing) else None,
        hours=hours,
        by="; ".join(dict.fromkeys(rates.of(cell).source for cell, *_ in costs)) if sized else "",
        condition=subject.condition.name,
        todo=tuple(todo),
        notes=tuple(dict.fromkeys(notes)),
    )


def _times(n: int | None, many: int) -> int | None:
    return None if n is None else n * many


def known_subject(lake: Lake, spec: ModelSpec, request: Request) -> Subject | None:
    """The model as the lake recorded it when it was measured first; None where it has not been."""
    with lake.connect(["models", "conditions", "tokenizers"]) as con:
        row = con.execute(
            """
            select m.checkpoint_digest, m.weights_digest, m.config, m.tokenizer, t.digest, m.n_params, m.n_layers,
                m.n_heads, m.vocab_size, m.architecture, c.dtype, c.attention, c.bos, c.no_eos
            from stored.models m join stored.conditions c on m.base_condition = c.condition
            join stored.tokenizers t using (tokenizer) where model = ?
            """,
            [spec.name],
        ).fetchone()
    if row is None or row[1] is None or row[2] is None or row[10] is None:
        return None
    whole, weights_digest, config, tokenizer, digest, n_params, blocks, heads, vocabulary, kind, *base = row
    own, entries = parts_of(recognise(kind, spec.name)), json.loads(config)["entries"]
    said = {**own.defaults, **{own.names.get(key, key): value for key, value in entries.items()}}
    dtype, attention, bos, no_eos = base
    condition = Condition(
        request.dtype or dtype,
        request.attention or attention,
        bos if request.bos is None else request.bos,
        no_eos=bool(no_eos) if request.no_eos is None else request.no_eos,
    )
    return Subject(
        spec=spec,
        condition=condition,
        checkpoint_digest=whole,
        weights_digest=None if whole else weights_digest,
        tokenizer_digest=digest,
        tokenizer=tokenizer,
        limits=Limits(vocabulary, said[own.positions], int(condition.bos)),
        parameters=n_params,
        blocks=blocks,
        heads=heads,
    )


def _on_paper(spec: ModelSpec, request: Request, notes: list[str]) -> Subject:
    """The model by what its name or its folder says. parameters: 0 where that is not known."""
    parameters, stored = spec.nominal_params or 0, None
    if spec.is_folder:
        files = weights.fetch(spec)
        if all(path.suffix == ".safetensors" for path in files.weights):  # others take torch to be read
            parameters, stored = weights.count(files.weights), weights.stored_dtype(files.weights)
    if not parameters:
        notes.append("its size is not known before it is here, so neither are memory and time")
    if not (dtype := request.dtype or stored):
        dtype = DTYPE
        notes.append("16 bits a weight, as is assumed")
    return Subject(
        spec=spec,
        condition=Condition(dtype, request.attention or "sdpa", bool(spec.bos if request.bos is None else request.bos)),
        checkpoint_digest=None,
        weights_digest=None,
        tokenizer_digest="",
        tokenizer=spec.tokenizer or spec.name,
        limits=Limits(1, 1, 0),
        parameters=parameters,
        blocks=spec.blocks,
        heads=spec.heads,
    )


def _sequences(lake: Lake, corpus: str, tokenizer: str, request: Request) -> Sequence[int]:
    """How many sequences a request takes of each domain's samples."""
    with lake.connect(["sequences"]) as con:
        found = con.execute(
            """
            select least(count(*), $limit) from stored.sequences
            where corpus = $corpus and tokenizer = $tokenizer and len(tokens) > 0
              and (len($domains) = 0 or list_contains($domains, domain))
            group by domain, sample
            """,
            {
                "corpus": corpus,
                "tokenizer": tokenizer,
                "domains": list(request.domains),
                "limit": request.limit or 1 << 60,
            },
        ).fetchall()
    return [n for (n,) in found]


def _papers(
    lake: Lake,
    spec: ModelSpec,
    subject: Subject,
    request: Request,
    there: Sequence[int],
    supposed: Supposed,
    experiment: str,
    notes: list[str],
) -> list[tuple[Paper, int]] | None:
    """The samples of a corpus, and how many are alike; None where it is not known how many domains it has. there: the
    sequences of those that are sampled already."""
    (corpus,) = request.corpora
    share = _share(lake, subject, corpus)
    if experiment != "scoring" and share is None:
        share = supposed.memorized
        notes.append(f"{100 * share:g} % memorized, as is assumed")
    role = role_on(lake, spec, corpus, request.role)

    def paper(n: int) -> Paper:
        return Paper(corpus, n, round(n * (share or 0)), supposed.continuation, role)

    if there:
        return [(paper(n), 1) for n in there]
    each = min(supposed.per_domain, request.limit or supposed.per_domain)
    domains = len(request.domains) or supposed.domains
    if domains is None:
        notes.append(unknown(corpus))
        return None
    notes.append(stated(corpus, domains, supposed.counted or bool(request.domains)))
    return [(paper(each), domains)]


def unknown(corpus: str) -> str:
    """What lacks where the domains of a corpus are not known."""
    return f"how many domains {corpus} has is not known: say so in [assume.domains]"


def stated(corpus: str, domains: int, known: bool = False) -> str:
    """What is supposed of a corpus: its domains, or where they are known that each has as much as is asked for."""
    if known:
        return f"{corpus}: as many sequences as are asked for"
    return f"{corpus}: {counted(domains, 'domain')}, as the study says"


def _share(lake: Lake, subject: Subject, corpus: str) -> float | None:
    """Of what is scored of a corpus the share that the model memorized; None where nothing is."""
    with lake.connect(["matches"]) as con:
        row = con.execute(
            "select avg(memorized::int) from stored.matches where model = ? and corpus = ? and condition = ?",
            [subject.spec.name, corpus, subject.condition.name],
        ).fetchone()
    return row[0] if row else None
