"""Sums over texts that are kept beside the lake: `views/sums.sql`, `views/compared.sql`, `views/layers.sql`,
`views/heads.sql` and `views/frequencies.sql` say how they are computed, and findings read them in place of the rows
they are of.

They are kept by model and corpus, or by corpus where its models are compared, each under the hash of what it was
computed from: the files of its own rows, those of the corpus's sequences and documents, which say what text a sequence
is of, those of counts, and the samples of its cells. So what is published or merged makes the sums of its own model and
corpus anew, and those of others stay. Where none can be kept they are computed each time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from memlake import __version__
from memlake.warehouse.identity import tagged
from memlake.warehouse.lake import Lake
from memlake.warehouse.portions import portions
from memlake.warehouse.relation import File, quoted
from memlake.warehouse.scratch import limit

from .catalog import OF_SAMPLE, definitions, needed, prepare
from .kept import Kept
from .only import ALL, Only

SUMS = {  # and the table that says of which models and corpora there are any
    "match_sums_all": "matches",
    "position_sums_all": "matches",
    "guess_means": "matches",
    "byte_sums": "matches",
    "sharing_sums": "matches",
    "control_sums": "matches",
    "layer_means": "layer_tokens",
    "depth_means": "layer_tokens",
    "output_means": "block_deltas",
    "head_drops": "head_effects",
    "part_sums": "head_deltas",
    "frequency_means": "matches",
}
BY_CORPUS = {"byte_sums", "sharing_sums", "control_sums"}  # what compares a corpus's models
Unit = tuple[str | None, str]  # model and corpus; None: all models of the corpus together
BATCH = 2_000_000  # rows that are added up together; sums of positions take half a kilobyte of memory for each


def fill(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    files: Mapping[str, Sequence[File]],
    only: Only,
    names: Collection[str],
    fresh: bool = False,
) -> None:
    """Put tables in the place of those views of sums that are among `names`. `con`: a connection to these files, of
    which `only` so much is looked at. fresh: computed, also where they are kept."""
    where = [f"{c} = {quoted(value)}" for c in OF_SAMPLE if (value := getattr(only, c)) is not None]
    for name, table in SUMS.items():
        if name in names and files.get(table):
            rows = _sums(con, lake, files, name, only, fresh)
            if rows is None:
                continue
            con.register("kept_sums", rows)
            con.execute(f"drop view if exists {name}")
            con.execute(f"create or replace table {name} as from kept_sums where {' and '.join(where) or 'true'}")
            con.unregister("kept_sums")


class Unfilled:
    """Those views of sums of a connection in whose place no tables stand yet: they are put there before the first
    statement that needs them, since it takes a while, and few do."""

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        lake: Lake,
        files: Mapping[str, Sequence[File]],
        only: Only = ALL,
        fresh: bool = False,
    ):
        self._fill = partial(fill, con, lake, files, only, fresh=fresh)
        self._left = set(SUMS)

    def fill_for(self, text: str) -> None:
        """Fill what a statement needs. Where it asks about what there is nothing is: names and columns are the same."""
        if new := self._left & (needed(text) or set()):
            self._left -= new
            self._fill(names=new)


def _made_of(
    con: duckdb.DuckDBPyConnection, lake: Lake, files: Mapping[str, Sequence[File]], name: str, only: Only
) -> Iterator[tuple[Unit, str]]:
    """What the sums of that name of each model and corpus are computed from, hashed: those of all conditions do not
    depend on which of them is a model's base, and few on a model's role to the corpus."""
    names = needed(name) or set()
    base = {} if name.endswith("_all") else dict(con.execute("select model, base_condition from models").fetchall())
    roles = con.execute("select model, corpus, role from model_corpora").fetchall() if "model_corpora" in names else []
    cells = {cell: list(of) for cell, *of in con.execute("from cell_samples").fetchall()}
    ((sequences,),) = con.execute("select coalesce(bit_xor(hash(s)), 0)::varchar from sequence_samples s").fetchall()
    units: dict[Unit, list[tuple[str, str]]] = {}
    for model, corpus in sorted(_measured(con, files, SUMS[name], only)):
        units.setdefault((None if name in BY_CORPUS else model, corpus), []).append((model, corpus))
    for unit, measured in units.items():
        own = _of(files, names, unit)
        known = {f.cell for some in own.values() for f in some if "model" in f.partition}
        samples = sorted((cell, of) for cell, of in cells.items() if None in known or cell in known)
        paths = {table: [lake.relative(f.path) for f in some] for table, some in own.items()}
        said = [[of[0], base.get(of[0]), *(role for *its, role in roles if tuple(its) == of)] for of in measured]
        yield unit, tagged("sums", {"files": paths, "sequences": sequences, "samples": samples, "said": said})


def _measured(
    con: duckdb.DuckDBPyConnection, files: Mapping[str, Sequence[File]], table: str, only: Only
) -> set[tuple[str, str]]:
    """The models and corpora that a table has rows of, so far as they are selected."""
    if not only.selected and {"model", "corpus"} <= files[table][0].partition.keys():
        return {_unit(f) for f in files[table]}
    return set(con.execute(f"select distinct model, corpus from stored.{table}").fetchall())


def _unit(file: File) -> tuple[str, str]:
    return str(file.partition["model"]), str(file.partition["corpus"])


def _of(files: Mapping[str, Sequence[File]], names: Collection[str], *units: Unit) -> dict[str, list[File]]:
    """The files of those tables among `names` that are of models or corpora, so far as they are of these, and those of
    counts, of which one may be of several corpora."""
    own: dict[str, set[str | None]] = {"model": {model for model, _ in units}, "corpus": {c for _, c in units}}
    return {
        table: [f for f in some if all({f.partition[c], None} & of for c, of in own.items() if c in f.partition)]
        for table, some in files.items()
        if table in names and some and {*own, "counted_corpus"} & some[0].partition.keys()
    }


def _sums(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    files: Mapping[str, Sequence[File]],
    name: str,
    only: Only,
    fresh: bool,
) -> pa.Table | None:
    """All rows of the view of that name over all samples, None where they are of no model or corpus. What is not kept
    yet is computed by a connection of its own, which may use as much memory and as many threads."""
    base = None if name.endswith("_all") else only.condition
    only = replace(only, condition=base, sample_rule=None, sample_window=None)
    names = needed(name, only) or set()
    sql = [d.sql for d in definitions(only) if d.name in names]
    limits = "select name, value from duckdb_settings() where name in ('memory_limit', 'threads')"
    settings = con.execute(limits).fetchall()
    made_of = _made_of(con, lake, files, name, only)
    said = [only.selected] if only.selected else []
    keys = {unit: tagged(name, [__version__, duckdb.__version__, *sql, *said, digest]) for unit, digest in made_of}
    shelf = Kept(lake, "sums")
    found = {unit: rows for unit, key in keys.items() if not fresh and (rows := shelf.get(key)) is not None}
    for batch in _batches(keys.keys() - found.keys(), [f for n in files if n in names for f in files[n]]):
        own = {n: files[n] for n in files if n in names} | _of(files, names, *batch)
        with lake.connect(own, own) as of_batch:
            limit(of_batch)
            of_batch.execute(";".join(f"set {setting} = '{value}'" for setting, value in settings))
            rows = prepare(of_batch, only, names).execute(f"from {name}").to_arrow_table()
        for model, corpus in batch:
            own_rows = pc.field("corpus") == corpus
            if model is not None:
                own_rows &= pc.field("model") == model
            found[model, corpus] = rows.filter(own_rows)
            shelf.put(keys[model, corpus], found[model, corpus])
    return pa.concat_tables(found.values()) if found else None


def _batches(units: Iterable[Unit], files: Sequence[File]) -> Iterator[list[Unit]]:
    """The units in parts whose sums are computed together: of one corpus, so that its texts are looked up once for as
    many rows as memory should hold. files: all whose rows are read; what is not of a model and a corpus is
    little."""
    rows: Counter[Unit] = Counter()
    for file in files:
        if {"model", "corpus"} <= file.partition.keys():
            rows[_unit(file)] += file.rows
    for _, of_corpus in groupby(sorted(units, key=lambda unit: unit[::-1]), key=lambda unit: unit[1]):
        yield from portions(of_corpus, rows.__getitem__, BATCH)
