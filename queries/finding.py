"""A finding: a named question, one `.sql` file whose opening comment is its help.

Its parameters are the first CTE of the file, one literal a line, so that the file pastes into DuckDB as it is:

    with parameters as (select
        32 as horizon       -- bytes that both continuations must hold
    ), ...

The help ends with the columns that tell rows apart and with all columns of the answer, in order. Those that mean what
they mean in other findings are only named there; `glossary.toml` explains them, and whoever finds the finding gets a
line for each:

    -- Key: model, corpus
    -- Columns:
    --   family, model, corpus
    --   score  n_match / n_tokens
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, takewhile
from pathlib import Path
from textwrap import wrap

from memlake.warehouse import shelf
from memlake.warehouse.errors import BadInput, UnknownName

from .only import SHARED

SHELF = "memlake.queries.findings"
GLOSSARY = Path(__file__).parent / "glossary.toml"
KEY = re.compile(r"^-- Key: (?P<names>.*\n(?:--   .*\n)*)", re.MULTILINE)
COLUMNS = re.compile(r"^-- Columns:\n(?P<lines>(?:--.*\n)*)", re.MULTILINE)
HEAD = re.compile(r"^with parameters as (?:not materialized )?\(select\n(?P<body>.*?)^\)", re.MULTILINE | re.DOTALL)
LINE = re.compile(
    r"^(?P<indent> +)(?P<literal>.+?) as (?P<name>\w+)(?P<comma>,?)(?P<gap> *-- )(?P<doc>.*)$", re.MULTILINE
)


@dataclass(frozen=True)
class Parameter:
    """One choice a finding leaves open. `literal` is its default as SQL."""

    name: str
    literal: str
    doc: str


@dataclass(frozen=True)
class Finding:
    """One `.sql` file. `text` is the whole of it, all columns explained (see `explained`)."""

    name: str
    text: str

    @property
    def help(self) -> str:
        """The opening comment, without the dashes."""
        return "\n".join(s[3:] for s in takewhile(lambda s: s.startswith("--"), self.text.splitlines()))

    @property
    def grain(self) -> str:
        """What one row is: the first sentence of the help."""
        return re.sub(r"\s+", " ", re.split(r"\n\s*\n", self.help)[0])

    @property
    def columns(self) -> dict[str, str]:
        """The columns it returns, in order, and what each holds."""
        return {name: meaning or "" for name, meaning in header(self.text).items()}

    @property
    def key(self) -> list[str]:
        """The columns that tell its rows apart: no two have the same values in all of them."""
        found = KEY.search(self.text)
        return re.findall(r"\w+", found["names"]) if found else []

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Its parameters by name."""
        head = HEAD.search(self.text)
        found = LINE.finditer(head["body"]) if head else ()
        return {m["name"]: Parameter(m["name"], m["literal"], m["doc"]) for m in found}

    @property
    def call(self) -> str:
        """As a statement names it, with its parameters' defaults: `scaling_law(minimum_sizes := 3)`."""
        return f"{self.name}({', '.join(f'{p.name} := {p.literal}' for p in self.parameters.values())})"

    def sql(self, **values: object) -> str:
        """The query, with these parameters in the place of their defaults.

        A value is a Python value or its text, of the same kind as the default: a whole number, a number, a text, true
        or false, or a list of these. Raises `UnknownName` and `BadInput`.
        """
        known = self.parameters
        for name in values:
            if name not in known:
                raise UnknownName(f"parameter of {self.name}", name, {*known, *SHARED})
        return self._with({name: literal(known[name], value) for name, value in values.items()})

    def macros(self) -> list[str]:
        """The statements that make it a table macro of its name in a DuckDB file that has a schema `findings`:
        `from scaling_law(minimum_sizes := 2)`.

        The query is a macro of that schema, whose parameters have names that stand nowhere else: DuckDB puts a
        macro's arguments into the place of whatever is called like its parameters, columns too. The one of the
        finding's name calls it, and must be made first, over a stand-in: DuckDB refuses a parameter that a query
        beneath, when it knows it, calls a column."""
        known = self.parameters
        given = {name: f"given_{name}" for name in known}
        inner = f"create or replace macro findings.{self.name}({', '.join(given.values())}) as table\n"
        outer = f"create or replace macro {self.call} as table from findings.{self.name}({', '.join(known)})"
        return [f"{inner}select 1", outer, inner + self._with(given)]

    def _with(self, literals: Mapping[str, str]) -> str:
        """The query, with these SQL expressions in the place of the parameters' defaults."""

        def line(m: re.Match) -> str:
            return (
                f"{m['indent']}{literals.get(m['name'], m['literal'])} as {m['name']}{m['comma']}{m['gap']}{m['doc']}"
            )

        return HEAD.sub(lambda head: head[0].replace(head["body"], LINE.sub(line, head["body"])), self.text, count=1)


def names() -> list[str]:
    """The findings there are."""
    return shelf.names(SHELF, ".sql")


def find(name: str) -> Finding:
    """The finding `name`; raises `UnknownName`."""
    if name not in names():
        raise UnknownName("finding", name, names())
    return Finding(name, explained(shelf.text(SHELF, name, ".sql")))


def header(text: str) -> dict[str, str | None]:
    """The columns that the text of a finding lists, in order, and how it explains them; None: it only names them."""
    columns: dict[str, str | None] = {}
    found = COLUMNS.search(text)
    for line in found["lines"].splitlines() if found else ():
        if own := re.fullmatch(r"--   (\w+) {2,}(.+)", line):
            name, columns[own[1]] = own.groups()
        elif line.startswith("--     "):  # goes on with the last
            columns[name] = f"{columns[name]} {line[2:].strip()}"
        else:
            columns |= dict.fromkeys(re.findall(r"\w+", line))
    return columns


def explained(text: str) -> str:
    """The text of a finding with a line for each of its columns, those that it only names as the glossary explains
    them. Raises `BadInput` for a name that is not there."""

    def lines(found: re.Match) -> str:
        columns = {name: meaning or shared_meaning(name) for name, meaning in header(found[0]).items()}
        width = max(map(len, columns)) + 2
        explanations = (
            wrap(f"--   {name:{width}}{meaning}", 120, subsequent_indent=f"--   {'':{width}}", break_on_hyphens=False)
            for name, meaning in columns.items()
        )
        return "\n".join(["-- Columns:", *chain.from_iterable(explanations), ""])

    return COLUMNS.sub(lines, text, count=1)


def shared_meaning(column: str) -> str:
    """What the glossary says that a column holds, by its name or by how that ends; raises `BadInput`."""
    for name, meaning in glossary().items():
        if column == name or (name.startswith("*") and column.endswith(name[1:])):
            return meaning
    raise BadInput(f"neither the finding nor {GLOSSARY.name} explains its column {column!r}")


@cache
def glossary() -> dict[str, str]:
    """What a column holds in every finding that only names it. A name `*_low` stands for all that end so."""
    return tomllib.loads(GLOSSARY.read_text(encoding="utf-8"))


def literal(parameter: Parameter, value: object) -> str:
    """`value` as an SQL literal of the kind of the parameter's default. What is not of that kind raises `BadInput`, so
    that nothing but a literal ever enters the SQL."""
    if parameter.literal.startswith("'"):
        return "'" + str(value).replace("'", "''") + "'"
    default = json.loads(parameter.literal)
    try:
        given = json.loads(value) if isinstance(value, str) else value
        if not _alike(default, given):
            raise ValueError
        return json.dumps(given, allow_nan=False)
    except ValueError:
        raise BadInput(f"{parameter.name} wants a value like {parameter.literal}, not {value!r}") from None


def _alike(default: object, given: object) -> bool:
    if isinstance(default, list):
        return isinstance(given, list) and bool(given) and all(_alike(default[0], g) for g in given)
    return type(given) is type(default) or (type(default) is float and type(given) is int)


def parse(pairs: Sequence[str]) -> dict[str, str]:
    """`["horizon=64"]` as a dict; raises `BadInput`."""
    for pair in pairs:
        if "=" not in pair:
            raise BadInput(f"-p wants key=value, not {pair!r}")
    keys = [pair.partition("=")[0] for pair in pairs]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise BadInput(f"-p {twice} is given twice: name several as {twice}=a,b")
    return dict(pair.split("=", 1) for pair in pairs)
