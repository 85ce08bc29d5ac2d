"""What an open lake offers by name: `lake.tables`, `lake.findings` and `lake.functions`. They complete in a notebook,
and list what there is."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from html import escape
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import duckdb

from memlake.warehouse import schema
from memlake.warehouse.errors import BadInput, UnknownName

from .catalog import Definition, definitions, macros
from .finding import Finding, Parameter, find, names
from .only import COLUMNS, EXAMPLES

if TYPE_CHECKING:
    import ibis

    from .backend import LakeBackend

ROW = "One row is "
ANY_TABLE = "of a table, view or CTE of that name"  # so the comments of scripts say it


class UnknownAttribute(UnknownName, AttributeError):
    """No such name in a namespace."""


class Namespace(ModuleType):
    """Things by name, as attributes and by `[...]`. Raises `UnknownName`, which as an attribute is an AttributeError.

    It is a module, since a module may have a `__getattr__` of its own: through a class's IPython completes nothing.
    """

    kind: ClassVar[str]

    def __init__(self) -> None:
        super().__init__(type(self).__name__.lower(), type(self).__doc__)
        vars(self)["__getattr__"] = self._found

    def _names(self) -> Collection[str]:
        raise NotImplementedError

    def _listed(self) -> Mapping[str, str]:
        """What there is, and what each is, in a sentence."""
        raise NotImplementedError

    def _take(self, name: str) -> Any:
        raise NotImplementedError

    def _found(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Any:
        if name not in (known := self._names()):
            raise UnknownAttribute(self.kind, str(name), known)
        return self._take(name)

    def __dir__(self) -> list[str]:
        return list(self._names())

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def _ipython_key_completions_(self) -> list[str]:
        return list(self._names())

    def __repr__(self) -> str:
        return listing(self._listed())

    def _repr_html_(self) -> str:
        return html(self._listed())


class Tables(Namespace):
    """The tables and views of a lake: `lake.tables.matches` is an Ibis table, of each model's base condition."""

    kind = "table"

    def __init__(self, names: Collection[str], table: Callable[[str], ibis.Table]):
        """names: all that there are; table: gives one of them."""
        super().__init__()
        self._all, self._of_name = names, table

    def _names(self) -> Collection[str]:
        return self._all

    def _listed(self) -> Mapping[str, str]:
        stored = {name: row_of(schema.table(name).grain) for name in schema.names()}
        made = {made.name: made.doc for made in definitions() if made.name in self._names()}
        return stored | {name: row_of(doc) for name, doc in made.items() if doc.startswith(ROW)}

    def _take(self, name: str) -> ibis.Table:
        return self._of_name(name)


class Findings(Namespace):
    """The findings: `lake.findings.scaling_law(minimum_sizes=2)` is its answer, an Ibis table."""

    kind = "finding"

    def __init__(self, query: Callable[..., ibis.Table]):
        """query: answers the finding of a name, given its parameters."""
        super().__init__()
        self._query = query

    def _names(self) -> Collection[str]:
        return names()

    def _listed(self) -> Mapping[str, str]:
        return {name: row_of(find(name).grain) for name in names()}

    def _take(self, name: str) -> Callable[..., ibis.Table]:
        def ask(**parameters: object) -> ibis.Table:
            return self._query(name, **parameters)

        return _described(ask, name, _help(find(name)), _signature(find(name)))


class Functions(Namespace):
    """What SQL has as macros, for Ibis: `lake.functions.cluster_low(_.memorized, _.n)` in an aggregation, and
    `lake.functions.labelled(table)`, of an Ibis table or of one by its name."""

    kind = "function"

    def __init__(self, backend: LakeBackend, sql: Callable[[str], ibis.Table], table: Callable[[str], ibis.Table]):
        """sql: answers a SELECT; table: gives the table of a name."""
        super().__init__()
        self._backend, self._sql, self._of_name = backend, sql, table

    def _names(self) -> Collection[str]:
        return list(_functions())

    def _listed(self) -> Mapping[str, str]:
        return {name: first_sentence(made.doc.partition(": ")[2]) for name, made in _functions().items()}

    def _take(self, name: str) -> Callable[..., Any]:
        made = _functions()[name]
        gives_table = made.kind == "table macro"
        call = self._table if gives_table else self._value
        signature = inspect.Signature(
            [
                inspect.Parameter(key, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default)
                for key, default in _parameters(made).items()
            ]
        )

        def function(*args: object, **named: object) -> Any:
            given = signature.bind(*args, **named)
            given.apply_defaults()
            return call(name, list(given.arguments.values()))

        described = _described(function, name, made.doc, signature)
        if gives_table:
            return described
        from ibis.common.deferred import deferrable

        return deferrable(described)

    def _table(self, name: str, args: list[object]) -> ibis.Table:
        """The rows of a table macro, of which an argument is an Ibis table, the name of a table, or a value."""
        return self._sql(f"from {name}({', '.join(self._written(arg) for arg in args)})")

    def _written(self, arg: object) -> str:
        import ibis

        if isinstance(arg, str):
            self._of_name(arg)
            return f'"{arg}"'
        if isinstance(arg, ibis.Table):
            backends, _ = arg._find_backends()
            if any(backend is not self._backend for backend in backends):
                raise BadInput("a table of another lake, or of one asked otherwise, cannot be asked here")
            return f'"{self._backend.named(arg)}"'
        return json.dumps(arg)

    def _value(self, name: str, args: list[Any]) -> Any:
        """A macro of values, as a function that Ibis knows: DuckDB tells the type of what it gives of arguments of
        these types, and whether it is an aggregate. Of numbers alone: the number."""
        import ibis

        from .backend import told

        if not any(isinstance(arg, ibis.Value) for arg in args):
            with told():
                asked = f"select {name}({', '.join('?' for _ in args)})"
                ((found,),) = self._backend.con.execute(asked, args).fetchall()
                return found
        values = [arg if isinstance(arg, ibis.Value) else ibis.literal(arg) for arg in args]
        types = [value.type() for value in values]
        columns = [f"null::{self._backend.compiler.type_mapper.to_string(t)} as a{i}" for i, t in enumerate(types)]
        call = f"{name}({', '.join(f'a{i}' for i in range(len(types)))})"
        made_of = f"from (select {', '.join([*columns, '1 as beside'])})"
        try:
            self._backend.con.sql(f"select {call}, beside {made_of}")
            kind = ibis.udf.scalar
        except duckdb.BinderException:  # a column beside an aggregate
            kind = ibis.udf.agg
        with told():
            (given,) = self._backend._get_schema_using_query(f"select {call} as given {made_of}").values()
        stub = _described(lambda *_: None, name, "", inspect.signature(lambda: None))
        stub.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter(f"a{i}", inspect.Parameter.POSITIONAL_OR_KEYWORD) for i in range(len(types))]
        )
        return kind.builtin(stub, name=name, signature=(tuple(types), given))(*values)


@cache
def _functions() -> dict[str, Definition]:
    """The macros that are statistics or take any table, and whose comment opens with them."""
    found = {}
    for made in definitions():
        opens = re.match(r"\w+\(", made.doc) and f"{made.name}(" in made.doc.partition(": ")[0]
        of_all = ANY_TABLE in made.doc if made.kind == "table macro" else made.sql in macros()
        if opens and of_all and "macro" in made.kind and _parameters(made):
            found[made.name] = made
    return found


def _parameters(macro: Definition) -> dict[str, Any]:
    return _defaults(macro.written.removeprefix(macro.name)[1:-1])


def _defaults(text: str) -> dict[str, Any]:
    """The parameters of a macro, `n, w := 1`, and their defaults."""
    pairs = [part.partition(":=") for part in text.split(",") if part.strip()]
    return {
        name.strip().strip('"'): json.loads(default) if default else inspect.Parameter.empty
        for name, _, default in pairs
    }


def row_of(grain: str) -> str:
    """What one row is, in a few words."""
    return first_sentence(grain.removeprefix(ROW))


def first_sentence(text: str) -> str:
    """What stands before the first full stop, in one line."""
    return re.split(r"(?<=[^.\d])\.\s|\.$", " ".join(text.split()), maxsplit=1)[0]


def listing(rows: Mapping[str, str]) -> str:
    """Names and what each is, a line each, of 120 letters at most."""
    width = max(map(len, rows), default=0)
    return "\n".join(shorten(f"{name:{width}}  {what}") for name, what in rows.items())


def shorten(line: str) -> str:
    return line if len(line) <= 120 else f"{line[:117].rstrip()}..."


def html(rows: Mapping[str, str]) -> str:
    """Names and what each is, as a table."""
    cells = (
        f'<tr><th style="text-align:left">{escape(name)}</th><td style="text-align:left">{escape(what)}</td></tr>'
        for name, what in rows.items()
    )
    return f"<table>{''.join(cells)}</table>"


def _described(function: Callable[..., Any], name: str, doc: str, signature: inspect.Signature) -> Callable[..., Any]:
    """The function, as `help` and a notebook show it."""
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    function.__signature__ = signature  # type: ignore[attr-defined]
    return function


def _signature(finding: Finding) -> inspect.Signature:
    """The parameters of a finding, all by name, and those that every finding has."""
    own = {p.name: _default(p) for p in finding.parameters.values()}
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=_kind(default))
        for name, default in own.items()
    ]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name in EXAMPLES
        for kind in ("str | list[str] | None" if name in COLUMNS else "str | None",)
    ]
    return inspect.Signature(parameters, return_annotation="ibis.Table")


def _default(parameter: Parameter) -> Any:
    text = parameter.literal
    return text[1:-1].replace("''", "'") if text.startswith("'") else json.loads(text)


def _kind(default: Any) -> str:
    return f"list[{type(default[0]).__name__}]" if isinstance(default, list) else type(default).__name__


def _help(finding: Finding) -> str:
    """The help of a finding, and its parameters."""
    own = {p.name: f"{p.doc} ({p.literal})" for p in finding.parameters.values()}
    shared = {
        name: f"of {'these, as though the lake held nothing else' if name in COLUMNS else 'this one only'}: {example!r}"
        for name, example in EXAMPLES.items()
    }
    width = max(map(len, own | shared)) + 2
    lines = [f"  {name:{width}}{means}" for name, means in (own | shared).items()]
    return "\n".join([finding.help, "", "Parameters:", *lines])
