"""What cells cost: time by the rate of cells done before, bytes by the files published before; else on paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Any

from memlake.compute.models.device import likely_device
from memlake.warehouse import schema
from memlake.warehouse.lake import Lake

from .cells import FLOPS, ModelCell, RangeCell, flop

if TYPE_CHECKING:
    import pyarrow as pa

    from .request import Request, Subject

LIST = 32  # entries of a list on paper: a continuation of the usual length
SCORING = "scoring"  # the experiment of which a row is a sequence, whatever the model
SCORED = {"forced": 1.0, "greedy": 2.0}  # forwards of one, by its decoding


@dataclass(frozen=True)
class Rate:
    """How fast cells of one kind are done. source: what says so."""

    source: str
    flops: float  # a second
    rows: float | None = None  # a second; None: on paper

    def seconds(self, cell: ModelCell) -> float:
        """About how long the cell takes, in one process."""
        rows = row_count(cell)
        return rows / self.rows if self.rows and rows is not None else cell.on_paper(self.flops)


def row_count(cell: ModelCell) -> int | None:
    """Rows of all its tables; None where they are not known beforehand."""
    return sum(cell.expected.values()) if set(cell.expected) == set(cell.tables) else None


class Rates:
    """The rates of the cells of one experiment, each looked up once."""

    def __init__(self, lake: Lake, experiment: str, request: Request):
        self.lake, self.experiment, self.request = lake, experiment, request
        self._known: dict[tuple[object, ...], Rate] = {}

    def of(self, cell: ModelCell) -> Rate:
        """The rate at which cells like this one were done on the device of the request: those of the same model and
        condition, else of the model that is nearest in size, by parameters. Else what scoring reached there of
        floating-point operations, else what `cells` has for the device."""
        pace = cell.settings.pace if isinstance(cell, RangeCell) else None
        key = (cell.settings.model, cell.settings.condition, None if pace is None else tuple(pace.items()))
        if key not in self._known:
            self._known[key] = self._rate(cell.subject, pace)
        return self._known[key]

    def seconds(self, cell: ModelCell) -> float:
        """About how long the cell takes, in one process."""
        return self.of(cell).seconds(cell)

    def _rate(self, subject: Subject, pace: Mapping[str, Any] | None) -> Rate:
        if self.request.flops:
            return Rate(f"on paper, {self.request.flops:g} FLOP/s", self.request.flops)
        device = likely_device(self.request.device)
        flops, found = FLOPS[device], None
        if pace is not None and (found := _nearest(self.lake, self.experiment, device, subject, pace)):
            rows = found.rows * found.params / subject.parameters
            return Rate(found.source(subject), flops, rows)
        for decoding, forwards in SCORED.items():
            if found := _nearest(self.lake, SCORING, device, subject, {"decoding": decoding}):
                flops = found.rows * flop(found.params, forwards)
                return Rate(f"{flops:.2g} FLOP/s as {SCORING} had, {found.source(subject)}", flops)
        return Rate(f"on paper, {flops:g} FLOP/s", flops)


@dataclass(frozen=True)
class Done:
    """Cells of one model that were done before. size: rows of one; rows: a second; params: of the model."""

    model: str
    condition: str
    device: str
    cells: int
    size: int
    rows: float
    params: int

    def source(self, subject: Subject) -> str:
        """In words. Who reads them sees whether the cells were large enough to tell."""
        many = f"{self.cells} cell{'' if self.cells == 1 else 's'} of {self.size} rows on {self.device}"
        if self.model != subject.spec.name:
            return f"{many}, {self.model}"
        return many if self.condition == subject.condition.name else f"{many}, {self.condition}"


def _nearest(lake: Lake, experiment: str, device: str, subject: Subject, pace: Mapping[str, Any]) -> Done | None:
    """The cells of an experiment that tell best how fast ones of a model are: of one dtype, of the model itself if
    there are any, and of several devices the last.

    Of each model those count that have at least half the rows of its largest, and of these the median: what it takes to
    load a model would be most of a small cell.
    """
    with lake.connect(["cells", "models", "conditions"]) as con:
        alike = " and ".join(f"(settings ->> '$.{name}') = ${name}" for name in pace)
        found = con.execute(
            f"""
            with ran as (
                select settings ->> '$.model' as model, settings ->> '$.condition' as condition, device, rows, seconds,
                    max(rows) over (partition by model, condition, device) as most,
                    max(finished_at) over (partition by model, condition, device) as last
                from stored.cells
                where experiment = $experiment and outcome = 'done' and rows > 0 and seconds > 0
                    and starts_with(device, 'cpu ') = $cpu and {alike or "true"}
            )
            select model, condition, device, count(*) as cells, median(rows)::bigint,
                median(rows / seconds) as rows, any_value(n_params)
            from ran join stored.models using (model) join stored.conditions using (condition)
            where 2 * rows >= most and n_params > 0 and dtype = $dtype
            group by model, condition, device
            order by max(last) desc
            """,
            {"experiment": experiment, "cpu": device == "cpu", "dtype": subject.condition.dtype, **pace},
        ).fetchall()

    def far(done: Done) -> tuple[bool, float, bool]:
        other = done.condition != subject.condition.name
        return done.model != subject.spec.name, abs(log(done.params / subject.parameters)), other

    return min((Done(*row) for row in found), key=far, default=None)


class Sizes:
    """Bytes on disk of the rows of a lake's tables."""

    def __init__(self, lake: Lake):
        self.lake = lake
        self._known: dict[str, float] = {}

    def of(self, cell: ModelCell) -> int | None:
        """About how many bytes the cell's rows take; None where they are not known beforehand."""
        if row_count(cell) is None:
            return None
        return round(sum(rows * self.row(table) for table, rows in cell.expected.items()))

    def row(self, table: str) -> float:
        """Of one row: as in the files that are there, of which the small ones, mostly frame, do not count; without any
        as the columns are before they are compressed."""
        if table not in self._known:
            files = [f for f in self.lake.snapshot(table) if f.rows]
            most = max((f.rows for f in files), default=0)
            large = [f for f in files if 2 * f.rows >= most]
            rows = sum(f.rows for f in large)
            self._known[table] = sum(f.size for f in large) / rows if rows else on_paper(table)
        return self._known[table]


def on_paper(table: str) -> float:
    """Bytes of a row of a table; names repeat and take none."""
    spec = schema.table(table)
    return sum(_width(c.type) for c in spec.columns if c.name not in spec.partition and c.type != schema.TEXT)


def _width(type_: pa.DataType) -> float:
    import pyarrow.types as types

    if types.is_list(type_):
        return LIST * _width(type_.value_type)
    return 8 if types.is_binary(type_) else type_.bit_width / 8


def summary(lake: Lake, experiment: str, request: Request, cells: list[ModelCell]) -> list[dict[str, Any]]:
    """What cells cost in all, one row a model: cells, sequences, rows and bytes (None: not known beforehand), hours of
    one process, and what the time is reckoned from."""
    rates, sizes = Rates(lake, experiment, request), Sizes(lake)
    models: dict[str, list[ModelCell]] = {}
    for cell in cells:
        models.setdefault(cell.settings.model, []).append(cell)
    return [
        {
            "model": model,
            "cells": len(own),
            "sequences": sum(cell.sequences for cell in own),
            "rows": total([row_count(cell) for cell in own]),
            "bytes": total([sizes.of(cell) for cell in own]),
            "hours": sum(map(rates.seconds, own)) / 3600,
            "rate": "; ".join(dict.fromkeys(rates.of(cell).source for cell in own)),
        }
        for model, own in models.items()
    ]


def total(numbers: list[int | None]) -> int | None:
    """Their sum; None where one is."""
    known = [n for n in numbers if n is not None]
    return sum(known) if len(known) == len(numbers) else None
