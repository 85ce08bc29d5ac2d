"""A study as its file says it: models, corpora, samples, counts and experiments, by the options of the commands.

Every key is the name of an option of the command that does the work (`per_domain` is `--per-domain`), so that a study
says nothing that could not be typed, and its defaults are the commands'. What is wrong with a file is one line that
names the table and the key.
"""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from memlake.compute.planning.request import CELL_MINUTES
from memlake.warehouse import options, shelf
from memlake.warehouse.errors import BadInput, UnknownName
from memlake.warehouse.options import option
from memlake.warehouse.paths import local

if TYPE_CHECKING:
    import pyarrow as pa

SHELF = "memlake.studies"
SOURCES, EXPERIMENTS = "memlake.ingest.sources", "memlake.compute.experiments"
SCORING = "scoring"  # the experiment on which the others stand
ROLES = ("trained", "control")
Role = str | Mapping[str, str] | None  # of models on all their corpora, or by corpus
Domains = int | Mapping[str, int] | None
T = TypeVar("T")


@dataclass(frozen=True)
class Corpus:
    """One text collection: `[corpora.NAME]`. own: the options of its source."""

    source: str | None = option(None, "what it is read by; without one it is taken as the lake has it")
    keep: int | None = option(None, "documents of each domain to keep: a uniform sample")
    strict: bool = option(False, "publish nothing if any record is rejected")
    name: str = ""
    own: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Miniatures:
    """Models that are trained here: `[[miniatures]]`."""

    trained_on: str = option("", "corpus")
    family: tuple[str, ...] = option((), "architectures; default: all")
    size: tuple[str, ...] = option((), "sizes; default: all")
    suffix: str = option("", "ends their names")
    shown: str | None = option(None, "corpus that gets what training showed, each window as often")
    corpus: tuple[str, ...] = option((), "corpora that they are measured on; default: all but `shown`")
    role: Role = option(None, "trained or control, or a table of them by corpus")  # noqa: RUF009


@dataclass(frozen=True)
class Models:
    """Checkpoints that are measured alike: `[[models]]`."""

    model: tuple[str, ...] = option((), "names of the registry or the lake, hub ids, folders")
    revision: tuple[str, ...] = option((), "revisions of the hub: each model at each")
    corpus: tuple[str, ...] = option((), "corpora that they are measured on; default: all")
    role: Role = option(None, "trained or control, or a table of them by corpus")  # noqa: RUF009
    family: str | None = option(None, "training line of these models")
    dtype: str | None = option(None, "float32, float16 or bfloat16", ("float32", "float16", "bfloat16"))
    attention: str | None = option(None, "sdpa or eager", ("sdpa", "eager"))
    bos: bool | None = option(None, "put the beginning-of-sequence token first")
    no_eos: bool | None = option(None, "never decide for end-of-sequence")
    base_condition: bool = option(False, "make this condition the models' base condition")
    device: str = option("auto", "auto, cpu or cuda", ("auto", "cpu", "cuda"))
    batch_size: int | None = option(None, "sequences at once")


@dataclass(frozen=True)
class Sample:
    """One sample of some corpora: `[[samples]]`."""

    corpus: tuple[str, ...] = option((), "corpora; default: all on which models are measured")
    model: tuple[str, ...] = option((), "only for the tokenizers of these models")
    domain: tuple[str, ...] = option((), "only these domains")
    per_domain: int = option(300_000, "sequences of each domain under each tokenizer")
    window: str = option("32+32", "tokens before and after the anchor, or bytes:128+128")
    at: str = option("space", "space or start", ("space", "start"))
    seed: int = option(0, "another seed draws other anchors")


@dataclass(frozen=True)
class Count:
    """One count: `[[counts]]`. own: the options of its source."""

    corpus: str = option("", "corpus of the sequences")
    in_: str | None = option(None, "corpus in which is counted; by default that of the sequences")
    domain: tuple[str, ...] = option((), "only these domains")
    model: tuple[str, ...] = option((), "only sequences under the tokenizers of these models")
    tokenizer: tuple[str, ...] = option(("own",), "own, bytes, or a model whose tokenizer it is")
    source: str | None = option(None, "stream the corpus from this source again")
    index: str | None = option(None, "look up in an infini-gram index instead")
    own: Mapping[str, Any] = field(default_factory=dict)

    @property
    def within(self) -> str:
        return self.in_ or self.corpus


@dataclass(frozen=True)
class Measure:
    """One measurement: `[experiments.NAME]`. own: the options of the experiment."""

    model: tuple[str, ...] = option((), "only these models of the study")
    corpus: tuple[str, ...] = option((), "only these corpora")
    domain: tuple[str, ...] = option((), "only these domains")
    limit: int | None = option(None, "only the first N sequences of each domain's sample")
    cell_minutes: float = option(CELL_MINUTES, "cells of about so many minutes at most")
    experiment: str = ""
    own: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Assume:
    """What `plan` takes for granted of what is not read or scored yet: `[assume]`."""

    domains: Domains = option(None, "domains of a corpus, or a table of them by corpus")  # noqa: RUF009
    memorized: float | None = option(None, "share of the sequences")
    flops: float | None = option(None, "floating-point operations a second of the device; default: as measured")

    def of(self, corpus: str) -> int | None:
        """The domains that a corpus is said to have."""
        found = self.domains.get(corpus) if isinstance(self.domains, Mapping) else self.domains
        return None if found is None else int(found)


@dataclass(frozen=True)
class Study:
    """All of a file. name: of the file, without its ending."""

    name: str
    title: str
    report: bool
    assume: Assume
    corpora: tuple[Corpus, ...]
    miniatures: tuple[Miniatures, ...]
    models: tuple[Models, ...]
    samples: tuple[Sample, ...]
    counts: tuple[Count, ...]
    experiments: tuple[Measure, ...]

    @property
    def shown(self) -> set[str]:
        """Corpora of what training showed."""
        return {group.shown for group in self.miniatures if group.shown}

    @property
    def measured_on(self) -> tuple[str, ...]:
        """The corpora that models are measured on where none is named."""
        return tuple(corpus.name for corpus in self.corpora if corpus.name not in self.shown)


TABLES = {
    "title": "the study's name for people",
    "report": "draw the report at the end (default: true)",
    "assume": Assume,
    "corpora": Corpus,
    "miniatures": Miniatures,
    "models": Models,
    "samples": Sample,
    "counts": Count,
    "experiments": Measure,
}


def find(text: str) -> Path:
    """The file of a study: of the shelf by its name, else by its path; raises `UnknownName`."""
    path = local(text)
    if path.is_file():
        return path
    if text not in names():
        if path.suffix == ".toml" or "/" in text:
            raise BadInput(f"there is no file {text}: `memlake study list` names the studies that come with memlake")
        raise UnknownName("study", text, names())
    return shelf.path(SHELF, text, ".toml")


def names() -> list[str]:
    """The studies on the shelf."""
    return shelf.names(SHELF, ".toml")


def read(path: Path) -> Study:
    """The study that a file says; raises `BadInput`, with the file's name, for what it cannot mean."""
    try:
        text = path.read_text(encoding="utf-8")
        said = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise BadInput(f"{path.name} is not UTF-8") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{path.name} is not TOML: {error}") from error
    try:
        return _study(path.name.removesuffix(".toml"), said)
    except (BadInput, UnknownName) as error:
        raise BadInput(f"{path.name}: {error}") from error


def _study(name: str, said: Mapping[str, Any]) -> Study:
    for key in said:
        if key not in TABLES:
            raise UnknownName("table", f"[{key}]", [f"[{known}]" for known in TABLES])
    corpora = tuple(_corpus(name, given) for name, given in _named("corpora", said))
    miniatures = tuple(_take(where, given, Miniatures)[0] for where, given in _several("miniatures", said))
    models = tuple(_models(where, given) for where, given in _several("models", said, text="model"))
    samples = tuple(_take(where, given, Sample)[0] for where, given in _several("samples", said))
    counts = tuple(_count(where, given) for where, given in _several("counts", said))
    experiments = tuple(
        _measure(name, where, one)
        for name, given in _named("experiments", said)
        for where, one in _several(f"experiments.{name}", {f"experiments.{name}": given})
    )
    assume, _ = _take("[assume]", said.get("assume", {}), Assume)
    study = Study(
        name=name,
        title=_converted("title", said.get("title", name), str),
        report=_converted("report", said.get("report", True), bool),
        assume=assume,
        corpora=corpora,
        miniatures=miniatures,
        models=models,
        samples=samples if "samples" in said else (Sample(),),
        counts=counts,
        experiments=_scoring_first(experiments),
    )
    _refuse(study)
    return study


def _scoring_first(experiments: Sequence[Measure]) -> tuple[Measure, ...]:
    """Everything else stands on scores, which need not be named."""
    scoring = [m for m in experiments if m.experiment == SCORING] or [Measure(experiment=SCORING)]
    return (*scoring, *(m for m in experiments if m.experiment != SCORING))


def _corpus(name: str, given: Any) -> Corpus:
    from memlake.ingest.names import name_problem

    where = f"[corpora.{name}]"
    if problem := name_problem(name, "the name"):
        raise BadInput(f"{where}: {problem}")
    source = given.get("source") if isinstance(given, dict) else None
    read, own = _take(where, given, Corpus, _own(where, SOURCES, source, "source", "Source"), f"source {source!r}")
    if read.source is None and (own or read.keep or read.strict):
        raise BadInput(f"{where} has no source")
    if read.keep is not None and read.keep < 1:
        raise BadInput(f"{where} keep: it must be positive, not {read.keep}")
    return dataclasses.replace(read, name=name, own=own)


def _models(where: str, given: Any) -> Models:
    found, _ = _take(where, given, Models)
    if not found.model:
        raise BadInput(f"{where} names no model")
    return found


def _count(where: str, given: Any) -> Count:
    source = given.get("source") if isinstance(given, dict) else None
    found, own = _take(where, given, Count, _own(where, SOURCES, source, "source", "Source"), f"source {source!r}")
    if not found.corpus:
        raise BadInput(f"{where} names no corpus")
    if found.index and found.source:
        raise BadInput(f"{where}: give index or source: an index is looked up in, and the corpus is not read")
    return dataclasses.replace(found, own=own)


def _measure(name: str, where: str, given: Any) -> Measure:
    own = _own(where, EXPERIMENTS, name, "experiment", "Options")
    found, chosen = _take(where, given, Measure, own, f"experiment {name!r}")
    if not found.cell_minutes > 0:
        raise BadInput(f"{where} cell_minutes: it is a positive number")
    if found.limit is not None and found.limit < 1:
        raise BadInput(f"{where} limit: it must be positive, not {found.limit}")
    return dataclasses.replace(found, experiment=name, own=chosen)


def _own(where: str, package: str, name: object, kind: str, holder: str) -> type | None:
    """The class of the options of a source or an experiment."""
    if name is None:
        return None
    try:
        found: type = getattr(shelf.take(package, _converted(f"{where} {kind}", name, str), kind), holder)
    except UnknownName as error:
        raise BadInput(f"{where}: {error}") from error
    return found


def _named(key: str, said: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The tables `[KEY.NAME]`."""
    tables = said.get(key, {})
    if not isinstance(tables, dict):
        raise BadInput(f"[{key}] holds tables, as [{key}.NAME]")
    yield from tables.items()


def _several(key: str, said: Mapping[str, Any], text: str | None = None) -> Iterator[tuple[str, Any]]:
    """The tables `[[KEY]]`, of which there may be one or many, and how a message calls each. text: a text in the place
    of a table stands for a table of this key."""
    tables = said.get(key, [])
    if isinstance(tables, dict):
        yield f"[{key}]", tables
        return
    if text and isinstance(tables, str):
        tables = [tables]
    if not isinstance(tables, list):
        raise BadInput(f"{key} holds tables, as [[{key}]]")
    for i, given in enumerate(tables, 1):
        where = f"[[{key}]]" + (f" ({i} of {len(tables)})" if len(tables) > 1 else "")
        yield where, {text: given} if text and isinstance(given, str) else given


def _take(where: str, given: Any, cls: type[T], own: type | None = None, owner: str = "") -> tuple[T, dict[str, Any]]:
    """What a table says, and what it says of the options of `owner`, whose class is `own`."""
    if not isinstance(given, dict):
        raise BadInput(f"{where} is no table")
    shared, others = _fields(cls), _fields(own) if own else {}
    found: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for key, value in given.items():
        name = key.replace("-", "_")
        if name in shared:
            field_, type_ = shared[name]
            found[field_.name] = _value(f"{where} {key}", value, field_, type_)
        elif name in others:
            field_, type_ = others[name]
            rest[field_.name] = _value(f"{where} {key}", value, field_, type_)
        else:
            known = [*shared, *others]
            raise BadInput(f"{where} takes no {key!r}{_hint(name, known)} (it takes: {', '.join(known)})")
    if own:
        try:
            options.make(own, rest, owner)
        except BadInput as error:
            raise BadInput(f"{where}: {error}") from error
    return cls(**found), rest


def _fields(cls: type) -> dict[str, tuple[dataclasses.Field[Any], Any]]:
    """The options of a class, as a file calls them, and their types."""
    hints = typing.get_type_hints(cls)
    return {f.name.rstrip("_"): (f, hints[f.name]) for f in dataclasses.fields(cls) if "doc" in f.metadata}


def _hint(name: str, known: Iterable[str]) -> str:
    return options.hint(name, known).replace("?", "'?").replace("mean ", "mean '") if options.hint(name, known) else ""


def _value(where: str, value: Any, of: dataclasses.Field[Any], type_: Any) -> Any:
    if of.name == "role":
        return _role(where, value)
    if of.name == "domains":
        return _domains(where, value)
    found = _converted(where, value, type_)
    values = of.metadata["values"]
    if values and found is not None and not isinstance(found, tuple) and found not in values:
        raise BadInput(f"{where}: no {found!r}: it is {' or '.join([', '.join(values[:-1]), values[-1]])}")
    return found


KINDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def _converted(where: str, value: Any, type_: Any) -> Any:
    """A value of TOML as the type of an option: one in the place of several is a list of one."""
    arguments = typing.get_args(type_)
    if isinstance(type_, types.UnionType):
        return _converted(where, value, next(a for a in arguments if a is not type(None)))
    if typing.get_origin(type_) is tuple:
        return tuple(_converted(where, v, arguments[0]) for v in (value if isinstance(value, list) else [value]))
    if type_ is float and type(value) is int:
        return float(value)
    if type(value) is not type_:
        raise BadInput(f"{where}: {value!r} is not {KINDS[type_]}")
    return value


def _role(where: str, value: Any) -> Any:
    for role in value.values() if isinstance(value, dict) else (value,):
        if role not in ROLES:
            raise BadInput(f"{where}: no role {role!r}: it is trained or control")
    return value


def _domains(where: str, value: Any) -> Any:
    for n in value.values() if isinstance(value, dict) else (value,):
        if type(n) is not int or n < 1:
            raise BadInput(f"{where}: {n!r} is not a number of domains")
    return value


def _refuse(study: Study) -> None:
    """Raise `BadInput` for names that the rest of the file does not have."""
    from memlake.compute.miniatures.models import FAMILIES, SIZES
    from memlake.ingest.sampling.windows import Window

    corpora = {corpus.name for corpus in study.corpora} | study.shown
    groups: list[tuple[str, Sequence[Any]]] = [
        ("[[miniatures]]", study.miniatures),
        ("[[models]]", study.models),
        ("[[samples]]", study.samples),
        ("[[counts]]", study.counts),
    ]
    groups += [(f"[experiments.{m.experiment}]", [m]) for m in study.experiments]
    for where, tables in groups:
        for table in tables:
            named = [table.corpus] if isinstance(table.corpus, str) else table.corpus
            role = getattr(table, "role", None)
            for name in (*named, *(role if isinstance(role, Mapping) else ())):
                _known(f"{where}", "corpus", name, corpora)
    _known_all("[assume.domains]", "corpus", study.assume.domains or {}, corpora)
    for group in study.miniatures:
        if not group.trained_on:
            raise BadInput("[[miniatures]] says no corpus: trained_on")
        _known("[[miniatures]] trained_on", "corpus", group.trained_on, corpora - study.shown)
        _known_all("[[miniatures]] family", "family", group.family, set(FAMILIES))
        _known_all("[[miniatures]] size", "size", group.size, set(SIZES))
    for sample in study.samples:
        if sample.per_domain < 1:
            raise BadInput(f"[[samples]] per_domain: it must be positive, not {sample.per_domain}")
        try:
            Window.parse(sample.window)
        except BadInput as error:
            raise BadInput(f"[[samples]] window: {error}") from error
    if not (study.models or study.miniatures) and len(study.experiments) > 1:
        raise BadInput("it names no model: [[models]]")
    if (study.models or study.miniatures) and not study.corpora:
        raise BadInput("it names no corpus: [corpora.NAME]")
    if not study.corpora:
        raise BadInput("it says nothing to do: [corpora.NAME] and [[models]]")


def _known(where: str, kind: str, name: str, known: Iterable[str]) -> None:
    if name not in (known := set(known)):
        raise BadInput(f"{where}: {UnknownName(kind, name, known)}")


def _known_all(where: str, kind: str, given: Any, known: Iterable[str]) -> None:
    for name in given if isinstance(given, Mapping | tuple) else ():
        _known(where, kind, name, known)


def listing() -> pa.Table:
    """One row is one study of the shelf."""
    import pyarrow as pa

    first = {name: shelf.text(SHELF, name, ".toml").splitlines()[0] for name in names()}
    return pa.Table.from_pylist([{"study": name, "what": line.lstrip("# ")} for name, line in first.items()])
