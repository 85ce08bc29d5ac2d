"""What is kept beside the lake: it comes back as it was, and nothing that happens to it is an error."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from memlake.queries.kept import Kept
from memlake.warehouse.lake import Lake

ROWS = pa.table({"a": [1, None, 3], "b": ["x", "", None]})


@pytest.fixture
def kept(new_lake) -> Kept:
    return Kept(new_lake, "some")


def test_a_table_comes_back_as_it_was(kept):
    odd = duckdb.sql(
        "select i::hugeint as h, i / 0 as infinite, 'nan'::double as nan, if(i = 1, null, [i, null]) as l,"
        " {'a': i, 'b': interval 1 day} as s, i::decimal(9, 2) as d, 'a\\x00b'::blob as raw,"
        " timestamptz '2026-01-01' as t, 'x'::enum('x', 'y') as e, map {'k': i} as m, null as nothing, true as yes,"
        " 'é\t\n' as i from range(3) r(i) order by r.i desc"
    ).to_arrow_table()
    for rows in (odd, odd.slice(0, 0), ROWS, ROWS.rename_columns(["a", "a"]), pa.concat_tables([ROWS] * 3)):
        kept.put("k", rows)
        found = kept.get("k")
        assert found.schema.equals(rows.schema, check_metadata=True)
        assert str(found.to_pylist()) == str(rows.to_pylist()) and found.num_rows == rows.num_rows


def test_what_was_not_put_is_missing(kept):
    assert kept.get("k") is None
    kept.put("k", ROWS)
    assert kept.get("other") is None and Kept(Lake.open(kept.folder.parent.parent), "another").get("k") is None


def test_the_last_of_a_key_is_kept(kept):
    kept.put("k", ROWS)
    kept.put("k", ROWS.slice(1))
    assert kept.get("k") == ROWS.slice(1)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "file").touch()


def _a_circle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


DAMAGES: list[Callable[[Path], object]] = [
    Path.unlink,
    _cut,
    _a_byte,
    _a_folder,
    _a_circle,
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(b"rubbish" * 100),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_missing_and_no_error(kept, damage):
    kept.put("k", ROWS)
    damage(kept.folder / "k")
    assert kept.get("k") is None
    kept.put("k", ROWS)
    assert kept.get("k") == (None if (kept.folder / "k").is_dir() else ROWS)


def test_what_lies_under_another_name_is_missing(kept):
    kept.put("k", ROWS)
    os.replace(kept.folder / "k", kept.folder / "l")
    assert kept.get("l") is None


@pytest.mark.parametrize("place", ["kept", "kept/some"])
def test_where_no_folder_can_be_made_nothing_is_kept(new_lake, place):
    (new_lake.path / place).parent.mkdir(exist_ok=True)
    (new_lake.path / place).write_text("a file")
    kept = Kept(new_lake, "some")
    kept.put("k", ROWS)
    assert kept.get("k") is None and (new_lake.path / place).read_text() == "a file"


BIG = pa.table({"a": [os.urandom(1 << 16)]})
MAKE = """
import resource, signal, sys
from memlake.queries.kept import Kept
from memlake.tests.queries.test_kept import BIG, ROWS
from memlake.warehouse.lake import Lake
kept = Kept(Lake.open(sys.argv[1]), "some")
"""


def in_another_process(kept: Kept, script: str) -> subprocess.Popen:
    """Run the script after MAKE; root, too, is bound by the rights of files there."""
    drop = ctypes.CDLL(None).prctl
    return subprocess.Popen(
        [sys.executable, "-c", MAKE + script, str(kept.folder.parent.parent)],
        preexec_fn=lambda: [drop(24, capability, 0, 0, 0) for capability in (1, 2)],
    )


def test_where_the_disk_is_full_nothing_is_kept_and_nothing_left(kept):
    kept.put("small", ROWS)
    script = (
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "kept.put('big', BIG); assert kept.get('big') is None and kept.get('small') == ROWS"
    )
    assert in_another_process(kept, script).wait() == 0
    assert [p.name for p in kept.folder.iterdir()] == ["small"]


def test_what_must_not_be_read_or_written_is_missing(kept):
    kept.put("k", ROWS)
    kept.put("shut", ROWS)
    (kept.folder / "shut").chmod(0)
    kept.folder.chmod(0o555)
    script = "assert kept.get('shut') is None and kept.get('k') == ROWS; kept.put('l', ROWS); kept.put('k', BIG)"
    try:
        assert in_another_process(kept, script).wait() == 0
        assert sorted(p.name for p in kept.folder.iterdir()) == ["k", "shut"] and kept.get("k") == ROWS
        kept.folder.chmod(0)
        assert in_another_process(kept, "assert kept.get('k') is None; kept.put('k', ROWS)").wait() == 0
    finally:
        kept.folder.chmod(0o755)


def test_processes_that_keep_at_once_leave_whole_files(kept):
    script = (
        "kept._room = 1 << 18\n"
        "for i in range(200):\n"
        "    kept.put(f'k{i % 7}', BIG)\n"
        "    assert (found := kept.get(f'k{(i + 3) % 7}')) is None or found.num_rows == 1\n"
    )
    at_work = [in_another_process(kept, script) for _ in range(3)]
    assert [process.wait() for process in at_work] == [0, 0, 0]
    assert not list(kept.folder.glob("*.part"))
    assert any(kept.get(f"k{i}") for i in range(7)) and sum(p.stat().st_size for p in kept.folder.iterdir()) < 1 << 19


def test_what_was_not_used_for_longest_goes(new_lake):
    kept = Kept(new_lake, "some", room=5 << 16)  # of files that take a little more than 1 << 16
    for i in range(4):
        kept.put(f"k{i}", BIG)
        os.utime(kept.folder / f"k{i}", (i, i))
    (kept.folder / "of-a-kill.part").write_bytes(b"half")
    os.utime(kept.folder / "of-a-kill.part", (0, 0))
    assert kept.get("k0") == BIG  # so that it was used after the others
    Kept(new_lake, "some", room=5 << 16).put("k4", BIG)
    assert sorted(p.name for p in kept.folder.iterdir()) == ["k0", "k3", "k4"]


def test_what_is_larger_than_the_room_is_not_kept(new_lake):
    kept = Kept(new_lake, "some", room=1 << 15)
    kept.put("k", BIG)
    assert kept.get("k") is None
