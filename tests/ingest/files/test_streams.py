"""Files read a piece at a time: compression, damage, and lines that are too long."""

from __future__ import annotations

import gzip
import tracemalloc

import pytest
import zstandard

from memlake.ingest.files import streams
from memlake.ingest.files.streams import Line

TEXT = b"".join(b"line %d\n" % i for i in range(50_000))
ZSTD = zstandard.ZstdCompressor().compress
PACK = {"": bytes, ".gz": gzip.compress, ".zst": ZSTD, ".zstd": ZSTD, ".GZ": gzip.compress, ".Zst": ZSTD}


@pytest.mark.parametrize("suffix", PACK)
def test_the_bytes_come_back(tmp_path, suffix):
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(PACK[suffix](TEXT))
    assert b"".join(streams.pieces(path)) == TEXT
    lines = list(streams.lines(path, 100))
    assert lines == [Line(b) for b in TEXT.splitlines()]


@pytest.mark.parametrize("named", ["", ".gz", ".zst"])
@pytest.mark.parametrize("packed", [".gz", ".zst"])
def test_what_a_file_begins_with_tells_how_it_is_compressed(tmp_path, named, packed):
    path = tmp_path / f"a.jsonl{named}"
    path.write_bytes(PACK[packed](TEXT) + PACK[packed](b"more\n"))
    assert b"".join(streams.pieces(path)) == TEXT + b"more\n"


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_streams_put_one_after_the_other_are_one_file(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(PACK[suffix](b"one\n") + PACK[suffix](b"two\n"))
    assert b"".join(streams.pieces(path)) == b"one\ntwo\n"


def test_zeros_may_pad_a_gzip_file(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"one\n") + bytes(100) + gzip.compress(b"two\n") + bytes(9))
    assert b"".join(streams.pieces(path)) == b"one\ntwo\n"


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("keep", [0.0001, 0.6, 0.999])
def test_a_cut_stream_keeps_its_whole_lines_and_says_so(tmp_path, suffix, keep):
    path = tmp_path / f"a{suffix}"
    packed = PACK[suffix](TEXT)
    path.write_bytes(packed[: int(len(packed) * keep)])
    *whole, last = streams.lines(path, 100)
    assert "is cut off" in last.problem
    assert whole == [Line(b) for b in TEXT.splitlines()[: len(whole)]]
    assert (len(whole) > 100) == (keep > 0.1)


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("packed", [True, False])
def test_a_file_without_a_byte_is_told(tmp_path, suffix, packed):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(PACK[suffix](b"") if packed else b"")
    assert list(streams.lines(path, 100)) == [Line(b"", "empty file")]


def test_frames_that_hold_no_text_are_skipped(tmp_path):
    path = tmp_path / "a.zst"  # pzstd writes such a frame before each of its own
    skippable = bytes.fromhex("502a4d18") + (4).to_bytes(4, "little") + b"size"
    path.write_bytes(skippable + ZSTD(b"one\n") + skippable + ZSTD(b"two\n"))
    assert list(streams.lines(path, 100)) == [Line(b"one"), Line(b"two")]


def test_a_damaged_stream_is_told_from_a_cut_one(tmp_path):
    path = tmp_path / "a.gz"
    packed = bytearray(gzip.compress(TEXT))
    packed[len(packed) // 2] ^= 0xFF
    path.write_bytes(packed)
    *_, last = streams.lines(path, 100)
    assert "cannot be read further" in last.problem


@pytest.mark.parametrize("suffix", PACK)
def test_lines_up_to_the_limit_are_taken_and_longer_ones_are_not(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(PACK[suffix](b"x" * 10 + b"\n" + b"y" * 11 + b"\n\n" + b"z" * 10))
    found = list(streams.lines(path, 10))
    assert found == [Line(b"x" * 10), Line(b"y" * 11, "longer than 10 bytes"), Line(b""), Line(b"z" * 10)]


@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_huge_line_is_not_held(tmp_path, end):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"x" * 100_000_000 + end, 1))
    tracemalloc.start()
    (line,) = streams.lines(path, 1_000_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert line == Line(b"x" * 200, "longer than 1000000 bytes")
    assert peak < 8_000_000


def test_the_digest_sees_both_ends_and_the_size(tmp_path):
    path = tmp_path / "a"
    seen = set()
    for content in (b"", b"abc", b"abd", b"bbc", b"abcc"):
        path.write_bytes(content)
        seen.add(streams.stat(path, ends=1)[0])
    assert len(seen) == 5
