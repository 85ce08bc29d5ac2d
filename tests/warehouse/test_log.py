"""A table's log as memlake reads it, beside delta-rs on the same log."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.transaction import AddAction

from memlake.warehouse.errors import BadInput, DamagedLake
from memlake.warehouse.lake import Lake
from memlake.warehouse.log import Log
from memlake.warehouse.schema import table

DOMAINS = ("c++ %2", "Wikipedia (en)", "a/b'=", "two\x85lines\u2028\x0bof\rmany")


def action(i: int) -> AddAction:
    domain = DOMAINS[i % len(DOMAINS)]
    stats = {"numRecords": i + 1, "minValues": {"document_id": i}, "maxValues": {"document_id": 2**62 + i}}
    values = {"corpus": "mine", "domain": domain}
    return AddAction(f"corpus=mine/domain=%25{i}/{i}.parquet", 10 + i, values, 1, True, json.dumps(stats))


def agree(log: Log, root: Path) -> None:
    """Both tell the same files and units of work."""
    delta = DeltaTable(root)
    log.update()
    assert log.version == delta.version()
    rows = pa.RecordBatchReader.from_stream(delta.get_add_actions(flatten=True)).read_all().to_pylist()
    assert {(f.path, f.rows, f.size, f.partition["domain"], f.bounds["document_id"]) for f in log.files()} == {
        (
            str(root / unquote(r["path"])),
            r["num_records"],
            r["size_bytes"],
            r["partition.domain"],
            (r["min.document_id"], r["max.document_id"]),
        )
        for r in rows
    }
    for name, count in log.transactions.items():
        assert delta.transaction_version(name) == count
    assert log.columns == {f.name for f in delta.schema().fields}
    assert {tuple(f.partition) for f in log.files()} == {table("documents").partition}
    places = [{"corpus": "mine", "domain": d} for d in DOMAINS]
    assert sorted(f.path for f in log.beside(places)) == [f.path for f in log.files()]


def commit(root: Path, i: int) -> None:
    spec = table("documents")
    DeltaTable(root).create_write_transaction(
        [action(i)],
        mode="append",
        schema=Schema.from_arrow(spec.schema),
        partition_by=list(spec.partition),
        commit_properties=CommitProperties(app_transactions=[Transaction(f"cell {i}", 1), Transaction("all", i)]),
    )


def test_the_log_is_that_of_delta_rs(tmp_path):
    """With checkpoints, deletes, and earlier entries cleaned away."""
    root = Lake.create(tmp_path / "lake").path / "documents"
    early, log = Log(root), Log(root)
    early.update()
    for i in range(45):
        commit(root, i)
        if i % 3:
            log.update()
            assert log.holds(f"cell {i}") and not log.holds(f"cell {i + 1}")
        if i in (7, 25):
            DeltaTable(root).delete(f"domain = '{DOMAINS[0].replace(chr(39), 2 * chr(39))}'")
        if i in (12, 30):
            DeltaTable(root).create_checkpoint()
    agree(log, root)
    agree(Log(root), root)  # by way of the checkpoint
    assert len(log.files()) < 45
    for entry in sorted((root / "_delta_log").glob("*.json"))[:25]:
        entry.unlink()
    agree(early, root)  # what it had read no further than is gone
    (root / "_delta_log" / "_last_checkpoint").unlink()
    agree(Log(root), root)


def test_the_log_of_the_past_is_that_of_delta_rs(tmp_path):
    root = Lake.create(tmp_path / "lake").path / "documents"
    for i in range(45):
        commit(root, i)
        if i in (7, 25):
            DeltaTable(root).delete(f"domain = '{DOMAINS[0].replace(chr(39), 2 * chr(39))}'")
    last = DeltaTable(root).version()
    times = {h["version"]: h["timestamp"] for h in DeltaTable(root).history()}
    for version in range(last + 1):
        log, delta = Log.at(root, version), DeltaTable(root, version=version)
        assert {f.path for f in log.files()} == {str(root / unquote(path)) for path in uris(delta)}
        when = log.committed(version)
        assert round(when.timestamp() * 1000) == times[version]
        assert log.version_at(when) == max(v for v, t in times.items() if t <= times[version])
        assert log.version_at(when - timedelta(days=1)) == -1
    with pytest.raises(ValueError, match=f"lacks entry {last + 1}"):
        Log.at(root, last + 1)


def uris(delta: DeltaTable) -> list[str]:
    rows = pa.RecordBatchReader.from_stream(delta.get_add_actions(flatten=True)).read_all().to_pylist()
    return [row["path"] for row in rows]


def test_the_past_needs_its_files(tmp_path):
    lake = Lake.create(tmp_path / "lake")
    lake.commit("documents", ["a"], lambda _: [action(1)])
    before, now = lake.version("cells"), lake.snapshots(["documents", "cells"])
    with pytest.raises(BadInput, match="1 of 1 files of table documents of then are no longer there"):
        lake.past(["documents", "cells"], datetime.now(UTC))
    (path,) = (f.path for f in now.files["documents"])
    Path(path).parent.mkdir(parents=True)
    Path(path).touch()
    assert lake.past(["documents", "cells"], datetime.now(UTC)) == now
    assert lake.past(["documents", "cells"], before).files["documents"] == []  # they came after the last of `cells`
    with pytest.raises(BadInput, match="has no version 1: its last is 0"):
        lake.past(["cells"], before + 1)
    with pytest.raises(BadInput, match="is not that old"):
        lake.past(["cells"], datetime(2001, 1, 1, tzinfo=UTC))


def test_a_log_that_was_cleaned_is_not_taken_for_a_younger_table(tmp_path):
    lake = Lake.create(tmp_path / "lake")
    root = lake.path / "documents"
    commit(root, 1)
    then = lake.log("documents").committed(1)
    for i in range(2, 10):
        commit(root, i)
    DeltaTable(root).create_checkpoint()
    for entry in sorted((root / "_delta_log").glob("*.json"))[:5]:
        entry.unlink()
    with pytest.raises(BadInput, match=r"table documents of then cannot be read \(its log does not reach back to then"):
        Lake.open(lake.path).past(["documents"], then)


def test_of_two_writers_the_second_looks_again(tmp_path):
    """Both look before either commits: the second is refused, and finds what the first has done."""
    first = Lake.create(tmp_path / "lake")
    second = Lake.open(first.path)
    seen = []

    def add(missing: list[str]) -> list[AddAction]:
        seen.append(missing)
        if len(seen) == 1:
            assert first.commit("documents", ["a", "b"], lambda _: [action(1)]) == ["a", "b"]
        return [action(2)]

    assert second.commit("documents", ["b", "c"], add) == ["c"]
    assert seen == [["b", "c"], ["c"]]
    assert sorted(f.rows for f in second.snapshot("documents")) == [2, 3]
    agree(second.log("documents"), first.path / "documents")


def test_what_of_a_log_is_missing_is_not_taken_for_an_empty_table(tmp_path):
    lake = Lake.create(tmp_path / "lake")
    root = lake.path / "documents"
    entries = root / "_delta_log"
    for i in range(25):
        commit(root, i)
    DeltaTable(root).create_checkpoint()
    (entries / "_last_checkpoint").write_text("{")
    agree(Log(root), root)
    for part in entries.glob("*.checkpoint.parquet"):
        part.unlink()
    found = Log(root)
    found.update()
    assert found.version == 25 and len(found.files()) == 25  # by the entries
    (entries / f"{7:020}.json").unlink()
    with pytest.raises(DamagedLake, match=r"table documents of .* lacks entry 7"):
        Lake.open(lake.path).log("documents")
    (entries / f"{0:020}.json").unlink()
    with pytest.raises(DamagedLake, match=r"table documents of .* holds no entry 0"):
        Lake.open(lake.path).log("documents")


def test_a_table_of_a_newer_protocol_is_not_written(tmp_path):
    lake = Lake.create(tmp_path / "lake")
    entries = lake.path / "documents" / "_delta_log"
    newer = {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": [], "writerFeatures": []}}
    (entries / f"{1:020}.json").write_text(json.dumps(newer) + "\n")
    with pytest.raises(DamagedLake, match=r"table documents of .* follows a newer protocol of Delta"):
        lake.log("documents")


def test_an_older_lake_is_told_how_often_a_checkpoint_is_due(tmp_path):
    lake = Lake.create(tmp_path / "lake")
    lake.delta("documents").alter.set_table_properties({"delta.checkpointInterval": "100"})
    for i in range(45):
        assert lake.commit("documents", [f"cell {i}"], lambda missing, i=i: [action(i)]) == [f"cell {i}"]
    assert lake.delta("documents").metadata().configuration["delta.checkpointInterval"] == "20"
    checkpoints = (lake.path / "documents" / "_delta_log").glob("*.checkpoint.parquet")
    assert sorted(int(p.name[:20]) for p in checkpoints) == [19, 39]
    agree(Lake.open(lake.path).log("documents"), lake.path / "documents")
