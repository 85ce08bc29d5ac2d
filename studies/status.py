"""How a study stands: what is done, what failed and why, what runs now, what comes next, how long it will take."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from memlake.warehouse.lake import Lake
from memlake.warehouse.words import counted, duration

from .plan import Item, done_last, items
from .record import Ended, Key, Now, Record, last_line
from .steps import Cut, Ingest, Measuring, Show, Train
from .study import SCORING, Study

if TYPE_CHECKING:
    import pyarrow as pa

RANGE = ("corpus", "domain", "condition")  # settings by which two cells are of one place
Place = tuple[Any, ...]  # an experiment, a model, and these


@dataclass(frozen=True)
class Failure:
    """The last attempt at a cell, which failed."""

    cell: str
    experiment: str
    settings: Mapping[str, Any]
    reason: str
    at: datetime

    @property
    def place(self) -> Place:
        return (self.experiment, *(self.settings.get(k) for k in ("model", *RANGE)))

    def meets(self, said: Mapping[str, Any]) -> bool:
        """Was it to take sequences of the ranks that these settings say?"""
        if not all(name in settings for name in ("first_rank", "last_rank") for settings in (said, self.settings)):
            return False
        return bool(
            self.settings["first_rank"] <= said["last_rank"] and said["first_rank"] <= self.settings["last_rank"]
        )


@dataclass(frozen=True)
class Row:
    """One step for one model or corpus. state: done, running, failed, waits (for what failed), to do."""

    item: Item
    state: str
    reason: str = ""


def said(lake: Lake, study: Study) -> tuple[list[Row], list[str]]:
    """A row for each step and model, and lines on all of it."""
    record = Record(lake, study.name)
    alive, found = record.alive(), items(lake, study)
    rows = states(found, record.ended(), failures(lake), done_last(lake), alive)
    return rows, list(_lines(rows, alive))


def states(
    found: Sequence[Item],
    ended: Mapping[Key, Ended],
    failed: Sequence[Failure],
    last: Mapping[tuple[str, str], datetime],
    alive: Sequence[Now],
) -> list[Row]:
    """The state of each item. A failure is gone where nothing is left to do, or where later work got further."""
    running = {now.step for now in alive}
    places: dict[Place, list[Failure]] = {}
    for failure in failed:
        places.setdefault(failure.place, []).append(failure)
    rows: list[Row] = []
    bad: dict[str, str] = {}  # what something may wait for, and which step failed there
    for item in found:
        reason = "" if item.complete else _failure(item, ended, places, last)
        waits = "" if item.complete or reason else _waits(item, bad)
        if item.complete:
            state = "done"
        elif item.step.title() in running:
            state = "running"
        elif reason:
            state = "failed"
        else:
            state, reason = ("waits", waits) if waits else ("to do", "")
        if state in ("failed", "waits"):
            bad |= _blocks(item)
        rows.append(Row(item, state, reason))
    return rows


def _failure(
    item: Item,
    ended: Mapping[Key, Ended],
    failed: Mapping[Place, Sequence[Failure]],
    last: Mapping[tuple[str, str], datetime],
) -> str:
    """Why the item is not done, if something failed."""
    found: dict[str, Failure] = {}
    for cell in item.todo:
        said = cell.settings.to_json()
        for f in failed.get((item.step.name, item.model, *(said.get(k) for k in RANGE)), ()):
            if f.cell == cell.id or f.meets(said):
                found[f.cell] = f
    cells = sorted(found.values(), key=lambda f: f.at, reverse=True)
    if cells:
        reasons = dict.fromkeys(last_line(f.reason) for f in cells)
        more = f" (and {counted(len(reasons) - 1, 'other reason')})" if len(reasons) > 1 else ""
        return f"{counted(len(cells), 'cell')}: {next(iter(reasons))}{more}"
    keys = [item.key, (item.step.name, item.step.about, item.step.said)]
    if item.step.name == SCORING:
        keys.append(("sample", item.model, ""))  # its tokenizer, or all of it, could not be read
    for key in keys:
        how = ended.get(key)
        later = last.get((item.step.name, item.model or item.step.about))
        if how and how.reason and not (later and later > how.when):
            return last_line(how.reason)
    return ""


def _waits(item: Item, bad: Mapping[str, str]) -> str:
    """For what it waits; empty where it need not."""
    needs = [f"corpus {corpus}" for corpus in item.corpora]
    needs += [f"trained {item.model}", f"{SCORING} {item.model}"] if item.model else []
    if isinstance(item.step, Show):
        needs = [f"trained {subject.name}" for subject in item.step.subjects]
    if isinstance(item.step, Ingest):
        return ""
    step = next((bad[need] for need in needs if need in bad), "")
    own = f" {item.model}"
    if item.model and step.endswith(own):
        return f"waits for its {'training' if step.startswith('train ') else step.removesuffix(own)}"
    return f"waits for {step}" if step else ""


def _blocks(item: Item) -> dict[str, str]:
    """What others may wait for, and how it is called."""
    name = item.step.title(item.model)
    if isinstance(item.step, Ingest | Show | Cut):
        return {f"corpus {item.corpora[0]}": name}
    if isinstance(item.step, Train):
        return {f"trained {item.model}": name}
    if isinstance(item.step, Measuring) and item.step.name == SCORING:
        return {f"{SCORING} {item.model}": name}
    return {}


def failures(lake: Lake) -> list[Failure]:
    """The cells whose last attempt failed, or whose rows lie in quarantine."""
    with lake.connect(["cells"]) as con:
        rows = con.execute(
            """
            from (from stored.cells qualify row_number() over (partition by cell order by finished_at desc) = 1)
            select cell, experiment, settings, reason, finished_at where outcome in ('failed', 'quarantined')
            order by finished_at desc
            """
        ).fetchall()
    return [Failure(cell, experiment, json.loads(text), reason, at) for cell, experiment, text, reason, at in rows]


def table(rows: Sequence[Row], folded: bool = True) -> pa.Table:
    """One row is one step for one model or corpus: cells done, and cells and hours still to do. folded: models of which
    the same is to be said stand in one row."""
    import pyarrow as pa

    groups: dict[object, list[Row]] = {}
    for i, row in enumerate(rows):
        alike = (id(row.item.step), row.state, row.reason) if row.item.model and folded else i
        groups.setdefault(alike, []).append(row)
    listed = [
        {
            "step": group[0].item.step.name,
            "corpus": "" if group[0].item.model else group[0].item.step.about,
            "model": group[0].item.model if len(group) == 1 else counted(len(group), "model"),
            "state": group[0].state,
            "done": _sum([row.item.done for row in group]),
            "cells": _sum([row.item.cells for row in group]),
            "hours": _sum([row.item.hours for row in group]),
            "why": group[0].reason,
        }
        for group in groups.values()
    ]
    texts, numbers = ("step", "corpus", "model", "state"), ("done", "cells")
    return pa.Table.from_pylist(
        listed,
        pa.schema(
            [
                *((name, pa.string()) for name in texts),
                *((name, pa.int64()) for name in numbers),
                ("hours", pa.float64()),
                ("why", pa.string()),
            ]
        ),
    )


def _lines(rows: Sequence[Row], alive: Sequence[Now]) -> list[str]:
    counts = {
        state: sum(row.state == state for row in rows) for state in ("done", "failed", "waits", "to do", "running")
    }
    lines = [f"{counts['done']} of {len(rows)} done, {counts['failed']} failed, {counts['waits']} waiting for them"]
    for now in alive:
        since = duration((datetime.now(UTC) - datetime.fromisoformat(now.began)).total_seconds())
        seen = duration((datetime.now(UTC) - datetime.fromisoformat(now.at)).total_seconds())
        where = f"{now.line} ({seen} ago)" if now.line else f"{now.step} (begun {seen} ago)"
        lines.append(f"now: {where}, process {now.pid} on {now.host}, running for {since}")
    open_ = [row for row in rows if row.state != "done"]
    if not alive:
        lines.append("nothing runs now" if open_ else "all is done")
    if following := next((row.item for row in rows if row.state == "to do"), None):
        lines.append(f"next: {following.step.title(following.model)}")
    hours = [row.item.hours for row in open_ if row.item.hours is not None]
    if hours:
        unknown = sum(row.item.hours is None for row in open_ if row.item.step.name != "report")
        more = f", and what is not known of {unknown} of them" if unknown else ""
        lines.append(f"left: about {duration(3600 * sum(hours))} of one process{more}")
    return lines


def _sum(numbers: Sequence[Any]) -> Any:
    """Their sum; None where one is."""
    return None if None in numbers else sum(numbers)
