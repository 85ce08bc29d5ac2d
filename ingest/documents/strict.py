"""`--strict`: all files are read before any is published, and a single reject stops the run.

One cell a file reads it and leaves in the spool what it found. It is done then: the file is read again only if it
changes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from memlake.ingest.source import Document, Reject, Stage, listed
from memlake.warehouse.errors import BadInput
from memlake.warehouse.lake import Lake, spools
from memlake.warehouse.work.cells import Cell, CellRows, plan
from memlake.warehouse.work.spool import Spool

from .reading import DocumentReader, FileSettings, Input, ReadFile


@dataclass(frozen=True)
class Rejects:
    """The rejects of a file: their number by reason, and (file, position, reason) of the first."""

    reasons: Mapping[str, int]
    first: tuple[str, int, str] | None

    @classmethod
    def among(cls, records: Iterable[Document | Reject]) -> Rejects:
        first, reasons = None, Counter[str]()
        for reject in records:
            if isinstance(reject, Reject):
                first = first or (reject.source, reject.position, reject.reason)
                reasons[reject.reason] += 1
        return cls(dict(reasons), first)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Rejects:
        found = json.loads(path.read_text())
        return cls(found["reasons"], found["first"] and tuple(found["first"]))


@dataclass(frozen=True)
class CheckFile(Cell):
    """Reads a file and leaves its rejects in the spool; publishes no rows."""

    EXPERIMENT = "ingest_check"

    settings: FileSettings
    source: DocumentReader
    given: Input
    spool: str

    @property
    def seconds(self) -> float:
        return self.source.seconds(self.given)

    def rows(self, lake: Lake) -> CellRows:
        rejects = Rejects.among(self.source.read(self.given))
        with Spool(lake, self.spool).writing(self.id) as path:
            rejects.write(path)
        return iter(())


def strictly(lake: Lake, files: Sequence[ReadFile], stages: Sequence[Stage]) -> list[Stage]:
    """The stages that publish these files, after one that checks them: it raises `BadInput` if any record of them is
    rejected. Raises `BadInput` at once if any was when its file was published."""
    refuse_published(lake, files)
    todo = plan(lake, files)
    name = f"{spools(files[0].settings.corpus)}/strict"
    spool, checks = Spool(lake, name), [_check(c, name) for c in todo]

    def refuse_rejects() -> None:
        refuse([Rejects.read(path) for path in spool.take([c.id for c in checks])])

    check = Stage(checks, before=lambda: spool.replan(checks, todo), after=refuse_rejects)
    return [check, *stages, Stage(after=spool.remove)]


def _check(cell: ReadFile, spool: str) -> CheckFile:
    s = cell.settings
    return CheckFile(FileSettings(s.source, s.options, s.corpus, s.file, s.digest), cell.source, cell.given, spool)


def refuse_published(lake: Lake, files: Sequence[ReadFile]) -> None:
    """Raise `BadInput` where the lake holds some of these files with rejects."""
    with lake.connect(["rejects"]) as con:
        found = con.execute(
            "select source, position, reason from stored.rejects where list_contains(?, cell) order by all",
            [[c.id for c in files]],
        ).fetchall()
    if found:
        corpus, reasons = files[0].settings.corpus, Counter(reason for *_, reason in found)
        raise BadInput(
            f"corpus {corpus} holds files that were published with rejects, {_summary(reasons, found[0])}; nothing more"
            f" is published: take it back with `memlake warehouse forget --corpus {corpus}`, or leave out --strict"
        )


def refuse(found: Sequence[Rejects]) -> None:
    """Raise `BadInput` where any of these files has a reject."""
    reasons: Counter[str] = Counter()
    for one in found:
        reasons.update(one.reasons)
    if reasons:
        first = min(one.first for one in found if one.first)
        what = _summary(reasons, first, " would be rejected")
        raise BadInput(f"{what}; no document is published: mend them, or leave out --strict")


def _summary(reasons: Counter[str], first: tuple[str, int, str], what: str = "") -> str:
    """How many records there are by reason, and which is the first."""
    n, (file, position, reason) = reasons.total(), first
    by_reason = listed(sorted(reasons.items()))
    return f"{n} record{'s' * (n > 1)}{what} ({by_reason}), the first is record {position} of {file}: {reason}"
