"""`--strict`: all files are read before any is published, and a single reject stops the run.

One cell a file reads it and leaves in the spool what it found. It is done then: the file is read again only if it
changes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from memlake.ingest.source import Document, Reject
from memlake.warehouse.errors import BadInput
from memlake.warehouse.lake import Lake, spools
from memlake.warehouse.work.cells import Cell, plan
from memlake.warehouse.work.spool import Spool

CHECK, VERSION = "ingest_check", 1
SETTINGS = ("source", "options", "corpus", "file", "digest")


def check_stages(lake: Lake, cells: Sequence[Cell]) -> Iterator[list[Cell]]:
    """One stage, that reads the files of these cells of `ingest`. Raises `BadInput` after it if any record of them is
    rejected, and before it if any was when its file was published."""
    refuse_published(lake, cells)
    todo = plan(lake, cells)
    name = _spool_name(cells[0].settings["corpus"])
    checks = [
        Cell(CHECK, VERSION, {k: c.settings[k] for k in SETTINGS}, (), task={**c.task, "spool": name}) for c in todo
    ]
    spool = Spool(lake, name)
    spool.replan(checks, todo)
    yield checks
    refuse([json.loads(p.read_text()) for p in spool.take([c.id for c in checks])])


def forget_checks(lake: Lake, corpus: str) -> None:
    """Once the files are published."""
    Spool(lake, _spool_name(corpus)).remove()


def check(cell: Cell, lake: Lake, records: Iterable[Document | Reject]) -> None:
    """Read a file, and leave its rejects: number by reason, and (file, position, reason) of the first."""
    rejects = (r for r in records if isinstance(r, Reject))
    first, reasons = None, Counter()
    for reject in rejects:
        first = first or (reject.source, reject.position, reject.reason)
        reasons[reject.reason] += 1
    with Spool(lake, cell.task["spool"]).writing(cell.id) as path:
        path.write_text(json.dumps({"reasons": reasons, "first": first}))


def refuse_published(lake: Lake, cells: Sequence[Cell]) -> None:
    """Raise `BadInput` where the lake holds files of these cells with rejects."""
    with lake.connect(["rejects"]) as con:
        found = con.execute(
            "select source, position, reason from stored.rejects where list_contains(?, cell) order by all",
            [[c.id for c in cells]],
        ).fetchall()
    if found:
        corpus, reasons = cells[0].settings["corpus"], Counter(reason for *_, reason in found)
        raise BadInput(
            f"corpus {corpus} holds files that were published with rejects, {_told(reasons, found[0])}; nothing more is"
            f" published: take it back with `memlake warehouse forget --corpus {corpus}`, or leave out --strict"
        )


def refuse(found: Sequence[dict[str, object]]) -> None:
    """Raise `BadInput` where there is any reject."""
    reasons: Counter[str] = Counter()
    for one in found:
        reasons.update(one["reasons"])
    if reasons:
        first = min(one["first"] for one in found if one["first"])
        raise BadInput(
            f"{_told(reasons, first, ' would be rejected')}; nothing is published: mend them, or leave out --strict"
        )


def _told(reasons: Counter[str], first: Sequence[object], what: str = "") -> str:
    """How many records there are by reason, and which is the first."""
    n, (file, position, reason) = reasons.total(), first
    by_reason = ", ".join(f"{name} {n}" for name, n in sorted(reasons.items()))
    return f"{n} record{'s' * (n > 1)}{what} ({by_reason}), the first is record {position} of {file}: {reason}"


def _spool_name(corpus: str) -> str:
    return f"{spools(corpus)}/strict"
