"""Commands that name a thing on a shelf, and take the options of that thing beside their own.

`memlake compute run noise --strength 0.1 --model M`: `--model` is an option of the command, `--strength` a field of the
class `Options` in `compute/experiments/noise.py`. That file is loaded when the command has found its name, which may
stand anywhere among the arguments.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption
from typer.main import get_command

from memlake.warehouse import options, shelf
from memlake.warehouse.errors import BadInput

OWN = "own"  # the parameter of a command's function that gets the options of the thing
HELP = {"-h", "--help"}
Function = Callable[..., None]


@dataclass(frozen=True)
class Kind:
    """A kind of thing: what a message calls it, its shelf, and the class in its file whose fields are its options."""

    name: str
    shelf: str
    holder: str

    def options(self, thing: str) -> type:
        """The class of the thing of this name; raises `UnknownName`."""
        holder: type = getattr(shelf.take(self.shelf, thing, self.name), self.holder)
        return holder


def command(app: typer.Typer, name: str, kind: Kind, by: str) -> Callable[[Function], Function]:
    """Register a function as the command `name`. Its parameter `by`, an argument or an option, names a thing of this
    kind. Its parameter `own`, a mapping, gets the options of the thing that were given: field and value, a tuple where
    the option may be repeated. An option of the thing that is called like one of the command is not offered."""

    def register(function: Function) -> Function:
        class Command(_Command):
            offer = _Offer(name, kind, by, function)

        app.command(name, cls=Command)(_taking(function, {}))
        return function

    return register


@dataclass(frozen=True)
class _Offer:
    """What `command` was told."""

    name: str
    kind: Kind
    by: str
    function: Function


class _Command(TyperCommand):
    """The command as it is until the name of the thing is known."""

    offer: _Offer

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Parse the arguments: as the command for the thing that they name, or as this one where they name none."""
        kind = self.offer.kind
        flag = next((o.opts[0] for o in _options(self) if o.name == self.offer.by), "")  # empty: an argument names it
        thing = _read(self, args).values.get(self.offer.by) if flag else self._find(args)
        if thing is not None:
            whole = self._for(thing, flag)
            if lacking := _read(whole, args).lacking:
                raise options.unknown(lacking[0], kind.options(thing), f"{kind.name} {thing!r}", _flags(whole))
            return whole.make_context(info_name, args, parent, **extra)
        if not flag and HELP.isdisjoint(args):
            args = []  # the name is missing, whatever else is wrong
        elif HELP.isdisjoint(args) and (
            strange := [o for o in _read(self, args).lacking if not options.hint(o, _flags(self))]
        ):
            raise BadInput(f"no option {strange[0]}: if it is one of a {kind.name}, name that with {flag}")
        path = [*([parent.command_path] if parent else []), self.offer.name, *([flag] if flag else [])]
        self.epilog = f"`{' '.join(path)} {kind.name.upper()} --help` shows the options of that {kind.name} as well."
        return super().make_context(info_name, args, parent, **extra)

    def _find(self, args: list[str]) -> str | None:
        """The name of the thing, where it is an argument: the first that is on the shelf, or else the first of all."""
        read = _read(self, args)
        known = [w for w in read.words if w in shelf.names(self.offer.kind.shelf)]
        if len(set(known)) > 1:  # the others may be values of options of the thing
            known = [w for w in known if self._fits(w, args)] or known
        return next(iter([*known, *read.sure]), None)

    def _fits(self, thing: str, args: list[str]) -> bool:
        """May these be the arguments of the command for the thing?"""
        read = _read(self._for(thing), args)
        return read.words[:1] == [thing] and not read.lacking

    def _for(self, thing: str, flag: str = "") -> TyperCommand:
        """The command with the options of the thing. Its name is as it is typed: a message may quote it."""
        taken = _flags(self)
        fields = [f for f in dataclasses.fields(self.offer.kind.options(thing)) if options.flag(f.name) not in taken]
        types = typing.get_type_hints(self.offer.kind.options(thing))
        own = {f.name: _parameter(f, types[f.name], f"Options of {thing}") for f in fields}
        app = typer.Typer(add_completion=False)
        app.command(" ".join([self.offer.name, *([flag] if flag else []), thing]))(_taking(self.offer.function, own))
        whole = get_command(app)
        assert isinstance(whole, TyperCommand)
        return whole


@dataclass
class _Read:
    """Arguments, as a command reads them that may lack some of the options."""

    words: list[str] = field(default_factory=list)  # neither options nor values of its options
    sure: list[str] = field(default_factory=list)  # those that do not stand right behind an option that it lacks
    values: dict[str, str] = field(default_factory=dict)  # of its options, by parameter; the last where repeated
    lacking: list[str] = field(default_factory=list)  # options that it lacks


def _read(command: TyperCommand, args: list[str]) -> _Read:
    known = {flag: o for o in _options(command) for flag in (*o.opts, *o.secondary_opts)}
    found, rest, behind = _Read(), iter(args), ""
    for arg in rest:
        flag, equals, value = arg.partition("=")
        if arg == "--":
            last = list(rest)
            found.words += last
            found.sure += last
        elif arg == "-" or not arg.startswith("-"):
            found.words.append(arg)
            found.sure += [] if behind in found.lacking else [arg]
        elif flag not in known:
            found.lacking += [flag] if flag not in HELP else []
        elif not known[flag].is_flag and (typed := [value] if equals else list(islice(rest, 1))):
            found.values[known[flag].name] = typed[0]
        behind = arg
    return found


def _options(command: TyperCommand) -> list[TyperOption]:
    return [p for p in command.params if isinstance(p, TyperOption)]


def _flags(command: TyperCommand) -> set[str]:
    """The options of a command as they are typed."""
    return {flag for o in _options(command) for flag in (*o.opts, *o.secondary_opts)}


def _taking(function: Function, own: dict[str, inspect.Parameter]) -> Function:
    """The function as a callback of Typer, with these parameters in the place of `own`, by field."""
    shared = [p for k, p in inspect.signature(function, eval_str=True).parameters.items() if k != OWN]

    @functools.wraps(function)
    def callback(context: typer.Context, **given: Any) -> None:
        values = {name: given.pop(p.name) for name, p in own.items()}
        typed = {name for name, p in own.items() if _is_typed(context, p.name)}
        function(**given, own={k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in typed})

    keyword = [p.replace(kind=p.KEYWORD_ONLY) for p in (*shared, *own.values())]
    first = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    callback.__signature__ = inspect.Signature([first, *keyword])  # type: ignore[attr-defined]
    return callback


def _is_typed(context: typer.Context, parameter: str) -> bool:
    """Was the option given, or is its value the default?"""
    source = context.get_parameter_source(parameter)
    return source is not None and source.name == "COMMANDLINE"


def _parameter(field: dataclasses.Field[Any], type_: Any, panel: str) -> inspect.Parameter:
    """A field of a class of options as a parameter of a command."""
    flag, default = options.flag(field.name), field.default
    if isinstance(default, tuple):
        type_, default = types.GenericAlias(list, typing.get_args(type_)[:1]), list(default)
    off = f"/--no-{flag[2:]}" if type_ in (bool, bool | None) and default is not False else ""
    means = field.metadata["doc"]
    info = typer.Option(flag + off, help=f"{means}.", rich_help_panel=panel, show_default=default not in ("", []))
    name = f"{OWN}_{field.name}"  # no name of a parameter of the command
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[type_, info])
