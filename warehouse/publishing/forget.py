"""Take back what was published: the rows leave the snapshot, the log keeps older versions, `cells` keeps the record.

Which cells stand on which follows from the references that the tables declare: a cell stands on another where a row of
it stands on a row of that one. A table is rewritten once for all cells that are taken back, and those tables come first
whose rows stand on rows of others: a kill at any moment leaves no row that stands on nothing.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memlake.warehouse import schema
from memlake.warehouse.errors import Conflict, UnknownName
from memlake.warehouse.lake import Lake, spools
from memlake.warehouse.relation import File, quoted, relation
from memlake.warehouse.schema import Reference
from memlake.warehouse.words import counted

from .publish import Attempt, Ending, data_tables, record
from .register import transaction

NAMED = 3  # cells that a refusal names
STOPPED = "stopped half-way, some rows may be taken back: run the same command again, it goes on"


@dataclass(frozen=True)
class PublishedCell:
    """What `cells` knows of a published cell."""

    cell: str
    experiment: str
    version: int
    settings: dict[str, Any]
    rows: int


def forget(
    lake: Lake,
    *,
    cell: str | Sequence[str] | None = None,
    model: str | None = None,
    corpus: str | None = None,
    with_dependents: bool = False,
) -> list[str]:
    """Forget a cell, or several at once, or all cells of a model or a corpus; a model's registration goes with them, so
    that its name is free again. Returns the ids of the cells taken back, in order. Stopped half-way, it goes on when it
    is called again.

    with_dependents: take the cells that stand on them, too. What waits in the spool of a corpus goes with it. Raises
    UnknownName where there is nothing of that name, and Conflict where other cells stand on these.
    """
    cells = [cell] if isinstance(cell, str) else cell or []
    with lake.publishing():  # else rows that stand on these might be published meanwhile
        published = _published_cells(lake)
        with lake.connect(["models", "model_corpora"]) as con:
            models = con.execute("from stored.models").to_arrow_table().to_pylist()
            roles = con.execute("from stored.model_corpora").to_arrow_table().to_pylist()
        files = lake.snapshots(data_tables()).files
        wanted = [c for c, known in published.items() if c in cells or _about(known.settings, model, corpus)]
        registered = {
            name: [row for row in rows if row["model"] == model]
            for name, rows in (("model_corpora", roles), ("models", models))
        }
        if not wanted and not any(registered.values()):
            _unknown(published, models, cells, model, corpus)
        roots = [*(_begun(lake, published, files) if with_dependents else ()), *wanted]
        order = _upper_first(roots, _standing(lake, files, roots))
        _refuse(_listed(cells) or model or corpus, [c for c in order if c not in roots], published, with_dependents)
        if corpus is not None:
            shutil.rmtree(lake.path / "spool" / spools(corpus), ignore_errors=True)
        _forget(lake, [published[found] for found in order])
        for name, rows in registered.items():
            _forget_rows(lake, name, rows)
    return order


def _published_cells(lake: Lake) -> dict[str, PublishedCell]:
    """The published cells by their ids, the newest first."""
    with lake.connect(["cells"]) as con:
        done = con.execute(
            "select cell, experiment, version, settings, rows from stored.cells where outcome = 'done'"
            " qualify row_number() over (partition by cell order by finished_at desc) = 1 order by finished_at desc"
        ).fetchall()
    log = lake.log("cells")
    return {
        cell: PublishedCell(cell, experiment, version, json.loads(settings), rows)
        for cell, experiment, version, settings, rows in done
        if log.holds(cell)
    }


def _about(settings: Mapping[str, Any], model: str | None, corpus: str | None) -> bool:
    return (model is not None and settings.get("model") == model) or (
        corpus is not None and corpus in _corpora(settings)
    )


def _corpora(settings: Mapping[str, Any]) -> list[str]:
    """The corpora that a cell is about."""
    return [settings["corpus"]] if "corpus" in settings else list(settings.get("corpora", []))


def _unknown(
    published: Mapping[str, PublishedCell],
    models: Sequence[dict],
    cells: Sequence[str],
    model: str | None,
    corpus: str | None,
) -> None:
    if cells:
        raise UnknownName("published cell", cells[0], published)
    if model is not None:
        raise UnknownName("model", model, [r["model"] for r in models])
    known = {name for one in published.values() for name in _corpora(one.settings)}
    raise UnknownName("corpus", corpus or "", known)


def _begun(lake: Lake, published: Mapping[str, PublishedCell], files: Mapping[str, Sequence[File]]) -> list[str]:
    """Cells of which a `forget` that was stopped has taken back a part: their other rows do not tell any more on what
    they stood."""
    rows = _row_counts(lake, files)
    short = [c for c, known in published.items() if rows[c] < known.rows]
    return [c for c in short if any(lake.log(name).gave_back(c) for name in files)]


def _row_counts(lake: Lake, files: Mapping[str, Sequence[File]]) -> Counter[str | None]:
    """How many rows each cell has: by the log where a file is named by its cell, else by the rows."""
    counts: Counter[str | None] = Counter()
    with lake.connect([]) as con:
        for name, listed in files.items():
            for file in listed:
                counts[file.cell] += file.rows
            if merged := [f for f in listed if f.cell is None]:
                found = con.execute(f"select cell, count(*) from ({relation(name, merged)}) group by cell").fetchall()
                counts.update(dict(found))
    return counts


def _refuse(
    what: str | None, others: Sequence[str], published: Mapping[str, PublishedCell], with_dependents: bool
) -> None:
    """Raise Conflict where `others`, which stand on what is to be forgotten, may not be taken along."""
    if unknown := [c for c in others if c not in published]:
        raise Conflict(
            f"{what} cannot be forgotten now: {unknown[0]} stands on it, whose publication was stopped half-way; any"
            " `memlake compute run` or `memlake ingest run` finishes it"
        )
    if others and not with_dependents:
        kinds = Counter(published[c].experiment for c in others)
        by_experiment = ", ".join(f"{n} of {kind}" for kind, n in sorted(kinds.items()))
        cells = counted(len(others), "cell stands", "cells stand")
        raise Conflict(
            f"{what} cannot be forgotten alone, {cells} on it ({by_experiment}: {_listed(others)}):"
            " --with-dependents forgets them, too"
        )


def _listed(cells: Sequence[str]) -> str:
    return ", ".join(cells[:NAMED]) + (", ..." if len(cells) > NAMED else "")


def _standing(lake: Lake, files: Mapping[str, Sequence[File]], cells: Iterable[str]) -> dict[str, set[str]]:
    """For each of the cells, and of all that stand on them, the cells whose rows stand on rows of it."""
    found: dict[str, set[str]] = {}
    asked = set(cells)
    while asked:
        found |= {cell: set() for cell in asked}
        for upper, lower in _pairs(lake, files, asked):
            found[lower].add(upper)
        asked = set().union(*found.values()) - found.keys()
    return found


def _pairs(lake: Lake, files: Mapping[str, Sequence[File]], cells: set[str]) -> Iterator[tuple[str, str]]:
    """(upper, lower): cells of which `upper` stands on `lower`, one of `cells`."""
    listed = ", ".join(map(quoted, sorted(cells)))
    declared = [(name, r) for name in files for r in schema.table(name).references if r.table in files]
    with lake.connect(set().union(*(r.expectation.tables - {r.table} for _, r in declared))) as con:
        for name, reference in declared:
            lower = [f for f in files[reference.table] if f.cell is None or f.cell in cells]
            upper = _beside(name, files[name], reference, lower)
            if not lower or not upper:
                continue
            own = ", ".join(f"{c} as key_{i}" for i, c in enumerate(reference.columns))
            other = ", ".join(f"{c} as key_{i}" for i, c in enumerate(reference.target))
            yield from con.execute(
                f"select distinct upper.cell, lower.cell"
                f" from (select cell, {own} from ({relation(name, upper)}) as rows"
                f" where not coalesce({reference.unless or 'false'}, false)) as upper"
                f" join (select cell, {other} from ({relation(reference.table, lower)})"
                f" where cell in ({listed}) and {reference.where or 'true'}) as lower"
                f" using ({', '.join(f'key_{i}' for i in range(len(reference.columns)))})"
                f" where upper.cell <> lower.cell"
            ).fetchall()


def _beside(name: str, files: Sequence[File], reference: Reference, lower: Sequence[File]) -> list[File]:
    """Those files of the table `name` that lie in partitions in which rows may stand on rows of `lower`."""
    same = {*reference.within, *(c for c, of in zip(reference.columns, reference.target, strict=True) if c == of)}
    keys = [k for k in schema.table(name).partition if k in same and k in schema.table(reference.table).partition]
    places = {tuple(f.partition[k] for k in keys) for f in lower}
    return [f for f in files if tuple(f.partition[k] for k in keys) in places]


def _upper_first(roots: Iterable[str], standing: Mapping[str, set[str]]) -> list[str]:
    """The cells, or tables, and all that stand on them, each after those that stand on it."""
    order: list[str] = []
    seen: set[str] = set()

    def place(one: str) -> None:
        if one not in seen:
            seen.add(one)
            for upper in sorted(standing[one]):
                place(upper)
            order.append(one)

    for one in roots:
        place(one)
    return order


def _forget(lake: Lake, cells: Sequence[PublishedCell]) -> None:
    """The log of `cells` last: until then the cells can be found, and forgotten to the end."""
    ids = [known.cell for known in cells]
    begun = False
    try:
        for name in upper_tables_first():
            begun |= bool(lake.retract(name, ids, lambda held: f"cell in ({', '.join(map(quoted, held))})"))
        lake.retract("checks", ids, None)
        gone = [(Attempt(c.cell, c.experiment, c.version, c.settings), Ending("forgotten")) for c in cells]
        record(lake, gone)
        lake.retract("cells", ids, None)
    except BaseException as e:
        if begun or isinstance(e, KeyboardInterrupt):
            print(STOPPED, file=sys.stderr)
        raise


def _forget_rows(lake: Lake, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Take registered rows back."""
    keys = {
        transaction(name, row): " and ".join(f"{k} = {quoted(row[k])}" for k in schema.table(name).key) for row in rows
    }
    lake.retract(name, list(keys), lambda held: " or ".join(f"({keys[t]})" for t in held))


def upper_tables_first() -> list[str]:
    """The data tables, each after those whose rows stand on its rows: in this order a cell's rows are taken back."""
    standing: dict[str, set[str]] = {name: set() for name in data_tables()}
    for upper in standing:
        for lower in {r.table for r in schema.table(upper).references} & standing.keys():
            standing[lower].add(upper)
    return _upper_first(standing, standing)
