"""The models that memlake knows by name: one .toml a family, with hub ids, nominal sizes, blocks and heads, training
corpora, whether training put a BOS token before each text, and how the family appears in figures.

Any other hub id or local folder resolves as well; then nothing of this is known beforehand. A folder may say more about
itself in a `memlake.json`: the keys family, corpora, tokenizer (its name), bos and miniature.
"""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memlake.warehouse import shelf
from memlake.warehouse.errors import BadInput, UnknownName
from memlake.warehouse.json_files import json_object
from memlake.warehouse.paths import local

if TYPE_CHECKING:
    import pyarrow as pa

    from memlake.warehouse.lake import Lake

# What a `memlake.json` may say, and how JSON calls its type
ABOUT = {"family": str, "tokenizer": str, "corpora": list, "bos": bool, "miniature": bool}
NAMES = {str: "string", list: "list", bool: "boolean"}

CATALOG = "memlake.warehouse.models.catalog"


@dataclass(frozen=True)
class ModelSpec:
    """Where a checkpoint comes from, and what is known of it before it is loaded."""

    name: str  # what its rows are called: `name` or `name@revision`
    location: str  # hub id, or absolute path of a folder
    family: str | None = None  # None: one of its own
    revision: str | None = None  # branch, tag or commit of the hub; None: the default branch
    nominal_params: int | None = None  # parameters as its name says
    blocks: int | None = None  # of the model
    heads: int | None = None  # of a block
    corpora: tuple[str, ...] = ()  # it trained on these
    bos: bool | None = None  # did training put a BOS token before each text; None: not known
    tokenizer: str | None = None  # what to call its tokenizer in a lake that does not have it yet
    is_folder: bool = False
    miniature: bool = False  # trained here, tiny, on a small corpus


@dataclass(frozen=True)
class Appearance:
    """How a family appears in figures.

    The colours are after Okabe and Ito 2008 (told apart in all common forms of colour blindness); the three OLMo lines,
    which belong together, differ in lightness as well.
    """

    colour: str  # as #rrggbb
    place: float = math.inf  # among the families; those without one come last, by name


@cache
def models() -> dict[str, ModelSpec]:
    """Every model of the registry by its name, in the order of the files."""
    found = {}
    for family in families():
        shared = _read(family)
        for name, model in shared["models"].items():
            found[name] = ModelSpec(
                name=name,
                location=model["hub"],
                family=family,
                nominal_params=model["params"],
                blocks=model.get("blocks"),
                heads=model.get("heads"),
                corpora=tuple(shared["corpora"]),
                bos=shared["bos"],
                tokenizer=shared["tokenizer"],
            )
    return found


def listing() -> pa.Table:
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


def role(spec: ModelSpec, corpus: str) -> str | None:
    """'trained' or 'control', as far as it is known: a model whose corpora are known is a control of every other corpus
    that a family of the registry trained on. None for any other pair.

    Known is the name, not the text: corpora of two names may share documents.
    """
    if corpus in spec.corpora:
        return "trained"
    known = {c for model in models().values() for c in model.corpora}
    return "control" if spec.corpora and corpus in known else None


@cache
def appearances() -> dict[str, Appearance]:
    """How families appear in figures, of those whose file says it."""
    files = {family: _read(family) for family in families()}
    return {family: Appearance(**file["appearance"]) for family, file in files.items() if "appearance" in file}


def families() -> list[str]:
    """The families of the registry."""
    return shelf.names(CATALOG, ".toml")


def resolve(text: str, revision: str | None = None) -> ModelSpec:
    """The spec of the model that `text` means: a name of the registry, a hub id (`owner/name`), or a local folder.

    `name@revision` asks for a revision, as the argument does. Names of the registry are matched without regard to
    case. Raises `UnknownName`, and `BadInput` for a folder that holds no checkpoint.
    """
    if local(text).is_dir():
        if revision:
            raise BadInput(f"{text} is a folder: a revision ({revision}) can be asked of a hub id only")
        return _folder(local(text).resolve())
    if text.startswith((".", "/", "~")):
        raise BadInput(f"there is no folder {text}")
    base, _, at = text.partition("@")
    revision = revision or at or None
    for spec in models().values():
        if base.lower() in (spec.name, spec.location.lower()):
            return _at(spec, revision)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", base):
        raise UnknownName("model", text, models())
    return _at(ModelSpec(name=base.split("/")[1], location=base, tokenizer=base.split("/")[1]), revision)


def find(lake: Lake, text: str) -> ModelSpec:
    """The spec of the model that `--model TEXT` means in a lake: that of a folder, else of a model of the lake by its
    name, else what `resolve` finds. Raises `UnknownName`, `BadInput`."""
    if local(text).is_dir():
        return resolve(text)
    with lake.connect(["models"]) as con:
        rows = con.execute("select model, source, revision from stored.models").fetchall()
    for name, location, revision in rows:
        if name == text and location is not None:
            if revision is None:
                return resolve(str(lake.absolute(location)))
            return resolve(location, name.partition("@")[2] or None)
    try:
        return resolve(text)
    except UnknownName as error:
        raise UnknownName("model", text, {*models(), *(name for name, *_ in rows)}) from error


def _read(family: str) -> dict[str, Any]:
    return tomllib.loads(shelf.text(CATALOG, family, ".toml"))


def _at(spec: ModelSpec, revision: str | None) -> ModelSpec:
    if revision is None:
        return spec
    return replace(spec, name=f"{spec.name}@{revision}", revision=revision)


def _folder(path: Path) -> ModelSpec:
    if not (path / "config.json").is_file():
        raise BadInput(f"{path} holds no checkpoint: it has no config.json")
    about = _about(path / "memlake.json")
    return ModelSpec(
        name=path.name,
        location=str(path),
        family=about.get("family"),
        corpora=tuple(about.get("corpora", [])),
        bos=about.get("bos"),
        tokenizer=about.get("tokenizer", path.name),
        is_folder=True,
        miniature=about.get("miniature", False),
    )


def _about(path: Path) -> dict[str, Any]:
    """What a folder says about itself; raises `BadInput` where it does not say it as it should."""
    if not path.is_file():
        return {}
    about = json_object(path)
    for key, kind in ABOUT.items():
        if key in about and not isinstance(about[key], kind):
            raise BadInput(f"{path}: {key} is not a {NAMES[kind]}")
    if not all(isinstance(corpus, str) for corpus in about.get("corpora", [])):
        raise BadInput(f"{path}: corpora is not a list of names")
    return about
