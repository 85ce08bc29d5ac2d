"""Sums over texts that are kept beside the lake: `views/sums.sql` says how they are computed, and findings read them in
place of the rows they are of.

They are kept by model and corpus, each under the hash of what it was computed from: the files of its rows in `matches`,
those of the corpus's sequences and documents, which say what text a sequence is of, and the samples of its cells. So
what is published or merged makes the sums of its own model and corpus anew, and those of others stay. Where none can be
kept they are computed each time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from memlake import __version__
from memlake.warehouse.identity import tagged
from memlake.warehouse.lake import Lake
from memlake.warehouse.relation import File, quoted

from .catalog import OF_SAMPLE, definitions, needed, prepare
from .kept import Kept
from .only import Only

SUMS = ("match_sums_all", "position_sums_all")
Unit = tuple[str, str]  # model and corpus
BATCH = 4_000_000  # rows of `matches`; for each, sums of positions take half a kilobyte of memory


def fill(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    files: Mapping[str, Sequence[File]],
    only: Only,
    names: Collection[str] | None,
    fresh: bool = False,
) -> None:
    """Put tables in the place of those views of sums that are among `names` (None: of all). `con`: a connection to
    these files, of which `only` so much is looked at. fresh: computed, also where they are kept."""
    wanted = [name for name in SUMS if names is None or name in names]
    if not wanted or not files["matches"]:
        return
    made_of = dict(_made_of(con, lake, files))
    where = [f"{c} = {quoted(value)}" for c in OF_SAMPLE if (value := getattr(only, c)) is not None]
    for name in wanted:
        con.register("kept_sums", _sums(lake, files, name, made_of, fresh))
        con.execute(f"drop view if exists {name}")
        con.execute(f"create or replace table {name} as from kept_sums where {' and '.join(where) or 'true'}")
        con.unregister("kept_sums")


def _made_of(
    con: duckdb.DuckDBPyConnection, lake: Lake, files: Mapping[str, Sequence[File]]
) -> Iterator[tuple[Unit, str]]:
    """What the sums of each model and corpus are computed from, hashed."""
    cells = {cell: list(of) for cell, *of in con.execute("from cell_samples").fetchall()}
    ((sequences,),) = con.execute("select coalesce(bit_xor(hash(s)), 0)::varchar from sequence_samples s").fetchall()
    matches = sorted(files["matches"], key=_unit)
    texts = {
        corpus: tagged("texts", [sequences, *(_paths(lake, files[n], corpus) for n in ("sequences", "documents"))])
        for corpus in {_unit(f)[1] for f in matches}
    }
    for unit, some in groupby(matches, key=_unit):
        own = list(some)
        known = {f.cell for f in own}
        samples = sorted((cell, of) for cell, of in cells.items() if None in known or cell in known)
        paths = [lake.relative(f.path) for f in own]
        yield unit, tagged("sums", {"matches": paths, "texts": texts[unit[1]], "samples": samples})


def _unit(file: File) -> Unit:
    return str(file.partition["model"]), str(file.partition["corpus"])


def _paths(lake: Lake, files: Sequence[File], corpus: str) -> list[str]:
    return [lake.relative(f.path) for f in files if f.partition["corpus"] == corpus]


def _sums(
    lake: Lake, files: Mapping[str, Sequence[File]], name: str, made_of: Mapping[Unit, str], fresh: bool
) -> pa.Table:
    """All rows of the view of that name, those that are not kept yet computed by a connection of their own."""
    names = needed(name) or set()
    sql = [d.sql for d in definitions() if d.name in names]
    keys = {unit: tagged(name, [__version__, duckdb.__version__, *sql, digest]) for unit, digest in made_of.items()}
    shelf = Kept(lake, "sums")
    found = {unit: rows for unit, key in keys.items() if not fresh and (rows := shelf.get(key)) is not None}
    new = sorted(keys.keys() - found.keys(), key=lambda unit: unit[::-1])
    for batch in _batches(new, files["matches"]):
        of_these = {n: _of_units(files[n], batch) for n in files if n in names}
        with prepare(lake.connect(of_these, of_these), names=names) as con:
            rows = con.execute(f"from {name}").to_arrow_table()
        for unit in batch:
            found[unit] = rows.filter(pc.equal(rows["model"], unit[0]))
            shelf.put(keys[unit], found[unit])
    return pa.concat_tables(found.values())


def _batches(units: Iterable[Unit], matches: Sequence[File]) -> Iterator[list[Unit]]:
    """The units in parts whose sums are computed together: of one corpus, so that its texts are looked up once for as
    many rows as memory should hold."""
    rows: Counter[Unit] = Counter()
    for file in matches:
        rows[_unit(file)] += file.rows
    for _, of_corpus in groupby(units, key=lambda unit: unit[1]):
        batch: list[Unit] = []
        for unit in of_corpus:
            if batch and sum(rows[u] for u in [*batch, unit]) > BATCH:
                yield batch
                batch = []
            batch.append(unit)
        yield batch


def _of_units(files: Sequence[File], units: Sequence[Unit]) -> list[File]:
    """Those that may have rows about units of one corpus."""
    models, corpora = {None, *(model for model, _ in units)}, {None, *(corpus for _, corpus in units)}
    return [f for f in files if f.partition.get("model") in models and f.partition.get("corpus") in corpora]
