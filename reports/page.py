"""The report: one HTML page that needs nothing but itself, drawn from one snapshot of a lake.

For each finding its question, a figure, the numbers and the SQL; then what stands behind them. Here the page is put
together as plain data; `templates/` says how it looks. The same lake gives the same page but for the time in its head.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import jinja2
import pyarrow as pa

from memlake.queries.finding import Finding, find, names
from memlake.queries.kept import Kept
from memlake.warehouse import schema
from memlake.warehouse.errors import BadInput
from memlake.warehouse.lake import Lake
from memlake.warehouse.paths import local

from . import chapters, claim, comparison, figure, pictures, provenance, text
from .answers import Answers, Reading, Scope, read
from .downloads import BESIDE, Download, Downloads
from .table import Table, table

TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=lambda name: not (name or "").endswith(".md"),  # whatever comes from a lake is data
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters |= {
    f.__name__: f for f in (text.paragraphs, text.links, text.code_and_links, text.value, text.count, text.markdown)
}


# The families that something can be said of: of published models where there are any, as claims have it
FAMILIES = """
with trained as (from models semi join (from model_corpora where role = 'trained') using (model))
select distinct family, miniature from trained where miniature = (select bool_and(miniature) from trained)
"""


@dataclass(frozen=True)
class FindingSection:
    """A finding with its figure and numbers. title: its question; run: as text with `code`, what fills it where it has
    no rows; said: what its claim says; numbers: None where there are none yet; files: all rows, to save; failed: why
    it could not be answered."""

    anchor: str
    title: str
    run: str
    said: Sequence[str]
    caption: str
    drawings: list[figure.Drawing]
    help: str
    numbers: Table | None
    n_rows: int
    files: list[Download]
    sql: str
    failed: str = ""
    template: str = "finding.html"


Section = FindingSection | comparison.Comparison | provenance.Provenance


@dataclass(frozen=True)
class Chapter:
    """A chapter of the page. first: what stands of it on the first screen; empty: its findings without rows."""

    anchor: str
    title: str
    first: list[Section]
    sections: list[Section]
    empty: list[FindingSection]


@dataclass(frozen=True)
class Written:
    """Where a page lies, and why findings could not be answered, by their names."""

    path: Path
    failed: Mapping[str, str]


@dataclass(frozen=True)
class Page:
    """What the page holds. lake: its name; about: what of it is looked at, where that is not all; moment: of
    what time, where that is not now; drawn: when; versions: of the tables that most of it comes from; changes: since
    the edition before, or None; beside: the files that belong beside it."""

    title: str
    lake: str
    about: str
    moment: str
    drawn: str
    versions: str
    changes: Sequence[str] | None
    measurements: int
    models: int
    chapters: list[Chapter]
    beside: Mapping[str, bytes]

    @property
    def findings(self) -> list[FindingSection]:
        """The sections of findings that have rows."""
        return [s for chapter in self.chapters for s in chapter.sections if isinstance(s, FindingSection)]

    @property
    def html(self) -> str:
        return TEMPLATES.get_template("page.html").render(page=self)


def overview() -> pa.Table:
    """One row a finding that a report can show, in the order of the page: its question, and whether it has a figure."""
    found = [find(name) for chapter in chapters.arrange(names()) for name in chapter.names]
    return pa.Table.from_pylist(
        [{"finding": f.name, "question": question(f), "figure": "yes" if figure.find(f.name) else "no"} for f in found]
    )


def question(finding: Finding) -> str:
    """What the finding asks: the question of its figure, or what one row is where it has none."""
    drawn = figure.find(finding.name)
    return (drawn.question if drawn else "") or finding.grain


def write(
    lake: Lake,
    only: Sequence[str] = (),
    out: Path | None = None,
    now: datetime | None = None,
    fresh: bool = False,
    figures: Path | None = None,
    moment: int | datetime | None = None,
) -> Written:
    """Draw the page and write it, whole or not at all.

    only: names of findings, all for none. out: default `reports/index.html` in the lake. fresh: take no answer and no
    figure that the lake keeps. figures: a folder, in which each figure is then an SVG and a PNG. moment: draw the
    lake as it was then (see `Lake.past`). Raises `UnknownName` for a name that is not there, `BadInput` for a path that
    cannot be written.
    """
    scope = Scope(only)  # before anything is made
    out = local(out or lake.path / "reports" / "index.html").absolute()
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with told(out, "another file with --out"):  # before minutes of work
            out.parent.mkdir(parents=True, exist_ok=True)
            part.touch()
        if figures:
            with told(figures, "another folder with --figures"):
                figures.mkdir(parents=True, exist_ok=True)
        snapshot = None if moment is None else lake.past(schema.names(), moment)
        with read(lake, scope, snapshot, fresh) as reading:
            page = draw(reading, now or datetime.now(UTC), f"{out.name}.files", fresh, moment=moment)
        with told(out, "another file with --out"):
            put(page, part, out)
    finally:
        with suppress(OSError):  # it may not be there
            part.unlink()
    if figures:
        with told(figures, "another folder with --figures"):
            pictures.save(figures, {s.anchor: s.drawings for s in page.findings})
    return Written(out, reading.answers.failed)


@contextmanager
def told(path: Path, instead: str) -> Iterator[None]:
    """What cannot be written is one line."""
    try:
        yield
    except OSError as e:
        raise BadInput(f"{path} cannot be written ({e.strerror}): name {instead}") from e


def put(page: Page, part: Path, out: Path) -> None:
    """The page and the files beside it: these first, so that whoever reads the page finds them; those of the page
    before it are removed last, and nobody puts another page there meanwhile. part: where the page is written before it
    takes its place."""
    folder = out.with_name(f"{out.name}.files")
    with locked(out.parent):
        for name, content in page.beside.items():
            folder.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        part.write_text(page.html, encoding="utf-8")
        part.replace(out)
        with suppress(OSError):  # of another user, or not empty: it is in nobody's way
            for path in folder.iterdir():
                if BESIDE.fullmatch(path.name) and path.name not in page.beside:
                    path.unlink()
            folder.rmdir()


@contextmanager
def locked(folder: Path, wait: bool = True) -> Iterator[bool]:
    """While nobody else is in the block over the same folder; False where somebody is, and it does not wait. Where a
    file system has no locks it is as without."""
    handle, ours = os.open(folder, os.O_RDONLY), True
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            ours = False
        except OSError:
            pass
        yield ours
    finally:
        os.close(handle)


def draw(
    reading: Reading,
    now: datetime,
    folder: str = "files",
    fresh: bool = False,
    title: str = "What the models memorized",
    changes: Sequence[str] | None = None,
    moment: int | datetime | None = None,
) -> Page:
    """The page of what is read. folder: what it calls the folder of the files beside it; moment: of the snapshot, if
    that is not now."""
    (files, versions), con, answers = reading.snapshot, reading.con, reading.answers
    n_rows = {name: sum(f.rows for f in of_table) for name, of_table in files.items()}
    downloads, kept = Downloads(folder), Kept(reading.lake, "figures")
    findings = [find(name) for name in reading.scope.asked]
    known = [f.name for f in findings if f.name in claim.names()]
    families = dict(con.execute(FAMILIES).fetchall())
    published = not all(families.values())
    said = {c.finding: c.sentences for c in claim.read(answers, known, families, published)}
    sections: list[Section] = [
        of_finding(f, answers, said.get(f.name, ()), downloads, kept, fresh, reading.scope) for f in findings
    ]
    sections += [comparison.section(con, answers), *provenance.sections(con, versions, n_rows)]
    ((measurements, models),) = con.execute(
        "select (select count(*) from stored.matches), (select count(*) from models)"
    ).fetchall()
    return Page(
        title=title,
        lake=reading.lake.path.name,
        about="; ".join(f"{name} {value}" for name, value in reading.scope.only.given.items()),
        moment=_as_it_was(moment),
        drawn=now.isoformat(sep=" ", timespec="seconds"),
        versions=", ".join(f"{name} v{versions[name]}" for name in ("matches", "sequences", "models", "cells")),
        changes=changes,
        measurements=measurements,
        models=models,
        chapters=in_chapters(sections),
        beside=downloads.beside,
    )


def _as_it_was(moment: int | datetime | None) -> str:
    if moment is None:
        return ""
    if isinstance(moment, int):
        return f"as it was after version {moment} of cells"
    return f"as it was at {moment.isoformat(sep=' ', timespec='seconds')}"


def in_chapters(sections: Iterable[Section]) -> list[Chapter]:
    """The sections in the order of the page."""
    found, by_name = [], {section.anchor: section for section in sections}
    for c in chapters.arrange(by_name):
        of_chapter = [by_name[name] for name in c.names]
        empty = [s for s in of_chapter if isinstance(s, FindingSection) and not (s.numbers or s.failed)]
        first = [by_name[name] for name in c.first if by_name[name].said]
        found.append(Chapter(c.anchor, c.title, first, [s for s in of_chapter if s not in empty], empty))
    return found


def of_finding(
    finding: Finding,
    answers: Answers,
    said: Sequence[str],
    downloads: Downloads,
    kept: Kept | None = None,
    fresh: bool = False,
    scope: Scope | None = None,
) -> FindingSection:
    """The section of a finding, its figure drawn. said: by its claim; kept: where figures are that need not be drawn
    again, unless `fresh`."""
    rows, drawn = answers[finding.name], figure.find(finding.name)
    scope = scope or Scope()
    has_rows = rows.num_rows > 0
    return FindingSection(
        anchor=finding.name,
        title=question(finding),
        run="" if has_rows else drawn.run if drawn else figure.RUN,
        said=said,
        caption=drawn.caption if drawn else "",
        drawings=drawn.draw(answers, kept, fresh) if drawn and has_rows else [],
        help=finding.help,
        numbers=table(rows, f"{scope.command(finding.name)} --format csv") if has_rows else None,
        n_rows=rows.num_rows,
        files=downloads.of(finding.name, rows) if has_rows else [],
        sql=scope.sql(finding.name),
        failed=answers.failed.get(finding.name, ""),
    )
