"""What SQL can name, as `memlake warehouse tables` and `show` and the prompt tell it."""

from __future__ import annotations

import pyarrow as pa

from memlake.warehouse import schema
from memlake.warehouse.connections import connect
from memlake.warehouse.errors import UnknownName
from memlake.warehouse.lake import Lake
from memlake.warehouse.relation import relation
from memlake.warehouse.show import describe
from memlake.warehouse.show.terminal import FormatName, show

from .catalog import Definition, definitions, needed, prepare, things
from .finding import find
from .finding import names as findings

ONE_ROW = "One row is "


def tables(lake: Lake) -> pa.Table:
    """One row a stored table, and one a view, macro and finding, which hold no rows of their own."""
    rows = [row | {"kind": "table"} for row in describe.tables(lake).to_pylist()]
    rows += [{"table": name, "kind": kind, "one row is": about} for name, kind, about in _made()]
    names = ["table", "rows", "files", "bytes", "version", "kind", "one row is"]
    numbers = dict.fromkeys(("rows", "files", "bytes", "version"), pa.int64())
    return pa.Table.from_pylist(rows, pa.schema([(name, numbers.get(name, pa.string())) for name in names]))


def all_names() -> pa.Table:
    """The same without the numbers."""
    stored = [(name, "table", _grain(schema.table(name).grain)) for name in schema.names()]
    names = ("name", "kind", "one row is")
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in [*stored, *_made()]])


def all_findings() -> pa.Table:
    """One row a finding: as it is written with its defaults, and what one row is."""
    found = [find(name) for name in findings()]
    return pa.Table.from_pylist([{"finding": f.call, "one row is": _grain(f.grain)} for f in found])


def show_name(name: str, form: FormatName = FormatName.table) -> None:
    """Print what a table, view, macro or finding is, and its columns; raises `UnknownName`."""
    made = {d.name: d for d in definitions()}
    if name in schema.names():
        _show_table(name, form)
    elif name in made and "macro" in made[name].kind:
        _show_macro(made[name], form)
    elif name in made:
        _show_view(made[name], form)
    elif name in findings():
        _show_finding(name, form)
    else:
        raise UnknownName("table", name, {*schema.names(), *made, *findings()})


def _made() -> list[tuple[str, str, str]]:
    made = [(d.written, d.kind, d.about) for d in things()]
    return made + [(find(name).call, "finding", _grain(find(name).grain)) for name in findings()]


def _grain(text: str) -> str:
    return text.removeprefix(ONE_ROW)


def _show_table(name: str, form: FormatName) -> None:
    spec = schema.table(name)
    if form is FormatName.table:
        print(f"{name}: {spec.grain}\nkey: {', '.join(spec.key)}")
        print(f"partitioned by: {', '.join(spec.partition) or 'nothing'}\n")
    show(describe.columns(spec), form)
    if form is FormatName.table:
        print()
        show(describe.expectations(spec), form)


def _show_view(view: Definition, form: FormatName) -> None:
    if form is FormatName.table:
        print(f"{view.name}: {view.doc}\n")
    names = needed(view.name) or set()
    with connect() as con:
        con.execute("create schema stored")
        for name in {*schema.names()} & names:
            con.execute(f"create view stored.{name} as {relation(name, ())}")
        prepare(con, names=names)
        described = con.execute(f'describe "{view.name}"').fetchall()
    show(pa.Table.from_pylist([{"column": column, "type": kind} for column, kind, *_ in described]), form)


def _show_macro(macro: Definition, form: FormatName) -> None:
    if form is FormatName.table:
        print(f"{macro.doc}\n\n{macro.sql[: macro.sql.rindex(';') + 1]}")
    else:
        show(pa.Table.from_pylist([{"macro": macro.written, "sql": macro.sql}]), form)


def _show_finding(name: str, form: FormatName) -> None:
    found = find(name)
    if form is FormatName.table:
        print(f"from {found.call}: {found.grain} All of it: memlake query show {name}\n")
        for parameter in found.parameters.values():
            print(f"{parameter.name} := {parameter.literal}  {parameter.doc}")
        print()
    show(pa.Table.from_pylist([{"column": column, "what": what} for column, what in found.columns.items()]), form)
