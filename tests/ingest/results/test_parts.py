"""A file in parts, beside the same rows at once: what is written, what is known of it, and that nothing is left."""

from __future__ import annotations

import json
import random
from collections import Counter

import pyarrow as pa
import pytest

from memlake.ingest.results import base, parts
from memlake.ingest.results.ids import Span
from memlake.ingest.results.match_vectors import TYPES
from memlake.ingest.results.reading import MatchSettings
from memlake.ingest.run import ingest
from memlake.ingest.source import HEAD, Reject
from memlake.tests.ingest.sources.test_memorized_evals import PUBLISHED, publish, tokens
from memlake.tests.lakes import rows
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.check import check
from memlake.warehouse.work.cells import published

N = 12  # tokens


def cut(monkeypatch, n: int) -> None:
    monkeypatch.setattr(parts, "PART", n)
    monkeypatch.setattr(base, "PART", n)


@pytest.mark.parametrize(("part", "at_once"), [(1, 1), (7, 3), (10, 100), (1000, 4)])
def test_parts_hold_the_rows_in_order(tmp_path, monkeypatch, part, at_once):
    monkeypatch.setattr(parts, "ROWS", at_once)
    monkeypatch.setattr(parts, "REJECTS", 2)
    cut(monkeypatch, part)
    draw = random.Random(part)
    given = [
        {"model": draw.choice("ab"), "corpus": "c", "condition": draw.choice([None, "x"]), "sequence_id": str(i)}
        for i in range(50)
    ]
    refused = {draw.randrange(51): f"reject {i}" for i in range(9)}  # by the row before which it stands

    def records():
        waiting = []
        for i in range(51):
            if i in refused or i == 50 or draw.random() < 0.2:
                table = pa.Table.from_pylist(waiting, parts.SCHEMA)
                yield table, table["sequence_id"].combine_chunks().cast(pa.int64())
                waiting = []
            if i in refused:
                yield Reject("f", i, refused[i], b"x" * 2 * HEAD)
            waiting += given[i : i + 1]

    found = parts.write(tmp_path / "parts", records())
    read = [[row for piece in p.pieces() for row in piece.to_pylist()] for p in found]
    assert [
        [row | dict.fromkeys(TYPES.keys() - row.keys()) for row in given[i : i + part]] for i in range(0, 50, part)
    ] == read
    for p, own in zip(found, read, strict=True):
        assert p.counts == Counter((r["model"], r["condition"], r["corpus"]) for r in own)
        assert p.n_rows() == len(own) and p.n_rows("a") == sum(r["model"] == "a" for r in own)
        assert p.own == Span(int(own[0]["sequence_id"]), int(own[-1]["sequence_id"]))
        some = [row for piece in p.pieces({"model", "sequence_id"}) for row in piece.to_pylist()]
        assert some == [{k: r[k] for k in TYPES if k in ("model", "sequence_id")} for r in own]
    rejects = [(i, r) for i, p in enumerate(found) for t in p.rejects() for r in t.to_pylist()]
    assert [r for _, r in rejects] == [
        {"source": "f", "position": i, "reason": refused[i], "head": b"x" * HEAD} for i in sorted(refused)
    ]
    assert [i for i, _ in rejects] == [max(0, (position - 1) // part) for position in sorted(refused)]


def test_a_file_without_rows_is_one_part(tmp_path):
    (part,) = parts.write(tmp_path / "parts", [Reject("f", 0, "no", b"")])
    assert part.n_rows() == 0 and list(part.pieces()) == [] and [t.num_rows for t in part.rejects()] == [1]


def told(lake: Lake) -> dict[str, list[tuple]]:
    """What is in the lake, but for what says which cell wrote it."""
    return {
        "matches": rows(lake, "select * exclude (cell) from stored.matches order by all"),
        "sequences": rows(lake, "select * exclude (cell, sample, shard, rank) from stored.sequences order by rank"),
        "rejects": rows(lake, "select * exclude (cell) from stored.rejects order by all"),
    }


def result(draw: random.Random, i: int) -> dict:
    bits = [draw.random() < 0.7 for _ in range(N)]
    of = {"model": draw.choice(["pythia-160m", "pythia-1b"]), "corpus": "pile", "domain": "github", "n_tokens": N}
    more = {"match": bits, "prefix_tokens": draw.choice([None, 4]), "score": draw.choice([None, sum(bits) / N])}
    return of | {"sequence_id": f"s{i // 3}" if i % 3 == 2 else i} | more


def test_an_import_in_parts_is_the_import_at_once(tmp_path, monkeypatch):
    draw = random.Random(1)
    folder = tmp_path / "files"
    folder.mkdir()
    taken = set[tuple]()  # a model has a sequence once
    for name, n, shift in (("a.jsonl", 53, 0), ("b.jsonl", 20, 40), ("c.jsonl", 30, 50)):  # some sequences are of two
        found = [result(draw, shift + i) for i in range(n)]
        found = [r for r in found if (key := (r["model"], r["sequence_id"])) not in taken and not taken.add(key)]
        (folder / name).write_text("\n".join(map(json.dumps, found)))
    whole, apart = Lake.create(tmp_path / "whole"), Lake.create(tmp_path / "apart")
    reports = []
    for lake in (whole, apart):
        summary, lines = ingest(lake, "results", {"path": (str(folder),)}, workers=0)
        assert not summary.failed, summary.failed
        reports.append(lines)
        assert [p.name for p in lake.staging.iterdir() if p.name.startswith("import")] == []
        cut(monkeypatch, 10)
    assert reports[0] == reports[1] and told(apart) == told(whole)
    ((sample,),) = rows(whole, "select distinct sample from stored.sequences")
    assert rows(apart, "select distinct sample from stored.sequences") == [(sample,)]  # it is one sample
    ranks = rows(apart, "select rank, shard, cell from stored.sequences order by rank")
    assert len({rank for rank, *_ in ranks}) == len(ranks) and len({cell for *_, cell in ranks}) > 5
    assert all(shard <= rank < shard + 10 for rank, shard, _ in ranks)
    assert len(list(published(apart, "results", MatchSettings))) > len(list(published(whole, "results", MatchSettings)))
    assert list(check(apart)) == []
    for lake in (whole, apart):  # what was imported at once stays one cell
        again, _ = ingest(lake, "results", {"path": (str(folder),)}, workers=0)
        assert not again.done and not again.failed


def test_lists_in_parts(tmp_path, monkeypatch):
    draw = random.Random(2)
    records = [(draw.randrange(60), tokens(i)) for i in range(40)]  # some indexes are there twice
    records[5:5] = [(5, [1, 2]), (None, tokens(1)), (7, [-1, *tokens(2)[1:]])]
    path = publish(tmp_path, PUBLISHED.format("duped.1.4b"), records)
    found = []
    for name in ("whole", "apart"):
        lake = Lake.create(tmp_path / name)
        assert not ingest(lake, "memorized_evals", {"path": (path,)}, workers=0)[0].failed
        found.append(told(lake))
        cut(monkeypatch, 6)
    assert found[0] == found[1] and len(found[0]["rejects"]) > 3


def test_after_a_failure_the_parts_that_are_left_are_imported(tmp_path, monkeypatch, lake):
    records = [
        {"model": "pythia-160m", "corpus": "pile", "domain": "github", "sequence_id": i, "n_tokens": N,
         "match": [(i >> k) & 1 == 1 for k in range(N)]}
        for i in range(35)
    ]  # fmt: skip
    path = tmp_path / "r.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    cut(monkeypatch, 10)
    real, asked = base.ImportSequences.rows, []

    def fails(cell, lake):
        asked.append(cell)
        if len(asked) == 3:
            raise OSError("no space left on device")
        return real(cell, lake)

    monkeypatch.setattr(base.ImportSequences, "rows", fails)
    summary, _ = ingest(lake, "results", {"path": (str(path),)}, workers=0)
    assert (len(summary.done), len(summary.failed)) == (2, 1)
    assert [p.name for p in lake.staging.iterdir() if p.name.startswith("import")] == []
    summary, _ = ingest(lake, "results", {"path": (str(path),)}, workers=0)
    assert (len(summary.done), summary.skipped, summary.failed) == (2 + 4, 2, [])
    assert rows(lake, "select count(*), count(distinct sequence_id) from stored.matches") == [(35, 35)]
    assert rows(lake, "select external_id::int, rank from stored.sequences order by rank") == [
        (i, i) for i in range(35)
    ]
