"""Take back what was published: the rows leave the snapshot, the log keeps older versions, `cells` keeps the record."""

from __future__ import annotations

import json
import shutil

from memlake.warehouse import schema as tables
from memlake.warehouse.errors import Conflict, UnknownName
from memlake.warehouse.identity import tagged
from memlake.warehouse.lake import Lake
from memlake.warehouse.relation import quoted

from .publish import LOG_TABLES, Attempt, record
from .register import transaction

SAMPLE = "ingest_keep"  # the experiment whose cell publishes a `--keep` sample


def forget(lake: Lake, *, cell: str | None = None, model: str | None = None, corpus: str | None = None) -> list[str]:
    """Forget a cell, or all cells of a model or a corpus; a model's registration goes with them, so that its name is
    free again. Returns the ids of the cells taken back. Stopped half-way, it goes on when it is called again.

    What a run that was stopped left in the spool of a corpus goes with it. Raises UnknownName where there is nothing of
    that name, and Conflict where other cells stand on a cell's rows.
    """
    with lake.connect(["cells", "models", "model_corpora"]) as con:
        done = con.execute(
            "select cell, settings, experiment, version from stored.cells where outcome = 'done'"
            " order by finished_at desc"  # what stands on others was published after them, and goes first
        ).fetchall()
        models = con.execute("from stored.models").to_arrow_table().to_pylist()
        roles = con.execute("from stored.model_corpora").to_arrow_table().to_pylist()
    log = lake.delta("cells")
    held = {row[0]: row for row in done if lake.holds("cells", row[0], log)}
    wanted = [c for c, row in held.items() if c == cell or _about(json.loads(row[1]), model, corpus)]
    registered = [("model_corpora", r) for r in roles if r["model"] == model]
    registered += [("models", r) for r in models if r["model"] == model]
    if not wanted and not registered:
        _unknown(held, models, cell, model, corpus)
    if cell is not None:
        _refuse_dependants(lake, cell)
        _refuse_sampled(held, cell)
    for found in wanted:
        _forget_cell(lake, *held[found])
    for name, row in registered:
        predicate = " and ".join(f"{k} = {quoted(row[k])}" for k in tables.table(name).key)
        lake.retract(name, transaction(name, row), predicate)
    if corpus is not None:
        shutil.rmtree(lake.path / "spool" / spools(corpus), ignore_errors=True)
    return wanted


def spools(corpus: str) -> str:
    """The folder in `spool/` for what waits there for a corpus's later stages."""
    return tagged("corpus", corpus)


def _about(settings: dict[str, object], model: str | None, corpus: str | None) -> bool:
    return (model is not None and settings.get("model") == model) or (
        corpus is not None and corpus in _corpora(settings)
    )


def _corpora(settings: dict[str, object]) -> list[str]:
    """The corpora that a cell is about."""
    return [settings["corpus"]] if "corpus" in settings else list(settings.get("corpora", []))


def _refuse_dependants(lake: Lake, cell: str) -> None:
    """Raise Conflict where rows of other cells name documents or sequences of this one."""
    with lake.connect(["documents", "sequences", "matches", "exposures", "guessability", "ngram_counts"]) as con:
        for name, key, below in (
            ("sequences", "document_id", "documents"),
            ("exposures", "document_id", "documents"),
            ("matches", "sequence_id", "sequences"),
            ("guessability", "sequence_id", "sequences"),
            ("ngram_counts", "sequence_id", "sequences"),
        ):
            count, cells = con.execute(
                f"select count(*), list(distinct cell order by cell) from stored.{name} where cell <> $cell"
                f" and {key} in (select {key} from stored.{below} where cell = $cell)",
                {"cell": cell},
            ).fetchone()
            if count:
                what = f"{count} rows of {name} stand on its {below}"
                those = ", ".join(cells)
                raise Conflict(f"{cell} cannot be forgotten alone, {what}: forget {those} first, or the --corpus")


def _refuse_sampled(held: dict[str, tuple], cell: str) -> None:
    """Raise Conflict where the cell read a file of a finished `--keep` sample: what it saw of the domains would be
    gone, and the sample would stay."""
    settings = json.loads(held[cell][1])
    if "keep" not in settings or held[cell][2] == SAMPLE:
        return
    for _, other, experiment, _ in held.values():
        if experiment == SAMPLE and json.loads(other)["corpus"] == settings["corpus"]:
            raise Conflict(
                f"{cell} cannot be forgotten alone, it is part of a finished sample: forget the --corpus"
                f" {settings['corpus']}"
            )


def _forget_cell(lake: Lake, cell: str, settings: str, experiment: str, version: int) -> None:
    """The row in `cells` last: until then the cell can be found, and forgotten to the end."""
    for name in tables.names():
        if name not in LOG_TABLES:
            lake.retract(name, cell, f"cell = {quoted(cell)}")
    for name in LOG_TABLES:
        lake.retract(name, cell, None)
    record(lake, Attempt(cell, experiment, version, json.loads(settings)), "forgotten")


def _unknown(held, models, cell: str | None, model: str | None, corpus: str | None) -> None:
    if cell is not None:
        raise UnknownName("published cell", cell, held)
    if model is not None:
        raise UnknownName("model", model, [r["model"] for r in models])
    known = {name for row in held.values() for name in _corpora(json.loads(row[1]))}
    raise UnknownName("corpus", corpus or "", known)
