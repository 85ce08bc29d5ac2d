"""The named reports of a lake, as `reports.toml` in or beside it lists them, and when each is due.

A time of a schedule is one of the clock on the wall, in the time zone of the machine, as cron has it: an hour that
comes twice is one time, one that a clock skips comes with the next look.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

from croniter import CroniterError, croniter

from memlake.queries.only import SHARED, Only
from memlake.warehouse.errors import BadInput, MemlakeError, UnknownName, one_line
from memlake.warehouse.lake import Lake
from memlake.warehouse.paths import local

from .answers import Scope

FILE = "reports.toml"
FORMATS = ("html", "pdf", "csv", "parquet", "markdown")
KEEP = 12
MONTHS = {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}
WORDS = MONTHS | {"sun", "mon", "tue", "wed", "thu", "fri", "sat"}  # of cron


@dataclass(frozen=True)
class Report:
    """A named report. title: over its page; scope: what it is about; formats: of `FORMATS`; to: the folder of its
    editions; url: where that folder is served, for who reads the markdown; schedule: a cron expression, or "": drawn by
    name only; keep: so many editions."""

    name: str
    title: str
    scope: Scope
    to: Path
    formats: tuple[str, ...] = ("html",)
    url: str = ""
    schedule: str = ""
    keep: int = KEEP

    def last_time(self, now: datetime) -> datetime | None:
        """The last time of its schedule up to `now`; both by the clock on the wall."""
        return times(self.schedule, _after(now)).get_prev(datetime) if self.schedule else None

    def next_time(self, now: datetime) -> datetime | None:
        """The next time of its schedule after `now`."""
        return times(self.schedule, now).get_next(datetime) if self.schedule else None


def times(schedule: str, start: datetime) -> croniter:
    """The times of a cron expression from a moment on. Days of the month and of the week: either will do where both are
    named, as in cron, where a field that begins with * names none."""
    return croniter(schedule, start, day_or=names_both(schedule))


def names_both(schedule: str) -> bool:
    _, _, days, _, weekdays = schedule.split()
    return not (days.startswith("*") or weekdays.startswith("*"))


def _after(now: datetime) -> datetime:
    """The next whole second: croniter gives times before one."""
    return now.replace(microsecond=0) + timedelta(seconds=1)


@dataclass(frozen=True)
class _Table:
    """A table of the file, as TOML has it."""

    title: str = ""
    findings: list[str] = field(default_factory=list)
    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)
    formats: list[str] = field(default_factory=lambda: ["html"])
    to: str = ""
    url: str = ""
    schedule: str = ""
    keep: int = KEEP
    condition: str = ""
    sample_rule: str = ""
    sample_window: str = ""
    models: list[str] = field(default_factory=list)
    families: list[str] = field(default_factory=list)
    corpora: list[str] = field(default_factory=list)
    domains: list[str] = field(default_factory=list)


def file_of(lake: Lake, given: Path | None = None) -> Path:
    """`reports.toml`: the one given, else in the lake, else beside it. Raises `BadInput` where there is none."""
    places = [given] if given else [lake.path / FILE, lake.path.parent / FILE]
    for path in places:
        if path.is_file():
            return path
    missing = " and ".join(map(str, places))
    raise BadInput(f"no named reports: {missing} {'do' if len(places) > 1 else 'does'} not exist (see the README)")


def read(lake: Lake, path: Path) -> dict[str, Report]:
    """The reports that a file lists, by name. Raises `BadInput`, which names the file and the table."""
    try:
        listed = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise BadInput(f"{path} cannot be read ({one_line(e)})") from e
    if not listed:
        raise BadInput(f"{path} lists no report: a report is a table, such as [weekly]")
    found = {}
    for name, table in listed.items():
        try:
            found[name] = _report(lake, path, name, table)
        except MemlakeError as e:
            raise BadInput(f"{path}, [{name if name.isprintable() else repr(name)}]: {e}") from e
    for a, b in combinations(found.values(), 2):
        places = a.to.resolve(), b.to.resolve()
        if places[0].is_relative_to(places[1]) or places[1].is_relative_to(places[0]):
            raise BadInput(f"{path}: [{a.name}] and [{b.name}] have one folder: name another with to = ...")
    return found


def _report(lake: Lake, path: Path, name: str, given: object) -> Report:
    if not isinstance(given, Mapping):
        raise BadInput(f"a report is a table of settings, not {given!r}")
    if not name.strip(".") or not name.isprintable() or set(name) & set('/\\"'):
        raise BadInput(f"{name!r} cannot be the name of a folder: name it otherwise")
    table = _Table(**_typed(given))
    if alien := next((f for f in table.parameters if table.findings and f not in table.findings), None):
        raise BadInput(f"parameters of {alien}, which is not among its findings")
    if not table.to.isprintable():
        raise BadInput(f"to = {table.to!r} cannot be a folder")
    schedule = _cron(table.schedule)
    if unknown := [f for f in table.formats if f not in FORMATS]:
        raise UnknownName("format", unknown[0], FORMATS)
    if not table.formats or table.keep < 1:
        raise BadInput("formats wants one at least" if not table.formats else "keep wants 1 edition at least")
    return Report(
        name,
        table.title or name,
        Scope(table.findings, table.parameters, Only(**{n: v for n in SHARED if (v := getattr(table, n))})),
        (path.parent / local(table.to)).absolute() if table.to else lake.path / "reports" / name,
        tuple(f for f in FORMATS if f in table.formats),
        table.url.rstrip("/"),
        schedule,
        table.keep,
    )


def _typed(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a table, each of the kind of its default; one name may stand for a list of one."""
    known, typed = {f.name: getattr(_Table(), f.name) for f in fields(_Table)}, {}
    for key, value in given.items():
        if key not in known:
            raise UnknownName("setting", key, known)
        default = known[key]
        if isinstance(default, list) and isinstance(value, str):
            value = [value]
        fits = type(value) is type(default) and (
            not isinstance(value, list) or (value and all(isinstance(v, str) for v in value))
        )
        if not fits or (isinstance(value, dict) and not all(isinstance(v, dict) for v in value.values())):
            kinds = {str: "a text", int: "a whole number", list: "texts in a list", dict: "tables, one a finding"}
            raise BadInput(f"{key} wants {kinds[type(default)]}, not {value!r}")
        typed[key] = value
    return typed


def _cron(text: str) -> str:
    """A cron expression of five fields, as every cron understands it: names such as @daily written out."""
    aliases = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
               "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *"}  # fmt: skip
    text = aliases.get(text.strip().lower(), " ".join(text.split()))
    if not text:
        return ""
    try:
        if len(text.split()) != 5 or set(re.findall(r"[^\d\s*,/-]+", text.lower())) - WORDS:
            raise ValueError("it wants five fields: minute, hour, day of the month, month, day of the week")
        times(text, datetime(2026, 1, 1)).get_prev(datetime)
    except (CroniterError, ValueError, KeyError) as e:
        raise BadInput(f"schedule {text!r} is no cron expression ({one_line(e)})") from e
    return text
