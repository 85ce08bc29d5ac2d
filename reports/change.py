"""What changed between two states of a lake, so far as a report is about it.

A value has moved where its intervals of then and now do not meet: of values that are measured anew on other text few
do so by chance (see docs/decisions/editions.md). Rows are compared by the key of their finding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa

from memlake.queries.finding import find
from memlake.warehouse.connections import connect

from .answers import Reading
from .text import count, value

NAMED = 5  # of what came, went, failed or moved, before only its number is told
SAME = 1e-9  # of a value: sums over threads differ in their last digits

# What tells of models, text and checks, and its singular and plural
KINDS = {
    "models": ("model", "models"),
    "corpora": ("corpus", "corpora"),
    "measured": ("measured model and corpus", "measured models and corpora"),
    "conditions": ("condition", "conditions"),
    "failing": ("check that fails", "checks that fail"),
}
SETS = {
    "models": "select model from models",
    "corpora": "select distinct corpus from sequences",
    "measured": "select distinct model || ' on ' || corpus from matches_all",
    "conditions": "select distinct condition from matches_all",
    # of the whole lake: what is checked is of cells, and not all of these are of a model. The last time of each decides
    "failing": """
        select distinct concat_ws(' ', expectation, 'of', table_name, nullif("partition", ''))
        from (from checks qualify row_number() over (
            partition by cell, table_name, "partition", expectation order by checked_at desc) = 1)
        where not passed
    """,
}


@dataclass(frozen=True)
class State:
    """What a lake shows at one moment. versions: of its tables; rows: of each finding that was answered; sets: of
    `KINDS` what there is."""

    versions: Mapping[str, int]
    rows: Mapping[str, pa.Table]
    sets: Mapping[str, frozenset[str]]


def state(reading: Reading) -> State:
    """The state of what is read, all findings answered."""
    rows = {name: reading.answers[name] for name in reading.scope.asked}
    return State(
        reading.snapshot.versions,
        {name: of for name, of in rows.items() if name not in reading.answers.failed},
        {kind: frozenset(text for (text,) in reading.con.execute(sql).fetchall()) for kind, sql in SETS.items()},
    )


@dataclass(frozen=True)
class Moved:
    """A value that moved. key: the columns that tell its row from others; before, after: value, low, high."""

    finding: str
    column: str
    key: Mapping[str, object]
    before: tuple[float, float, float]
    after: tuple[float, float, float]

    def __str__(self) -> str:
        of = ", ".join(f"{name} {value(v)}" if isinstance(v, int | float) else str(v) for name, v in self.key.items())
        return f"{self.column} of {of or 'all'}: {_interval(self.before)} \N{RIGHTWARDS ARROW} {_interval(self.after)}"


@dataclass(frozen=True)
class Change:
    """What changed. came, went: of `KINDS`; moved: values, by finding, the furthest first; rows: of a finding how many
    came and went; answered, unanswered: findings that only the one or the other state has; differ: is anything not the
    same, within what threads add up?"""

    came: Mapping[str, list[str]] = field(default_factory=dict)
    went: Mapping[str, list[str]] = field(default_factory=dict)
    moved: Mapping[str, list[Moved]] = field(default_factory=dict)
    rows: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    answered: Sequence[str] = ()
    unanswered: Sequence[str] = ()
    differ: bool = False

    def lines(self) -> list[str]:
        """In words, a line for each kind and each finding; none where nothing that is told changed."""
        return list(self._lines())

    def _lines(self) -> Iterator[str]:
        for kind, (one, several) in KINDS.items():
            verbs = ("began", "ended") if kind == "failing" else ("new", "gone")
            for verb, names in zip(verbs, (self.came.get(kind), self.went.get(kind)), strict=True):
                if names:
                    yield f"{one if len(names) == 1 else several} {verb}: {_some(names)}"
        for finding, moved in self.moved.items():
            n = count(len(moved), "value")
            yield f"{finding}: {n} moved by more than the intervals: {_some([str(m) for m in moved], 'and', '; ')}"
        for findings, what in ((self.answered, "answered again"), (self.unanswered, "no longer answered")):
            if findings:
                yield f"{what}: {_some(list(findings))}"
        parts = []
        for finding, (new, gone) in self.rows.items():
            parts.append(f"{finding} ({', '.join(f'{n:,} {word}' for n, word in ((new, 'new'), (gone, 'gone')) if n)})")
        if parts:
            yield f"rows of findings: {', '.join(parts)}"

    def short(self) -> str:
        """In one line, as numbers."""
        told = [f"{len(names)} {KINDS[kind][len(names) > 1]} new" for kind, names in self.came.items() if names]
        told += [f"{len(names)} {KINDS[kind][len(names) > 1]} gone" for kind, names in self.went.items() if names]
        moved = sum(map(len, self.moved.values()))
        told += [f"{count(moved, 'value')} moved by more than the intervals"] if moved else []
        told += [f"{count(len(self.answered), 'finding')} answered again"] if self.answered else []
        return ", ".join(told) or "nothing moved by more than its interval"

    def table(self) -> pa.Table:
        """A row for each thing that changed: what (came, went, moved), of which finding or kind, which, and the value
        with its interval before and after."""
        names = ("before", "before_low", "before_high"), ("after", "after_low", "after_high")
        rows: list[dict[str, object]] = []
        for verb, sets in (("new", self.came), ("gone", self.went)):
            rows += [{"change": verb, "of": kind, "which": w} for kind, which in sets.items() for w in which]
        for finding, moved in self.moved.items():
            for m in moved:
                key = ", ".join(f"{name}={v}" for name, v in m.key.items())
                numbers = dict(zip((*names[0], *names[1]), (*m.before, *m.after), strict=True))
                rows.append({"change": "moved", "of": finding, "which": key, "column": m.column, **numbers})
        for finding, (new, gone) in self.rows.items():
            sides = (("new", new), ("gone", gone))
            rows += [{"change": verb, "of": finding, "which": count(n, "row")} for verb, n in sides if n]
        text = [(name, pa.string()) for name in ("change", "of", "which", "column")]
        return pa.Table.from_pylist(rows, pa.schema([*text, *((n, pa.float64()) for n in (*names[0], *names[1]))]))


def between(before: State, after: State) -> Change:
    """What changed from one state to another; of findings, those that both have."""
    came = {kind: sorted(after.sets[kind] - before.sets.get(kind, frozenset())) for kind in KINDS}
    went = {kind: sorted(before.sets.get(kind, frozenset()) - after.sets[kind]) for kind in KINDS}
    for verb in (came, went):  # whatever is of a model that came goes without saying
        verb["measured"] = [of for of in verb["measured"] if of.rpartition(" on ")[0] not in verb["models"]]
    moved, rows = {}, {}
    differ = any(came.values()) or any(went.values()) or before.rows.keys() != after.rows.keys()
    for name in [name for name in after.rows if name in before.rows]:
        compared = _compare(name, before.rows[name], after.rows[name])
        differ |= compared.differ
        if compared.moved:
            moved[name] = compared.moved
        if compared.new or compared.gone:
            rows[name] = compared.new, compared.gone
    answered = [name for name in after.rows if name not in before.rows]
    unanswered = [name for name in before.rows if name not in after.rows]
    return Change(came, went, moved, rows, answered, unanswered, differ)


@dataclass(frozen=True)
class _Compared:
    moved: list[Moved]
    new: int
    gone: int
    differ: bool


def measured(columns: Mapping[str, pa.DataType]) -> list[tuple[str, str, str]]:
    """The columns that hold values, and those of their intervals, which stand right behind them."""
    names = list(columns)
    found = []
    for of, low, high in zip(names, names[1:], names[2:], strict=False):
        ends = (low.removesuffix("low"), high.removesuffix("high"))
        is_interval = low.endswith("low") and high.endswith("high") and ends[0] == ends[1]
        if is_interval and not of.endswith("high") and all(pa.types.is_floating(columns[c]) for c in (of, low, high)):
            found.append((of, low, high))
    return found


def _compare(name: str, before: pa.Table, after: pa.Table) -> _Compared:
    key = find(name).key
    if before.schema != after.schema or not key:  # another version of memlake answers otherwise
        same = before.equals(after)
        return _Compared([], 0 if same else after.num_rows, 0 if same else before.num_rows, not same)
    columns = dict(zip(after.column_names, after.schema.types, strict=True))
    with connect() as con:
        con.execute("set threads = 1")
        con.register("before", before)
        con.register("after", after)
        same = " and ".join(f'a."{c}" is not distinct from b."{c}"' for c in key)
        (new, gone) = (
            con.execute(f"select count(*) from {x} a anti join {y} b on {same}").fetchall()[0][0]
            for x, y in (("after", "before"), ("before", "after"))
        )
        told = _telling(con, key)
        moved: list[tuple[float, Moved]] = []
        for of, low, high in measured(columns):
            shown = ", ".join(f'a."{c}"' for c in told)
            numbers = ", ".join(f'{side}."{c}"' for side in "ba" for c in (of, low, high))
            found = con.execute(f"""
                select {", ".join(filter(None, (shown, numbers)))}
                from after a join before b on {same}
                where b."{high}" < a."{low}" - {SAME} or b."{low}" > a."{high}" + {SAME}
            """).fetchall()
            for row in found:
                three = tuple(row[-6:-3]), tuple(row[-3:])
                width = three[0][2] - three[0][1] + three[1][2] - three[1][1]
                far = abs(three[1][0] - three[0][0]) / width if width else float("inf")
                of_row = {c: v for c, v in zip(told, row, strict=False) if v is not None}
                moved.append((far, Moved(name, of, of_row, three[0], three[1])))
        moved.sort(key=lambda pair: -pair[0])
        other = " or ".join(
            f'not coalesce(abs(a."{c}" - b."{c}") <= {SAME} * greatest(1, abs(a."{c}")) or a."{c}" = b."{c}",'
            f' a."{c}" is null and b."{c}" is null)'
            if pa.types.is_floating(kind)
            else f'a."{c}" is distinct from b."{c}"'
            for c, kind in columns.items()
            if c not in key
        )
        ((others,),) = con.execute(f"select count(*) from after a join before b on {same} where {other}").fetchall()
    return _Compared([m for _, m in moved], new, gone, bool(new or gone or others))


def _telling(con: duckdb.DuckDBPyConnection, key: list[str]) -> list[str]:
    """Of the key's columns as few as still tell the rows of `after` apart: who reads needs no more."""
    told = list(key)
    for column in reversed(key):
        rest = [c for c in told if c != column]
        rows = ", ".join(f'"{c}"' for c in rest)
        if rest and con.execute(f"select count(*) = count(distinct row({rows})) from after").fetchall()[0][0]:
            told = rest
    return told


def _some(names: list[str], last: str = "and", between: str = ", ") -> str:
    if len(names) <= NAMED + 1:
        return between.join(names)
    return f"{between.join(names[:NAMED])} {last} {len(names) - NAMED:,} more"


def _interval(of: tuple[float, float, float]) -> str:
    number, low, high = map(value, of)
    return f"{number} ({low} to {high})"
