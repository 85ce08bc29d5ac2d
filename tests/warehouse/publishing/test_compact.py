"""Compaction, merging, removal: the rows stay what they were, whoever reads, writes, forgets or dies meanwhile."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from deltalake import DeltaTable
from typer.testing import CliRunner

import memlake
from memlake.tests.lakes import rows
from memlake.tests.small import CONDITION, DOMAINS, MODEL, N, made_cell, make_lake, match_rows, put_cell
from memlake.warehouse import cli, schema
from memlake.warehouse.errors import BadInput, Conflict, UnknownName
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing import compact as compacting
from memlake.warehouse.publishing import vacuum as vacuuming
from memlake.warehouse.publishing.check import check
from memlake.warehouse.publishing.compact import Compacted, compact, layout, merge_small, offer
from memlake.warehouse.publishing.forget import forget
from memlake.warehouse.publishing.publish import MANIFEST, commit
from memlake.warehouse.publishing.register import register
from memlake.warehouse.publishing.stage import Staging, encodings
from memlake.warehouse.publishing.vacuum import vacuum
from memlake.warehouse.relation import NO_VALUE, File
from memlake.warehouse.show.terminal import finish
from memlake.warehouse.work.runner import Summary, recover

MB = 1 << 20
NAMES = ("c++", "a=b", "Wikipedia (en)", "50%25", "x/y", "[1-9]*?", NO_VALUE, "ü", "'q'", "\x85\u2028", None)
TABLES = ("documents", "matches", "layer_tokens", "cells", "rejects")


def bits(value: Any) -> Any:
    """A value such that two are equal only where every bit is: 0.0 is not -0.0, and NaN is itself."""
    if isinstance(value, float):
        return struct.pack("<d", value)
    return tuple(map(bits, value)) if isinstance(value, list) else value


def held(lake: Lake, name: str) -> Counter[tuple[Any, ...]]:
    """The published rows of a table, by what delta-rs lists and pyarrow reads."""
    actions = pa.table(DeltaTable(str(lake.path / name)).get_add_actions(flatten=True)).to_pylist()
    spec = schema.table(name)
    found: Counter[tuple[Any, ...]] = Counter()
    for action in actions:
        part = {k: action[f"partition.{k}"] for k in spec.partition}
        read = pq.ParquetFile(lake.path / name / unquote(action["path"])).read().to_pylist()
        assert action["num_records"] == len(read)
        found.update(tuple(bits((row | part)[c]) for c in spec.schema.names) for row in read)
    return found


def log(lake: Lake, name: str, kind: str) -> list[dict[str, Any]]:
    entries = sorted((lake.path / name / "_delta_log").glob("*.json"))
    actions = (json.loads(line) for entry in entries for line in entry.read_text().split("\n") if line)
    return [action[kind] for action in actions if kind in action]


def some(rng: np.random.Generator, kind: pa.DataType) -> Any:
    """A value of a column, or none."""
    if rng.random() < 0.1:
        return None
    if pa.types.is_list(kind):
        return [some(rng, kind.value_type) for _ in range(rng.integers(0, 4))]
    if pa.types.is_floating(kind):
        value = rng.choice([0.0, -0.0, np.nan, np.inf, -np.inf, 5e-324, rng.normal()])
        return float(np.float32(value) if kind == pa.float32() else value)
    if pa.types.is_boolean(kind):
        return bool(rng.integers(0, 2))
    if pa.types.is_timestamp(kind):
        return int(rng.integers(0, 1 << 50))
    if pa.types.is_integer(kind):
        return int(rng.integers(-50, 1 << 30))
    text = "".join(rng.choice(list("ab\0é😀'\n"), rng.integers(0, 6)))
    return text.encode() if pa.types.is_binary(kind) else text


def put(lake: Lake, name: str, cell: str, given: pa.Table) -> None:
    """Commit rows that nobody judges."""
    with Staging(lake.staging / "put", cell, f"run-{len(given)}") as stage:
        stage.write(name, given)
    commit(lake, lake.staging / "put", name, {cell: [(lake.staging / "put", file) for file in stage.files]})


def cell_id(i: int) -> str:
    return f"c1-{i:032x}"


@pytest.fixture(scope="module")
def random_lake(tmp_path_factory) -> Callable[[int], Lake]:
    def make(seed: int) -> Lake:
        rng = np.random.default_rng(seed)
        lake = Lake.create(tmp_path_factory.mktemp("random") / "lake")
        for name in TABLES:
            spec = schema.table(name)
            names = rng.choice(np.array(NAMES, object), 3, replace=False)
            for i in range(6):
                n = int(rng.integers(1, 40))
                columns = {
                    f.name: pa.array(
                        rng.choice(names, n).tolist()
                        if f.name == spec.partition[-1]
                        else ["same"] * n
                        if f.name in spec.partition
                        else [some(rng, f.type) for _ in range(n)],
                        f.type,
                    )
                    for f in spec.schema
                    if f.name != "cell"
                }
                put(lake, name, cell_id(i), pa.table(columns))
        return lake

    return make


@pytest.mark.parametrize("seed", range(3))
def test_compaction_keeps_every_bit_of_every_row(random_lake, seed):
    lake = random_lake(seed)
    before = {name: held(lake, name) for name in TABLES}
    files = {name: lake.snapshot(name) for name in TABLES}
    versions = {name: lake.version(name) for name in TABLES}
    done = list(compact(lake, TABLES))
    assert not any(d.why for d in done)
    for name in TABLES:
        spec = schema.table(name)
        assert held(lake, name) == before[name]
        partitions = defaultdict(list)
        for file in files[name]:
            partitions[tuple(file.partition.items())].append(file)
        split = [part for part in partitions.values() if len(part) > 1]
        assert lake.version(name) == versions[name] + len(split), "a commit a partition"
        assert len(lake.snapshot(name)) == len(partitions)
        removed = log(lake, name, "remove")
        assert {r["path"] for r in removed} <= {a["path"] for a in log(lake, name, "add")}
        assert not any(r["dataChange"] for r in removed) and len(removed) == sum(map(len, split))
        for file in lake.snapshot(name):
            if "merged-" not in file.path:
                continue
            read = pq.ParquetFile(file.path)
            assert read.metadata.num_rows == file.rows and read.schema_arrow.names == [
                c for c in spec.schema.names if c not in spec.partition
            ]
            if spec.sort:
                keys = read.read().select(spec.sort)
                assert keys.equals(keys.sort_by([(c, "ascending") for c in spec.sort]))
            chosen = encodings(read.schema_arrow)
            for i in range(read.metadata.num_columns):
                column = read.metadata.row_group(0).column(i)
                assert column.compression == "ZSTD"
                split_bytes = "BYTE_STREAM_SPLIT" in column.encodings
                assert split_bytes == (column.path_in_schema in chosen["use_byte_stream_split"])
    assert not list(compact(lake, TABLES)), "nothing is left to do"


def test_a_damaged_or_short_file_is_told_of_and_the_others_go_on(random_lake, monkeypatch):
    lake = random_lake(7)
    gone, short = (next(f for f in lake.snapshot(name) if f.partition) for name in ("documents", "cells"))
    os.unlink(gone.path)
    pq.write_table(pq.ParquetFile(short.path).read().slice(1), short.path)
    for entry in (lake.path / "rejects" / "_delta_log").iterdir():
        entry.write_text("{not json")
    before = held(lake, "matches")
    done = list(compact(Lake.open(lake.path), TABLES))
    told = {d.table: d for d in done if d.damaged}
    assert set(told) == {"documents", "cells", "rejects"} and held(lake, "matches") == before
    assert "No files found" in told["documents"].why and "the log says" in told["cells"].why
    assert [layout(lake, "matches").small, layout(lake, "layer_tokens").small] == [0, 0]
    assert sum(f.path == gone.path for f in lake.snapshot("documents")) == 1
    assert not list(lake.path.rglob("staging/compact/*"))

    result = CliRunner().invoke(wrapped(), ["compact", "cells", "--lake", str(lake.path)])
    assert result.exit_code == 2 and "the log says" in result.stderr and result.stderr.count("\n") == 1


def test_a_full_disk_loses_nothing(random_lake, monkeypatch):
    lake = random_lake(8)
    before = held(lake, "matches")
    real = compacting.writer

    def full(path: Path, columns: pa.Schema) -> pq.ParquetWriter:
        writer = real(path, columns)

        def fail(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

        writer.write_table = fail
        return writer

    monkeypatch.setattr(compacting, "writer", full)
    done = list(compact(lake, ["matches"]))
    assert done and all("No space left" in d.why and d.damaged for d in done)
    assert held(lake, "matches") == before and not (lake.staging / "compact").exists()


def sized(*sizes: float) -> list[File]:
    return [File(f"{i}", {}, 1, int(size * MB)) for i, size in enumerate(sizes)]


@pytest.mark.parametrize("seed", range(20))
def test_which_files_become_one(seed):
    rng = np.random.default_rng(seed)
    top = (1, 20, 63, 80, 400)[seed % 5]
    files = sized(*rng.uniform(0, top, rng.integers(0, 60)))
    groups = compacting._groups(files)
    merged = [f for group in groups for f in group]
    assert len(merged) == len({f.path for f in merged}) and all(f.size < 64 * MB for f in merged)
    sizes = [sum(f.size for f in group) for group in groups]
    sizes += [f.size for f in files if f not in merged]
    assert sum(size < 64 * MB for size in sizes) <= 1
    assert all(len(group) > 1 and sum(f.size for f in group) < 256 * MB for group in groups)


def test_tiny_files_become_one_though_their_footers_are_larger_than_their_rows(monkeypatch, tmp_path):
    """Groups by the sizes before make small files; these become one in the same commit."""
    lake = Lake.create(tmp_path / "lake")
    for i in range(30):
        put(lake, "cells", cell_id(i), pa.table({"experiment": ["e"], "rows": [i]}))
    size = lake.snapshot("cells")[0].size
    monkeypatch.setattr(compacting, "SMALL", 5 * size)
    monkeypatch.setattr(compacting, "FULL", 10 * size)
    version, before = lake.version("cells"), held(lake, "cells")
    (done,) = compact(lake, ["cells"])
    assert len(done.old) == 30 and len(done.new) == 1 and lake.version("cells") == version + 1
    assert held(lake, "cells") == before and len(lake.files("cells")) == 1
    assert [p.name for p in lake.staging.iterdir() if p.is_dir() and p.name != "put"] == []


# A lake as it is: judged rows, two domains, four cells each.


def part(domain: str, k: int):
    said = {"model": "m", "corpus": "mine", "domain": domain, "condition": "float32 sdpa", "part": k}
    return made_cell("small_scoring", said, "matches")


def publish_part(lake: Lake, domain: str, k: int) -> None:
    assert put_cell(lake, part(domain, k), {"matches": match_rows(domain)[k * 10 : (k + 1) * 10]}) is None


@pytest.fixture
def lake(tmp_path) -> Lake:
    lake = make_lake(tmp_path / "lake")
    for domain in DOMAINS:
        for k in range(4):
            publish_part(lake, domain, k)
    return lake


def of_cells(lake: Lake) -> dict[str, int]:
    return dict(rows(lake, "select cell, count(*) from stored.matches group by all"))


def test_forget_and_publish_again_after_compaction(lake):
    before = held(lake, "matches")
    list(compact(lake, schema.names()))
    assert len(lake.files("matches")) == 2 and held(lake, "matches") == before
    assert list(check(lake)) == []
    with pytest.raises(Conflict, match="cells stand on it"):  # of merged files, too, it is known which
        forget(lake, cell=ingest_cell_id(lake, "c++"))
    gone = part("c++", 1).id
    assert forget(lake, cell=gone) == [gone]
    place = schema.table("matches").schema.names.index("cell")
    assert held(lake, "matches") == Counter(dict(x for x in before.items() if x[0][place] != gone))
    assert list(check(lake)) == [] and not lake.log("matches").holds(gone)
    with pytest.raises(UnknownName):
        forget(lake, cell=gone)
    publish_part(lake, "c++", 1)
    assert held(lake, "matches") == before and list(check(lake)) == []
    list(compact(lake, ["matches"]))
    assert held(lake, "matches") == before and len(lake.files("matches")) == 2 and list(check(lake)) == []
    assert forget(lake, cell=part("c++", 2).id, with_dependents=True) == [part("c++", 2).id]
    assert sum(of_cells(lake).values()) == 2 * N - 10
    assert len(forget(lake, model="m")) == 7 and held(lake, "matches") == Counter()
    assert list(check(lake)) == []


def ingest_cell_id(lake: Lake, domain: str) -> str:
    ((cell,),) = rows(lake, f"select distinct cell from stored.documents where domain = '{domain}'")
    return cell


def test_files_that_a_deletion_rewrote_are_merged_with_others(lake, monkeypatch, capsys):
    list(compact(lake, ["matches"]))
    for domain in DOMAINS:
        forget(lake, cell=part(domain, 0).id)
        publish_part(lake, domain, 0)
    monkeypatch.setattr(compacting, "ALIKE", 2)
    monkeypatch.setattr(compacting, "_tier", lambda n: 0)
    before, files = held(lake, "matches"), len(lake.files("matches"))
    assert merge_small(lake, "matches") == files - len(DOMAINS) > 0
    assert held(lake, "matches") == before and not capsys.readouterr().err
    assert not list(check(lake))


def test_a_leftover_that_cannot_be_removed_stops_no_run(lake, monkeypatch):
    (lake.staging / "compact").mkdir()
    monkeypatch.setattr(shutil, "rmtree", lambda *args, **options: None)
    recover(lake)
    assert (lake.staging / "compact").is_dir()
    assert sum(len(done.old) for done in compact(lake, ["matches"])) == len(DOMAINS) * 4


def test_check_judges_the_cells_of_a_merged_file(lake):
    """Rows that a cell may not have: in a merged file they stand beside those of others."""
    (wrong,) = (f for f in lake.snapshot("matches") if f.cell == part("c++", 1).id)
    spoiled = pq.ParquetFile(wrong.path).read()
    at = spoiled.schema.get_field_index("condition")
    spoiled = spoiled.set_column(at, "condition", pa.array(["float16 sdpa"] * len(spoiled)))
    with compacting.writer(Path(wrong.path), spoiled.schema) as out:
        out.write_table(spoiled)
    list(compact(lake, ["matches"]))
    found = {(f.where, f.what.partition(":")[0]) for f in check(lake)}
    cell = f"cell {part('c++', 1).id}"
    assert (cell, "rows stand on nothing") in found
    assert not any(other.id in where for k in (0, 2, 3) for other in [part("c++", k)] for where, _ in found)


def test_a_reader_keeps_its_answer_until_the_retention_ends(lake):
    asked = "select domain, count(*) as n, sum(n_match) as s from matches_all group by all order by all"
    only = {"condition": CONDITION["condition"]}
    opened = memlake.open(lake.path)
    before, dask = opened.sql(asked).to_pandas(), opened.dask("matches").compute()
    narrow = memlake.open(lake.path, **only).sql(asked).to_pandas()
    old = lake.snapshot("matches")
    list(compact(lake, schema.names()))
    for name in schema.names():
        vacuum(lake, name, 7)
    assert opened.sql(asked).to_pandas().equals(before) and opened.dask("matches").compute().equals(dask)
    newer = memlake.open(lake.path)
    assert newer.sql(asked).to_pandas().equals(before)
    assert memlake.open(lake.path, **only).sql(asked).to_pandas().equals(narrow)
    frame = newer.dask("matches")
    assert frame.npartitions == 2
    key = ["domain", "sequence_id"]
    assert frame.compute().sort_values(key, ignore_index=True).equals(dask.sort_values(key, ignore_index=True))

    removed = {name: vacuum(lake, name, 0) for name in schema.names()}
    assert removed["matches"].files == 8 and removed["matches"].size == sum(f.size for f in old)
    assert not any(os.path.exists(f.path) for f in old)
    assert memlake.open(lake.path).sql(asked).to_pandas().equals(before)


def test_vacuum_keeps_what_is_needed_and_the_transactions(lake, monkeypatch):
    root = lake.path / "matches"
    young, stale = root / "young.parquet", root / "model=m" / "stale.parquet"
    for path in (young, stale):
        path.write_bytes(b"left by a kill between the move and the commit")
    staged = lake.staging / "run-dead" / "c"
    staged.mkdir(parents=True)
    waiting = root / "model=m" / "waiting.parquet"
    waiting.write_bytes(b"of a cell whose publication was killed")
    file = {"table": "matches", "path": "matches/model=m/waiting.parquet", "partition": {}, "rows": 1}
    attempt = {"cell": "c", "experiment": "e", "version": 1, "settings": {}, "tables": ["matches"], "expected": {}}
    (staged / MANIFEST).write_text(json.dumps(attempt | {"files": [file]}))
    old = Lake.open(lake.path)
    old.delta("matches")  # a handle of a version whose log entries will be gone
    versions = len(list((root / "_delta_log").glob("*.json")))
    list(compact(lake, ["matches"]))

    real = time.time()
    monkeypatch.setattr(vacuuming.time, "time", lambda: real + vacuuming.GRACE / 2)
    assert vacuum(lake, "matches", 1).files == 0
    assert vacuum(lake, "matches", 0).files == 8 and stale.exists()
    monkeypatch.setattr(vacuuming.time, "time", lambda: real + 2 * vacuuming.GRACE)
    assert vacuum(lake, "matches", 0).files == 2 and waiting.exists() and not stale.exists() and not young.exists()

    assert len(list((root / "_delta_log").glob("*.json"))) == 1 < versions
    for known in (old, Lake.open(lake.path)):
        assert all(known.log("matches").holds(part(d, k).id) for d in DOMAINS for k in range(4))
    assert len(DeltaTable(str(root)).history()) == 1
    forget(lake, cell=part("c++", 0).id)
    publish_part(lake, "c++", 0)
    shutil.rmtree(staged.parent)
    assert list(check(lake)) == []


def test_the_log_is_kept_for_the_days_that_are_asked_for(lake):
    """Versions 0 to 4 are ten days old and 4 is read on the oldest day; 3 has a checkpoint: 3 and later stay."""
    log_of = lake.path / "matches" / "_delta_log"
    delta = DeltaTable(str(lake.path / "matches"), version=3)
    delta.create_checkpoint()
    for entry in log_of.glob("*.json"):
        if int(entry.stem) <= 4:
            at = time.time() - 10 * vacuuming.DAY
            os.utime(entry, (at, at))
    assert vacuum(lake, "matches", 30).entries == 0
    assert vacuum(lake, "matches", 7).entries == 3
    assert sorted(int(p.stem) for p in log_of.glob("*.json")) == list(range(3, lake.version("matches") + 1))
    for version in range(3, lake.version("matches") + 1):
        assert DeltaTable(str(lake.path / "matches"), version=version).version() == version


def test_a_partition_that_changed_meanwhile_is_left(lake, monkeypatch):
    real, gone = compacting._merge, part("c++", 1).id

    def meanwhile(con, name, files, folder):
        merged = real(con, name, files, folder)
        if files[0].partition["domain"] == "c++" and lake.log("matches").holds(gone):
            forget(Lake.open(lake.path), cell=gone)
        return merged

    monkeypatch.setattr(compacting, "_merge", meanwhile)
    done = {d.partition.rpartition("=")[2]: d for d in compact(lake, ["matches"])}
    assert done["c%2B%2B"].why.startswith("changed meanwhile") and not done["c%2B%2B"].damaged
    assert not done["Wikipedia%20%28en%29"].why
    assert len(of_cells(lake)) == 7 and gone not in of_cells(lake) and list(check(lake)) == []
    assert len(list((lake.path / "matches").rglob("merged-*"))) == 1
    assert not [d for d in compact(lake, ["matches"]) if d.why] and sum(of_cells(lake).values()) == 2 * N - 10


def test_a_delete_and_an_update_see_that_a_compaction_was_faster(lake, monkeypatch):
    """delta-rs does not: both would put the rows that they leave back beside the merged ones."""
    before = held(lake, "matches")

    def after_a_compaction(operation: Callable[..., Any]) -> Callable[..., Any]:
        def late(delta: DeltaTable, *args: Any, **kwargs: Any) -> Any:
            list(compact(Lake.open(lake.path), names))
            return operation(delta, *args, **kwargs)

        return late

    names = ["matches"]
    monkeypatch.setattr(DeltaTable, "delete", after_a_compaction(DeltaTable.delete))
    gone = part("c++", 3).id
    lake.retract("matches", [gone], lambda _: f"cell = '{gone}'")
    place = schema.table("matches").schema.names.index("cell")
    assert held(lake, "matches") == Counter(dict(x for x in before.items() if x[0][place] != gone))

    names = ["models"]
    register(lake, "models", [MODEL | {"model": "other"}])
    monkeypatch.setattr(DeltaTable, "update", after_a_compaction(DeltaTable.update))
    lake.amend("models", {"model": "other", "n_params": 7})
    assert rows(lake, "select model, n_params from stored.models order by 1") == [("m", 1000), ("other", 7)]


def test_two_compactions_do_not_work_at_once(lake):
    under_way = compact(lake, ["matches"])
    next(under_way)
    with pytest.raises(Conflict, match="another compaction is at work"):
        list(compact(lake, ["matches"]))
    assert len([*under_way]) == 1


WRITER = """
import sys
from memlake.tests.warehouse.publishing.test_compact import publish_part, part
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.forget import forget
lake = Lake.open(sys.argv[1])
for turn in range(3):
    for k in range(4):
        forget(lake, cell=part("c++", k).id)
        publish_part(lake, "c++", k)
"""
KILLED = """
import os, signal, sys
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing import compact, vacuum
lake, step = Lake.open(sys.argv[1]), sys.argv[2]
module, name, when = {
    "sorted": (compact, "_merge", "after"),
    "unmoved": (compact, "_put", "before"),
    "moved": (Lake, "replace", "before"),
    "committed": (Lake, "replace", "after"),
    "removing": (vacuum.os, "unlink", "after"),
}[step]
real = getattr(module, name)
def dies(*args, **kwargs):
    if when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    found = real(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(module, name, dies)
list(compact.compact(lake, ["matches"]))
vacuum.vacuum(lake, "matches", 0)
"""


def test_what_a_killed_compaction_leaves_is_removed_by_the_next_run_and_of_one_at_work_nothing(lake):
    assert start(KILLED, lake.path, "sorted").wait() == -signal.SIGKILL
    assert any((lake.staging / "compact").rglob("*.parquet"))
    recover(lake)
    assert not (lake.staging / "compact").exists()
    under_way = compact(lake, ["matches"])
    next(under_way)
    recover(lake)
    assert (lake.staging / "compact").exists() and not [d for d in under_way if d.why]
    (lake.staging / "merge-0123456789ab").mkdir()  # of `merge_small`
    recover(lake)
    assert not [p for p in lake.staging.iterdir() if p.is_dir()]


def start(script: str, *words: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", script, *map(str, words)], env=os.environ | {"PYTHONPATH": above()})


def above() -> str:
    """The folder above the package."""
    return os.pathsep.join(filter(None, (str(Path(memlake.__file__).parents[1]), os.environ.get("PYTHONPATH"))))


def test_beside_a_writer_in_another_process(lake):
    before = held(lake, "matches")
    writer = start(WRITER, lake.path)
    turns = 0
    while writer.poll() is None:
        told = list(compact(lake, ["matches", "cells", "checks"]))
        assert not [d for d in told if d.damaged]
        turns += 1
    assert writer.returncode == 0 and turns > 1
    assert held(lake, "matches") == before and list(check(lake)) == []


@pytest.mark.parametrize("step", ["sorted", "unmoved", "moved", "committed", "removing"])
def test_a_kill_at_any_step_loses_and_doubles_nothing(lake, step, monkeypatch):
    before = held(lake, "matches")
    assert start(KILLED, lake.path, step).wait() == -signal.SIGKILL
    assert held(lake, "matches") == before and list(check(lake)) == []
    assert not [d for d in compact(lake, ["matches"]) if d.why]
    assert held(lake, "matches") == before and len(lake.files("matches")) == 2
    assert not (lake.staging / "compact").exists()
    monkeypatch.setattr(vacuuming, "GRACE", 0)
    vacuum(lake, "matches", 0)
    assert {str(p) for p in (lake.path / "matches").rglob("*.parquet") if "_delta_log" not in p.parts} == {
        *lake.files("matches")
    }
    assert held(lake, "matches") == before and list(check(lake)) == []


def test_tiny_files_are_merged_by_themselves_and_each_row_a_few_times(tmp_path, monkeypatch):
    """Four of a tier become one: of 300 cells of one row (four to the fifth is 1,024) at most three of each of five
    tiers are left, and no row is rewritten more than four times."""
    monkeypatch.setattr(compacting, "ALIKE", 4)
    lake = Lake.create(tmp_path / "lake")
    rewritten: Counter[str] = Counter()
    real = compacting.merge

    def counted(name, files, path):
        for file in files:
            rewritten.update(pq.read_table(file.path, partitioning=None)["cell"].to_pylist())
        return real(name, files, path)

    monkeypatch.setattr(compacting, "merge", counted)
    for i in range(300):
        put(lake, "cells", cell_id(i), pa.table({"experiment": ["e"], "rows": [i]}))
        with lake.publishing():
            merge_small(lake, "cells")
        assert len(lake.files("cells")) <= 3 * 5
    assert sorted(rows(lake, "select rows from stored.cells")) == [(i,) for i in range(300)]
    assert max(rewritten.values()) <= 4
    assert all(lake.log("cells").holds(cell_id(i)) for i in range(300))


def test_a_merge_takes_all_partitions_in_one_commit_and_leaves_larger_files(tmp_path, monkeypatch):
    lake = Lake.create(tmp_path / "lake")
    for i in range(compacting.ALIKE - 1):
        put(lake, "cells", cell_id(i), pa.table({"experiment": ["e", "a=b"], "rows": [i, -i]}))
    with monkeypatch.context() as patched:
        patched.setattr(compacting, "merge", None)  # nothing to do: no file is opened
        assert merge_small(lake, "cells") == merge_small(lake, "checks") == 0
    put(lake, "cells", cell_id(99), pa.table({"experiment": ["e", "a=b"], "rows": [99, -99]}))
    version, before = lake.version("cells"), held(lake, "cells")
    assert merge_small(lake, "cells") == 2 * (compacting.ALIKE - 1)
    assert lake.version("cells") == version + 1 and held(lake, "cells") == before and len(lake.files("cells")) == 2
    assert not list(lake.staging.glob("merge*"))


def test_a_merge_that_cannot_be_is_no_matter_of_the_publication(tmp_path, capsys):
    """It is said once, and neither hinders other partitions nor those files that come later."""
    lake, n = Lake.create(tmp_path / "lake"), compacting.ALIKE
    for i in range(n):
        put(lake, "cells", cell_id(i), pa.table({"experiment": ["e", "whole"], "rows": [i, -i]}))
    gone = next(f.path for f in lake.snapshot("cells") if f.partition == {"experiment": "e"})
    os.unlink(gone)
    assert merge_small(lake, "cells") == n - 1 and len(lake.files("cells")) == n + 1
    told = capsys.readouterr().err
    assert told.startswith(f"{n} small files of cells not merged: ") and gone in told and told.count("\n") == 1
    version = lake.version("cells")
    for i in range(n, 2 * n):
        assert merge_small(lake, "cells") == 0
        put(lake, "cells", cell_id(i), pa.table({"experiment": ["e"], "rows": [i]}))
    assert lake.version("cells") == version + n and capsys.readouterr().err == ""
    assert merge_small(lake, "cells") == n - 1 and len(lake.files("cells")) == n + 2
    assert merge_small(Lake.open(lake.path), "cells") == 0  # another process says it anew
    assert gone in capsys.readouterr().err
    (tried,) = compact(lake, ["cells"])
    assert isinstance(tried, Compacted) and tried.damaged


def wrapped() -> typer.Typer:
    app = typer.Typer()
    app.add_typer(cli.app)
    return app


def test_what_the_commands_say(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(compacting, "WORTH", 32)
    lake = Lake.create(tmp_path / "lake")
    for i in range(40):
        put(lake, "cells", cell_id(i), pa.table({"experiment": ["e"], "rows": [i]}))
    found = layout(lake, "cells")
    assert (found.files, found.small, found.compacted, found.pays) == (40, 39, 1, True)
    offered = "`memlake warehouse compact` would make 1 file of 40"
    assert offer([found]) == offered
    finish(Summary(done=["c"]), "ingest x", lake)
    finish(Summary(skipped=1), "ingest x", lake)
    assert capsys.readouterr().err.splitlines() == [
        "ingest x: 1 done, 0 done before, 0 failed",
        offered,
        "ingest x: 0 done, 1 done before, 0 failed",
    ]

    def run(*words: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(wrapped(), [*words, "--lake", str(lake.path)])
        return result.exit_code, result.stdout, result.stderr

    code, _, told = run("status")
    assert code == 0 and "cells: 40 files, " in told and ", 39 of them small" in told and offered in told
    size = sum(f.size for f in lake.snapshot("cells"))
    code, said, told = run("compact", "--vacuum")
    after = lake.snapshot("cells")[0].size
    assert (code, told) == (0, "")
    assert said.splitlines() == [
        f"cells: 40 files ({size / 1e3:,.1f} kB) became 1 file ({after / 1e3:,.1f} kB)",
        "removed 0 files (0.0 kB) and 0 log entries",
    ]
    _, _, told = run("status")
    assert f"{size / 1e3:,.1f} kB lie in files of older snapshots only" in told and "small" not in told
    code, said, _ = run("compact", "--vacuum", "--keep-days", "0")
    assert code == 0 and said.splitlines() == [
        "nothing to compact",
        f"removed 40 files ({size / 1e3:,.1f} kB) and 43 log entries",
    ]
    assert run("status")[2] == ""
    with pytest.raises(BadInput, match="--keep-days says what --vacuum keeps"):
        CliRunner().invoke(wrapped(), ["compact", "--keep-days", "1"], catch_exceptions=False)
