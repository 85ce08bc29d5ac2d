"""Editions of a named report: dated folders, of which a page, `latest`, and a list that says what changed in each.

    TO/index.html               the editions that are kept, the newest first
    TO/latest                   a link to the newest
    TO/2026-11-30T060003Z/      one edition: index.html, report.pdf, report.md
        rows/FINDING.parquet    the rows of each finding, with which the next edition is compared; .csv if asked for
        edition.json            what it was drawn from, and what changed
    TO/looked.json              the last time at which it was due and nothing had moved

An edition is made in a folder of another name and then takes its place, so that a kill leaves all of it or nothing. Who
comes second while one is made leaves it to the first.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from memlake import __version__
from memlake.queries.only import Only
from memlake.warehouse.connections import connect
from memlake.warehouse.errors import BadInput
from memlake.warehouse.identity import tagged
from memlake.warehouse.lake import Lake
from memlake.warehouse.relation import quoted

from . import change
from .answers import Scope, read
from .change import State
from .named import Report
from .page import TEMPLATES, Page, draw, locked, told

DATED = r"\d{4}-\d{2}-\d{2}T\d{6}Z"  # the name of an edition's folder: when it was drawn
PART, GONE = r".part-", r".gone-"  # before the name of one that is not yet there, or no longer
OTHERWISE = "the report is about something else than before, or that cannot be read: what changed is not told"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@dataclass(frozen=True)
class Edition:
    """One edition that was drawn. drawn: when; slot: the time for which, by the clock on the wall, or ""; asked: a hash
    of what the report was about and looked like; scope: what it was about; versions: of the lake's tables; sets: see
    `change.State`; failed: findings that could not be answered, and why; changes: since the one before, in words; None:
    there was none; short: the same in a few words; files: its names."""

    drawn: str
    slot: str
    asked: str
    scope: Mapping[str, Any]
    versions: Mapping[str, int]
    sets: Mapping[str, list[str]]
    failed: Mapping[str, str]
    changes: list[str] | None
    short: str
    files: list[str]

    def check(self) -> None:
        """Raises TypeError where a file has held something else."""
        kinds = {"str": str, "Mapping": dict, "list": list}
        for f in fields(self):
            value, kind = getattr(self, f.name), kinds[str(f.type).partition("[")[0]]
            if not isinstance(value, kind) and not (value is None and f.name == "changes"):
                raise TypeError(f"{f.name} is {value!r}")
        if not all(isinstance(v, list) for v in self.sets.values()):
            raise TypeError(f"sets is {self.sets!r}")

    @property
    def name(self) -> str:
        return name_of(datetime.fromisoformat(self.drawn))


@dataclass(frozen=True)
class Outcome:
    """What became of a report. said: in a line; page: where to look, if it was drawn; failed: findings that could not
    be answered, and why."""

    said: str
    page: Path | None
    failed: Mapping[str, str]


def make(lake: Lake, report: Report, now: datetime, due_only: bool = False, fresh: bool = False) -> Outcome:
    """Draw an edition. due_only: if a time of its schedule has come that none was drawn for, and something moved since
    the last. fresh: take no answer and no figure that the lake keeps. Raises `UnknownName`, `BadInput`."""
    with _writing(report):
        report.to.mkdir(parents=True, exist_ok=True)
    with locked(report.to, wait=False) as ours:
        if not ours:
            return Outcome("another process draws it", None, {})
        return _make(lake, report, now, due_only, fresh)


def _writing(report: Report) -> AbstractContextManager[None]:
    return told(report.to, "another folder with to = ...")


def _refuse(report: Report, now: datetime) -> None:
    """Raises `BadInput` where the folder holds what is not of a report, or editions of days to come."""
    names = {p.name for p in report.to.iterdir() if not _is_left(p)}
    found = editions(report.to)
    alien = sorted(names - {"index.html", "latest", "looked.json", *(e.name for e in found)})
    latest = report.to / "latest"
    if (not found and names) or (latest.exists() and not latest.is_symlink()):
        what = ", ".join(alien[:3] or sorted(names)[:3])
        raise BadInput(f"{report.to} holds what no report has put there ({what}): name another folder with to = ...")
    if found and datetime.fromisoformat(found[0].drawn) > now + timedelta(days=1):
        raise BadInput(f"{report.to / found[0].name} is of a day to come: set the clock, or move that edition away")


def _is_left(path: Path) -> bool:
    """Is it what a kill has left of ours?"""
    return re.fullmatch(rf"({PART}|{GONE})({DATED}|index\.html|latest|looked\.json)", path.name) is not None


def _make(lake: Lake, report: Report, now: datetime, due_only: bool, fresh: bool) -> Outcome:
    with _writing(report):
        _refuse(report, now)
        settle(report)
    before = editions(report.to)
    if before:  # the names of editions are in the order in which they were drawn, whatever the clock says
        now = max(now, datetime.fromisoformat(before[0].drawn) + timedelta(seconds=1))
    wall = _wall(now)
    slot = report.last_time(wall)
    handled = max([e.slot for e in before] + [_looked(report.to)], default="")
    if due_only and (slot is None or (before and handled >= slot.isoformat())):
        following = report.next_time(wall)
        return Outcome(f"not due before {following:%Y-%m-%d %H:%M}" if following else "it has no schedule", None, {})
    asked = tagged("report", [__version__, report.title, report.url, *report.formats, asdict(report.scope)])
    with read(lake, report.scope, fresh=fresh) as reading:
        state = change.state(reading)
        failed = reading.answers.failed
        scope = json.loads(json.dumps(asdict(report.scope)))
        comparable = [e for e in before if e.scope == scope]
        changed = _since(report.to, comparable, state) if before[:1] == comparable[:1] else None
        if due_only and changed and not changed.differ and not failed and before[0].asked == asked:
            with _writing(report):
                _put(report.to / "looked.json", json.dumps({"slot": _text(slot), "at": now.isoformat()}))
                settle(report)
            return Outcome(f"due, but nothing moved since {before[0].name}", None, {})
        folder = report.to / name_of(now)
        lines = changed.lines() if changed else [OTHERWISE] if before else None
        page = draw(reading, now, "index.html.files", fresh, report.title, lines)
    with _writing(report):
        with _part(folder) as part:
            missing = _write(part, report, page, state, lines)
            drawn = Edition(
                now.isoformat(timespec="seconds"),
                _text(slot),
                asked,
                scope,
                dict(state.versions),
                {kind: sorted(names) for kind, names in state.sets.items()},
                failed,
                lines,
                changed.short() if changed else OTHERWISE if before else "the first edition",
                sorted(p.name for p in part.iterdir()),
            )
            _put(part / "edition.json", json.dumps(asdict(drawn), indent=1))
        settle(report)
    if missing and report.formats == ("pdf",):
        failed = failed | {"pdf": missing[0]}
    shown = next((folder / f for f in ("index.html", "report.pdf", "report.md") if (folder / f).exists()), folder)
    return Outcome(", ".join(["drawn", drawn.short, *missing]), shown, failed)


def editions(folder: Path) -> list[Edition]:
    """The editions in the folder of a report, the newest first."""
    found = []
    for path in folder.glob("*/edition.json"):
        with suppress(OSError, ValueError, TypeError, KeyError):  # damaged: as though it were not there
            edition = Edition(**json.loads(path.read_text(encoding="utf-8")))
            edition.check()
            if path.parent.name == edition.name:  # and not a link, or a copy by another name
                found.append(edition)
    return sorted(found, key=lambda e: e.name, reverse=True)


def _since(folder: Path, before: Sequence[Edition], state: State) -> change.Change | None:
    """What changed since the newest edition that can be read; of a finding that it could not answer since the newest
    that could. None where none can be read."""
    readable = []
    for edition in before:
        with suppress(BadInput):
            readable.append(load(folder / edition.name))
    if not readable:
        return None
    rows = {name: of for older in reversed(readable) for name, of in older.rows.items()}
    return change.between(replace(readable[0], rows=rows), state)


def load(folder: Path) -> State:
    """The state of the lake that an edition shows; raises `BadInput` where the folder holds none."""
    try:
        known = json.loads((folder / "edition.json").read_text(encoding="utf-8"))
        rows = {path.stem: pq.ParquetFile(path).read() for path in sorted((folder / "rows").glob("*.parquet"))}
        sets = {kind: frozenset(names) for kind, names in known["sets"].items()}
        return State(known["versions"], rows, sets)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as e:
        raise BadInput(f"{folder} holds no edition that can be read ({e})") from e


def scope(folder: Path) -> Scope:
    """What an edition that can be read is about."""
    known = json.loads((folder / "edition.json").read_text(encoding="utf-8"))["scope"]
    return Scope(known["findings"], known["parameters"], Only(**known["only"]))


def settle(report: Report) -> None:
    """Bring a report's folder in order, whatever was killed before: remove what is half made and more editions than are
    kept, and let `latest` and the list follow. By whoever holds its lock."""
    for path in report.to.iterdir():
        if _is_left(path):
            _remove(path)
    found = editions(report.to)
    for edition in found[report.keep :]:
        gone = report.to / f"{GONE}{edition.name}"
        (report.to / edition.name).rename(gone)
        _remove(gone)
    found = found[: report.keep]
    if found:
        latest = report.to / f"{PART}latest"
        latest.symlink_to(found[0].name, target_is_directory=True)
        latest.replace(report.to / "latest")
        listed = TEMPLATES.get_template("editions.html").render(
            report=report, editions=found, looked=_looked(report.to), about=report.scope.only.given
        )
        _put(report.to / "index.html", listed)


def name_of(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H%M%SZ}"


@contextmanager
def _part(folder: Path) -> Iterator[Path]:
    """A folder that takes its place when the block has filled it."""
    part = folder.with_name(f"{PART}{folder.name}")
    part.mkdir()
    try:
        yield part
        part.rename(folder)
    finally:
        _remove(part)


def _write(part: Path, report: Report, page: Page, state: State, changes: list[str] | None) -> list[str]:
    """The files of an edition; returns what could not be made, and why."""
    (part / "rows").mkdir()
    for name, rows in state.rows.items():
        pq.write_table(rows, part / "rows" / f"{name}.parquet", compression="zstd")
        if "csv" in report.formats:
            with connect() as con:
                con.register("rows", rows)
                con.execute(f"copy rows to {quoted(str(part / 'rows' / f'{name}.csv'))} (format csv)")
    if "markdown" in report.formats:
        (part / "report.md").write_text(
            TEMPLATES.get_template("report.md").render(page=page, report=report, changes=changes), encoding="utf-8"
        )
    missing = []
    with TemporaryDirectory() as elsewhere:
        folder = part if "html" in report.formats else Path(elsewhere)
        if {"html", "pdf"} & set(report.formats):
            (folder / "index.html").write_text(page.html, encoding="utf-8")
            for name, content in page.beside.items():
                (folder / "index.html.files").mkdir(exist_ok=True)
                (folder / "index.html.files" / name).write_bytes(content)
        if "pdf" in report.formats and (why := pdf(folder / "index.html", part / "report.pdf")):
            missing.append(f"no pdf ({why})")
    return missing


def pdf(page: Path, out: Path) -> str:
    """Print a page by Chromium; returns why that could not be, or ""."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        return "Chromium is not installed"
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [browser, "--headless", "--disable-gpu", "--no-pdf-header-footer", f"--user-data-dir={profile}"]
        command += ["--no-sandbox"] if os.geteuid() == 0 else []  # which Chromium refuses to root
        try:
            ended = subprocess.run(
                [*command, f"--print-to-pdf={out}", page.absolute().as_uri()], capture_output=True, timeout=600
            )
        except (OSError, subprocess.TimeoutExpired) as e:
            return f"{Path(browser).name}: {e}"
    return "" if out.exists() and not ended.returncode else f"{Path(browser).name} ended with {ended.returncode}"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _put(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f"{PART}{path.name}")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _looked(folder: Path) -> str:
    """The last time of the schedule at which nothing had moved; "" where there was none."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        known: dict[str, Any] = json.loads((folder / "looked.json").read_text(encoding="utf-8"))
        return str(known["slot"])
    return ""


def _wall(moment: datetime) -> datetime:
    """By the clock on the wall."""
    return moment.astimezone().replace(tzinfo=None)


def _text(slot: datetime | None) -> str:
    return slot.isoformat() if slot else ""
