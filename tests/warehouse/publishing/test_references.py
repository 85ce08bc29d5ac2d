"""What rows stand on, of every table: a row that stands on nothing is refused, what others stand on is not forgotten
without them, and `check` finds what stands on nothing all the same.

Each reference is tried alone, the other expectations of all tables left out, on rows that are made from the columns:
one that is declared later is tried, too.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product

import duckdb
import pyarrow as pa
import pytest

from memlake.tests.small import DOMAINS, ingest_cell, made_cell, make_lake, match_cell, match_rows, put_cell
from memlake.warehouse import schema
from memlake.warehouse.errors import Conflict, UnknownName
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing import forget as forgetting
from memlake.warehouse.publishing import publish as publishing
from memlake.warehouse.publishing.check import check
from memlake.warehouse.publishing.forget import forget
from memlake.warehouse.publishing.register import register
from memlake.warehouse.schema import Reference
from memlake.warehouse.work.cells import Cell, plan

REFERENCES = [(name, r) for name in schema.names() for r in schema.table(name).references]
MADE = {  # a value of each type
    schema.INT: 1,
    schema.FLOAT: 1.0,
    schema.DOUBLE: 1.0,
    schema.BOOL: True,
    schema.BYTES: b"1",
    schema.INTS: [1],
    schema.LONGS: [1],
    schema.FLOATS: [1.0],
    schema.TIME: datetime(2026, 1, 1, tzinfo=UTC),
}


def made(name: str, meets: str = "true", **given: object) -> dict[str, object]:
    """A row of a table that meets `meets`, SQL over its columns. Columns of one name have one value in all tables."""
    row = {c.name: c.name if c.type == schema.TEXT else MADE[c.type] for c in schema.table(name).columns} | given
    row.pop("cell", None)
    free = [c for c in row if c not in given and re.search(rf"\b{c}\b", meets)]
    for values in product(*([row[c], None, 0] for c in free)):
        tried = row | dict(zip(free, values, strict=True))
        declared = pa.schema([f for f in schema.table(name).schema if f.name != "cell"])
        rows = pa.Table.from_pylist([tried], schema=declared)  # noqa: F841 (read by DuckDB)
        if duckdb.sql(f"select ({meets}) is true from rows").fetchone()[0]:
            return tried
    raise AssertionError(f"no row of {name} is {meets}")


def of_cell(name: str) -> bool:
    return "cell" in schema.table(name).schema.names


@pytest.fixture(scope="module")
def empty(tmp_path_factory) -> Lake:
    return Lake.create(tmp_path_factory.mktemp("references") / "lake")


@pytest.fixture
def copied(empty, tmp_path) -> Lake:
    shutil.copytree(empty.path, tmp_path / "lake")
    return Lake.open(tmp_path / "lake")


def put(lake: Lake, label: str, rows: dict[str, dict[str, object]]) -> tuple[str, str | None]:
    """Publish one row in each table: the cell, and why it is not published. Tables of names have no cells."""
    if not all(map(of_cell, rows)):
        ((name, row),) = rows.items()
        try:
            register(lake, name, [row])
        except Conflict as e:
            return "", str(e)
        return "", None
    settings = {k: v for row in rows.values() for k, v in row.items() if isinstance(v, str)} | {"label": label}
    cell = made_cell("made", settings, *rows)
    return cell.id, put_cell(lake, cell, {name: [row] for name, row in rows.items()})


@pytest.mark.parametrize(("name", "reference"), REFERENCES, ids=[f"{n}.{r.name}" for n, r in REFERENCES])
def test_a_reference(copied, monkeypatch, name: str, reference: Reference):
    lake, whole = copied, schema.table
    monkeypatch.setattr(schema, "table", lambda n: replace(whole(n), expect=(reference,) if n == name else ()))
    inside = reference.columns == ("cell",)  # a cell is published and taken back as a whole
    register(lake, "conditions", [made("conditions", noise=1.0), made("conditions", condition="clean", noise=0.0)])
    upper = made(name, f"not ({reference.unless or 'false'})")
    values = dict(zip(reference.target, _values(lake, name, upper, reference), strict=True))
    values.pop("cell", None)
    lower = made(reference.table, reference.where or "true", **values)

    astray = (
        upper if inside else upper | {reference.columns[0]: {str: "astray", int: 5}[type(upper[reference.columns[0]])]}
    )
    _, reason = put(lake, "astray", {name: astray})
    assert re.search(rf"\b{name}\b.*\b{reference.name}\b", reason), reason
    assert lake.files(name) == []

    if inside:
        below = above = put(lake, "both", {reference.table: lower, name: upper})[0]
    else:
        below, reason = put(lake, "lower", {reference.table: lower})
        assert reason is None
        above, reason = put(lake, "upper", {name: upper})
        assert reason is None
    assert list(check(lake)) == []

    before = lake.path.with_name("before")
    shutil.copytree(lake.path, before)
    damaged = Lake.open(before)
    damaged.delta(reference.table).delete(None if name != reference.table else f"cell = '{below}'")
    told = [d for d in check(damaged) if d.what.startswith("rows stand on nothing")]
    assert [(d.table_name, d.where) for d in told] == [(name, f"cell {above}" if above else "registered rows")]
    assert told[0].what == f"rows stand on nothing: 1 in {reference.table} ({reference.name})"

    if not below:
        return
    if not inside:
        with pytest.raises(Conflict, match=rf"{below} .*1 cell stands on it \(1 of made: {above}\): --with-dependents"):
            forget(lake, cell=below)
        assert lake.files(name) and lake.files(reference.table)
    assert forget(lake, cell=below, with_dependents=not inside) == list(dict.fromkeys([above, below]))
    assert lake.files(name) == lake.files(reference.table) == []
    assert list(check(lake)) == []


def _values(lake: Lake, name: str, row: dict[str, object], reference: Reference) -> tuple:
    """The values of the reference's columns for a row."""
    with lake.connect() as con:
        con.register("made", pa.Table.from_pylist([row], schema=schema.table(name).schema))
        return con.execute(f"select {', '.join(reference.columns)} from made as rows").fetchone()


def test_every_table_of_cells_stands_on_something_or_is_stood_on():
    """A table that is forgotten with nothing else: add its references, or say here why it has none."""
    alone = {"rejects", *publishing.LOG_TABLES}
    uppers = {name for name, _ in REFERENCES}
    assert {n for n in schema.names() if of_cell(n)} - uppers == alone | {"documents"}


def test_tables_are_taken_back_upper_first():
    order = forgetting.upper_tables_first()
    assert {*order} == {name for name in schema.names() if of_cell(name)} - {*publishing.LOG_TABLES}
    assert all(order.index(name) <= order.index(r.table) for name, r in REFERENCES if r.table in order)


# Whole cells


DOMAIN = DOMAINS[0]


def layers_cell(**more: object) -> Cell:
    settings = {"model": "m", "corpus": "mine", "domain": DOMAIN, "condition": "float32 sdpa", **more}
    return made_cell("small_layers", settings, "layer_tokens")


def layers() -> list[dict[str, object]]:
    place = {"model": "m", "corpus": "mine", "domain": DOMAIN, "condition": "float32 sdpa"}
    read = {"position": 0, "target": 7, "first_layer": 0, "target_rank": [1, 1, 1], "top1": [7, 7, 7]}
    read |= {"target_probability": [1.0] * 3, "entropy": [0.0] * 3, "kl_to_final": [0.0] * 3}
    return [place | read | {"sequence_id": r["sequence_id"]} for r in match_rows(DOMAIN) if r["memorized"]]


INGESTED, SCORED, LAYERS = ingest_cell(DOMAIN), match_cell(DOMAIN), layers_cell()


@pytest.fixture(scope="module")
def three(tmp_path_factory) -> Lake:
    """A lake of three cells, each of which stands on the one before."""
    lake = make_lake(tmp_path_factory.mktemp("three") / "lake", (DOMAIN,))
    assert put_cell(lake, SCORED, {"matches": match_rows(DOMAIN)}) is None
    assert put_cell(lake, LAYERS, {"layer_tokens": layers()}) is None
    return lake


def copy_of(lake: Lake, path) -> Lake:
    shutil.copytree(lake.path, path)
    return Lake.open(path)


def test_dependents_are_counted_and_taken_upper_first(three, tmp_path):
    lake = copy_of(three, tmp_path / "lake")
    told = f"2 cells stand on it (1 of small_layers, 1 of small_scoring: {LAYERS.id}, {SCORED.id}): --with-dependents"
    with pytest.raises(Conflict, match=re.escape(told)):
        forget(lake, cell=INGESTED.id)
    assert forget(lake, cell=INGESTED.id, with_dependents=True) == [LAYERS.id, SCORED.id, INGESTED.id]
    assert list(check(lake)) == []


def test_who_stands_on_it_is_named_up_to_three(three, tmp_path):
    lake = copy_of(three, tmp_path / "lake")
    rows = layers()
    for position in range(1, 4):
        again = [r | {"position": position} for r in rows]
        assert put_cell(lake, layers_cell(position=position), {"layer_tokens": again}) is None
    with pytest.raises(Conflict, match=r"4 cells stand on it \(4 of small_layers: c1-\w+, c1-\w+, c1-\w+, \.\.\.\)"):
        forget(lake, cell=SCORED.id)


class Killed(BaseException):
    pass


def kill_after(monkeypatch, steps: int) -> list[str]:
    """Let `forget` end after so many steps that wrote something; the steps it made."""
    made: list[str] = []
    retract, record = Lake.retract, forgetting.record

    def step(what: str) -> None:
        made.append(what)
        if len(made) == steps:
            raise Killed

    def retracted(self, name, *rest):
        found = retract(self, name, *rest)
        if found:
            step(name)
        return found

    def recorded(*args, **kwargs):
        record(*args, **kwargs)
        step("record")

    monkeypatch.setattr(Lake, "retract", retracted)
    monkeypatch.setattr(forgetting, "record", recorded)
    return made


def test_a_kill_leaves_no_row_that_stands_on_nothing_and_the_next_call_finishes(three, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        noted = kill_after(patch, 0)
        forget(copy_of(three, tmp_path / "undisturbed"), cell=INGESTED.id, with_dependents=True)
    steps = len(noted)
    assert noted[-3:] == ["checks", "record", "cells"] and steps == 3 + len(
        ("layer_tokens", "matches", *INGESTED.tables)
    )
    for step in range(1, steps):
        lake = copy_of(three, tmp_path / f"killed {step}")
        with monkeypatch.context() as patch, pytest.raises(Killed):
            kill_after(patch, step)
            forget(lake, cell=INGESTED.id, with_dependents=True)
        assert standing_on_nothing(lake) == [0, 0, 0], step
        assert forget(lake, cell=INGESTED.id, with_dependents=True)[-1] == INGESTED.id
        with lake.connect() as con:
            for name in ("layer_tokens", "matches", "sequences", "domains", "documents"):
                assert con.execute(f"select count(*) from stored.{name}").fetchone() == (0,)
        for cell in (LAYERS, SCORED, INGESTED):
            assert not any(lake.log(name).holds(cell.id) for name in schema.names()), step
    assert list(check(lake)) == []


def standing_on_nothing(lake: Lake) -> list[int]:
    with lake.connect(["layer_tokens", "matches", "sequences", "documents"]) as con:
        return [
            con.execute(f"select count(*) from stored.{upper} anti join stored.{lower} using ({key})").fetchone()[0]
            for upper, lower, key in (
                ("layer_tokens", "matches", "model, sequence_id, condition"),
                ("matches", "sequences", "sequence_id"),
                ("sequences", "documents", "document_id"),
            )
        ]


def test_what_was_published_again_is_no_half_way(three, tmp_path):
    """Its log says that it was taken back once."""
    lake = copy_of(three, tmp_path / "lake")
    forget(lake, cell=LAYERS.id)
    assert put_cell(lake, LAYERS, {"layer_tokens": layers()}) is None
    other = layers_cell(position=1)
    assert put_cell(lake, other, {"layer_tokens": [r | {"position": 1} for r in layers()]}) is None
    assert forget(lake, cell=other.id, with_dependents=True) == [other.id]
    assert plan(lake, [LAYERS]) == []


def test_what_stands_on_a_corpus_and_is_not_of_it_is_not_left(three, tmp_path):
    """An import of two corpora: it goes with one of them, and with it the scores of the other."""
    lake = copy_of(three, tmp_path / "lake")
    forget(lake, cell=SCORED.id, with_dependents=True)
    both = made_cell("small_import", {"model": "m", "corpora": ["mine", "other"]}, "matches")
    assert put_cell(lake, both, {"matches": match_rows(DOMAIN)}) is None
    assert put_cell(lake, LAYERS, {"layer_tokens": layers()}) is None
    with pytest.raises(Conflict, match=rf"other cannot be forgotten alone, 1 cell .*{LAYERS.id}"):
        forget(lake, corpus="other")
    assert forget(lake, corpus="other", with_dependents=True) == [LAYERS.id, both.id]
    assert list(check(lake)) == []


def test_a_corpus_and_a_model_take_all_that_is_of_them(three, tmp_path):
    lake = copy_of(three, tmp_path / "lake")
    assert forget(lake, model="m") == [LAYERS.id, SCORED.id]
    assert forget(lake, corpus="mine") == [INGESTED.id]
    with pytest.raises(UnknownName):
        forget(lake, corpus="mine", with_dependents=True)


def test_what_is_being_published_is_not_left_standing_on_nothing(three, tmp_path, monkeypatch):
    """Its rows are there, and its row in `cells` is not yet."""
    lake = copy_of(three, tmp_path / "lake")
    forget(lake, cell=LAYERS.id)
    original = Lake.commit

    def commit(self, name, *rest):
        if name == "checks":
            raise Killed
        return original(self, name, *rest)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Lake, "commit", commit)
        put_cell(lake, LAYERS, {"layer_tokens": layers()})
    for with_dependents in (False, True):
        with pytest.raises(Conflict, match=rf"{LAYERS.id} stands on it, whose publication was stopped half-way"):
            forget(lake, cell=SCORED.id, with_dependents=with_dependents)
