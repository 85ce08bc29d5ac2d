"""Take back what was published: the rows leave the snapshot, the log keeps older versions, `cells` keeps the record."""

from __future__ import annotations

import json

from . import table as tables
from .errors import UnknownName
from .lake import Lake, quoted
from .publish import LOG_TABLES, record
from .register import transaction


def forget(lake: Lake, *, cell: str | None = None, model: str | None = None, corpus: str | None = None) -> list[str]:
    """Forget a cell, or all cells of a model or a corpus; a model's registration goes with them, so that its name is
    free again. Returns the ids of the cells taken back. Raises UnknownName where there is nothing of that name."""
    with lake.connect(["cells", "models", "model_corpora"]) as con:
        done = con.execute(
            "select cell, settings, experiment, version from stored.cells where outcome = 'done'"
        ).fetchall()
        models = con.execute("from stored.models").to_arrow_table().to_pylist()
        roles = con.execute("from stored.model_corpora").to_arrow_table().to_pylist()
    log = lake.delta("cells")
    held = {row[0]: row for row in done if lake.holds("cells", row[0], log)}
    wanted = [c for c, row in held.items() if c == cell or _about(json.loads(row[1]), model, corpus)]
    registered = [("models", r) for r in models if r["model"] == model]
    registered += [("model_corpora", r) for r in roles if r["model"] == model]
    if not wanted and not registered:
        _unknown(held, models, cell, model, corpus)
    for found in wanted:
        _forget_cell(lake, *held[found])
    for name, row in registered:
        predicate = " and ".join(f"{k} = {quoted(row[k])}" for k in tables.table(name).key)
        lake.retract(name, transaction(name, row), predicate)
    return wanted


def _about(settings: dict[str, object], model: str | None, corpus: str | None) -> bool:
    return (model is not None and settings.get("model") == model) or (
        corpus is not None and settings.get("corpus") == corpus
    )


def _forget_cell(lake: Lake, cell: str, settings: str, experiment: str, version: int) -> None:
    """Log tables first: a cell that is half forgotten is not done, and the next run repairs it."""
    for name in reversed(LOG_TABLES):
        lake.retract(name, cell, None)
    for name in tables.names():
        if name not in LOG_TABLES:
            lake.retract(name, cell, f"cell = {quoted(cell)}")
    record(lake, cell, experiment, version, json.loads(settings), outcome="forgotten")


def _unknown(held, models, cell: str | None, model: str | None, corpus: str | None) -> None:
    if cell is not None:
        raise UnknownName("published cell", cell, held)
    if model is not None:
        raise UnknownName("model", model, [r["model"] for r in models])
    known = {json.loads(row[1]).get("corpus") for row in held.values()} - {None}
    raise UnknownName("corpus", corpus or "", known)
