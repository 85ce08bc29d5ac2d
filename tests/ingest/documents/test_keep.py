"""--keep N: the sample of a corpus beside a plain one (sort all by hash, take N), through kills and lost files."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from memlake.ingest.documents.keep import KNOWN, PublishSample, Sample, keep_stages
from memlake.ingest.run import ingest
from memlake.tests.lakes import rows
from memlake.warehouse.errors import BadInput, Conflict
from memlake.warehouse.identity import hash63
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.check import check
from memlake.warehouse.publishing.forget import forget
from memlake.warehouse.work.spool import Spool

SIZES = {"few": 5, "some": 60, "many": 700}  # documents of each domain in all
N = 20
PROGRAM = """
import sys
from memlake.ingest.run import ingest
from memlake.warehouse.lake import Lake

lake, folder = sys.argv[1:]
ingest(Lake.create(lake), "jsonl", {"path": (folder,), "domain_field": "d"}, corpus="mine", keep=20, workers=2)
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Seven files; the domains are spread unevenly over them, one file is empty of documents."""
    folder = tmp_path_factory.mktemp("corpus")
    draw = random.Random(0)
    records = [
        {"text": f"{domain} {i} {'x' * draw.randrange(200)}", "d": domain}
        for domain, n in SIZES.items()
        for i in range(n)
    ]
    draw.shuffle(records)
    cuts = [0, 3, 50, 300, 310, 500, len(records)]
    for i, (start, end) in enumerate(itertools.pairwise(cuts)):
        (folder / f"{i}.jsonl").write_text("\n".join(map(json.dumps, records[start:end])))
    (folder / "6.jsonl").write_text("{\n")
    return folder


def plain(folder: Path, n: int) -> list[tuple[str, str]]:
    """(domain, text) of the sample as one would write it down: sort all, take the first."""
    found: dict[str, list[tuple[int, str]]] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for position, line in enumerate(path.read_text().splitlines()):
            if line == "{":
                continue
            record = json.loads(line)
            id_ = hash63("mine", path.name, position)
            found.setdefault(record["d"], []).append((hash63("keep", id_), record["text"]))
    return sorted((domain, text) for domain, all_ in found.items() for _, text in sorted(all_)[:n])


def kept(lake: Lake) -> list[tuple[str, str]]:
    return rows(lake, "select domain, text from stored.documents order by all")


def run(lake: Lake, folder: Path, keep: int = N, **more):
    return ingest(lake, "jsonl", {"path": (str(folder),), "domain_field": "d"}, corpus="mine", keep=keep, **more)


def test_the_sample_is_that_of_a_plain_implementation(lake, corpus):
    summary, lines = run(lake, corpus)
    assert len(summary.done) == 8 and not summary.failed
    assert lines[0] == "corpus mine: 45 of 765 documents kept (few 5 of 5, many 20 of 700, some 20 of 60)"
    assert len(kept(lake)) == 45 and kept(lake) == plain(corpus, N)
    columns = "domain, sum(n_documents), sum(kept_documents)"
    assert rows(lake, f"select {columns} from stored.domains group by all order by all") == [
        ("few", 5, 5),
        ("many", 700, 20),
        ("some", 60, 20),
    ]
    assert rows(lake, "select source, reason from stored.rejects") == [("6.jsonl", "malformed JSON")]
    assert not list((lake.path / "spool").iterdir()) and not list(check(lake))
    again, lines_again = run(lake, corpus)
    assert (again.done, again.skipped, lines_again) == ([], 8, lines)


@pytest.mark.parametrize("seed", range(3))
def test_any_order_of_the_files_gives_the_same_sample(lake, corpus, monkeypatch, seed):
    def shuffled(lake, first, last):
        return keep_stages(lake, random.Random(seed).sample(first, len(first)), last)

    monkeypatch.setattr("memlake.ingest.documents.base.keep_stages", shuffled)
    run(lake, corpus)
    assert kept(lake) == plain(corpus, N)


@pytest.mark.parametrize("n", [1, 45, 10_000])
def test_samples_of_other_sizes(lake, corpus, n):
    run(lake, corpus, keep=n)
    assert kept(lake) == plain(corpus, n)
    assert len(kept(lake)) == sum(min(n, size) for size in SIZES.values())


def test_later_files_are_judged_by_what_earlier_ones_left(lake, corpus, monkeypatch):
    """Else the spool would hold the whole corpus where there are many files."""
    monkeypatch.setattr("memlake.ingest.documents.keep.SLACK", 1)
    spooled = {}

    def remember(spool):
        import pyarrow.parquet as pq

        files = {name: path for name, path in spool.files().items() if name != KNOWN}
        spooled.update({name: pq.read_metadata(path).num_rows for name, path in files.items()})

    monkeypatch.setattr(Spool, "remove", remember)
    run(lake, corpus, keep=2)
    assert len(spooled) == 7 and 5 <= sum(spooled.values()) < 60
    assert kept(lake) == plain(corpus, 2)


def test_a_cell_reads_what_is_known_and_no_other_file_of_the_spool(lake, tmp_path, monkeypatch):
    """Else the work would grow with the square of the number of files."""
    (folder := tmp_path / "in").mkdir()
    for i in range(12):
        (folder / f"{i:02}.jsonl").write_text("\n".join(json.dumps({"text": f"{i} {j}", "d": "d"}) for j in range(9)))
    shown, original = [], Sample.show

    def noted(self, file):
        shown.append(file.name)
        original(self, file)

    monkeypatch.setattr(Sample, "show", noted)
    run(lake, folder, keep=5)
    assert shown[: 2 * 11] == [KNOWN] * 2 * 11 and len(set(shown[2 * 11 :])) == len(shown[2 * 11 :]) == 12
    assert kept(lake) == plain(folder, 5)


def test_a_cell_that_is_read_again_does_not_count_its_documents_twice(lake, corpus, monkeypatch, go_on):
    """Killed after it had handed on what it knew: a bound from doubled hashes would be too low."""
    monkeypatch.setattr("memlake.ingest.documents.keep.SLACK", 1)
    with pytest.raises(Stopped):
        run(lake, corpus)
    for file in (lake.path / "spool").rglob("c1-*"):
        if file.is_file():
            file.unlink()
    assert list((lake.path / "spool").rglob(KNOWN))
    go_on()
    run(lake, corpus)
    assert kept(lake) == plain(corpus, N)


@pytest.mark.parametrize("n", [0, -1])
def test_a_sample_of_none_is_refused(lake, corpus, n):
    with pytest.raises(BadInput, match=f"--keep must be positive, not {n}"):
        run(lake, corpus, keep=n)
    assert kept(lake) == []


def test_a_file_of_a_finished_sample_is_not_forgotten_alone(lake, corpus):
    run(lake, corpus)
    seen = rows(lake, "select domain, sum(n_documents) from stored.domains group by all order by all")
    files = "from stored.cells where experiment = 'ingest'"
    for (cell,) in rows(lake, f"select cell {files} and cell in (select cell from stored.domains)"):
        with pytest.raises(Conflict, match=r"1 cell stands on it \(1 of ingest_keep: c1-"):
            forget(lake, cell=cell)
    assert rows(lake, "select domain, sum(n_documents) from stored.domains group by all order by all") == seen
    ((empty,),) = rows(lake, f"select cell {files} and cell not in (select cell from stored.domains)")
    assert forget(lake, cell=empty) == [empty]  # no document of it was seen: the next run reads it again
    assert run(lake, corpus)[0].done == [empty] and kept(lake) == plain(corpus, N)
    ((last,),) = rows(lake, "select cell from stored.cells where experiment = 'ingest_keep'")
    forget(lake, cell=last)  # the sample itself may go; the next run makes it again
    assert kept(lake) == []
    run(lake, corpus)
    assert kept(lake) == plain(corpus, N)
    (file,) = rows(lake, "select min(cell) from stored.domains where n_documents > 0")[0]
    assert forget(lake, cell=file, with_dependents=True) == [last, file]
    assert kept(lake) == []
    run(lake, corpus)
    assert kept(lake) == plain(corpus, N)
    assert len(forget(lake, corpus="mine")) == 8
    assert rows(lake, "select count(*) from stored.domains") == [(0,)]


def test_the_spool_of_a_corpus_goes_with_it(lake, corpus, go_on):
    with pytest.raises(Stopped):
        run(lake, corpus)
    assert list((lake.path / "spool").rglob("c1-*"))
    forget(lake, corpus="mine")
    assert not list((lake.path / "spool").iterdir())


def test_a_sample_takes_no_other_files_and_no_other_size(lake, corpus, tmp_path):
    run(lake, corpus)
    with pytest.raises(Conflict, match=r"corpus mine was read with --keep 20: name another --corpus, or take it back"):
        run(lake, corpus, keep=21)
    with pytest.raises(Conflict, match=r"corpus mine was read with --keep 20"):
        ingest(lake, "jsonl", {"path": (str(corpus),), "domain_field": "d"}, corpus="mine")
    fewer, more, changed = (tmp_path / name for name in ("fewer", "more", "changed"))
    for folder in (fewer, more, changed):
        folder.mkdir()
        for path in corpus.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
    (fewer / "3.jsonl").unlink()
    (more / "9.jsonl").write_text('{"text": "new"}')
    (changed / "3.jsonl").write_text('{"text": "new"}')
    with pytest.raises(Conflict, match=r"is a sample of 3\.jsonl too, which is missing now"):
        run(lake, fewer)
    with pytest.raises(Conflict, match=r"is a finished sample, which takes no more files: name another --corpus"):
        run(lake, more)
    with pytest.raises(Conflict, match=r"holds 3\.jsonl already, with other content.*forget --corpus mine`"):
        run(lake, changed)
    assert kept(lake) == plain(corpus, N)


def test_a_corpus_that_was_kept_whole_is_not_sampled_later(lake, corpus):
    ingest(lake, "jsonl", {"path": (str(corpus / "0.jsonl"),), "domain_field": "d"}, corpus="mine")
    with pytest.raises(Conflict, match="corpus mine was read without --keep"):
        run(lake, corpus)


def test_a_source_without_documents_takes_no_keep(lake):
    with pytest.raises(BadInput, match="source 'results' reads no documents: it takes no --keep"):
        ingest(lake, "results", {"path": ("x",)}, keep=3)


# Stopped and resumed


class Stopped(BaseException):
    pass


@pytest.fixture
def go_on(monkeypatch):
    """The program ends before the second stage, until it is told to go on."""

    def stop(*_):
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(PublishSample, "rows", stop)
        yield patch.undo


def test_a_file_lost_between_the_stages_is_read_again(lake, corpus, go_on):
    with pytest.raises(Stopped):
        run(lake, corpus)
    files = list((lake.path / "spool").rglob("c1-*"))
    assert len(files) == 7 and kept(lake) == []
    assert not list(check(lake))
    files[2].unlink()
    go_on()
    summary, _ = run(lake, corpus)
    assert (len(summary.done), summary.skipped) == (2, 6)
    assert kept(lake) == plain(corpus, N)
    assert not list(check(lake))


def test_files_added_before_the_sample_is_finished_start_it_anew(lake, corpus, go_on, tmp_path):
    """What the first files left was cut by what was known then; the new files decide otherwise."""
    part = tmp_path / "part"
    part.mkdir()
    for name in ("4.jsonl", "5.jsonl"):
        (part / name).write_bytes((corpus / name).read_bytes())
    with pytest.raises(Stopped):
        run(lake, part)
    go_on()
    summary, _ = run(lake, corpus)
    assert len(summary.done) == 8
    assert kept(lake) == plain(corpus, N)
    assert not [p for p in (lake.path / "spool").rglob("*") if p.is_file()]


def test_killed_in_the_first_stage_and_run_again(corpus, tmp_path):
    """SIGKILL of the whole program with its two workers."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "lake"), str(corpus)]

    spool = tmp_path / "lake" / "spool"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as program:
        while not [p for p in spool.rglob("c1-*") if p.is_file()]:
            assert program.poll() is None
            time.sleep(0.02)
        time.sleep(0.5)
        os.killpg(program.pid, signal.SIGKILL)
    lake = Lake.open(tmp_path / "lake")
    assert kept(lake) == []
    with subprocess.Popen(command) as program:
        assert program.wait(120) == 0
    assert kept(lake) == plain(corpus, N)
    assert not list(check(lake)) and not [p for p in spool.rglob("*") if p.is_file()]
