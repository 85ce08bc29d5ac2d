"""Time and memory of `memlake ingest run results` and `memorized_evals`.

    python -m benchmarks.importing [--rows 1000000 2000000 4000000] [--source results] [--format parquet]

Made-up rows of one model in five domains, with 32 tokens each and ids that the lake does not know, in one file; the
whole command, from its start to its end, in this one process (`--workers 0`), into a new lake. CPU seconds are of the
user and the system; the peak is of resident memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PIECE, TOKENS, DOMAINS = 100_000, 32, ("arxiv", "books", "github", "web", "wiki")


def results(first: int, n: int, draw: np.random.Generator) -> pa.Table:
    """Rows of results: a tenth is memorized, the others match at a rate of their own."""
    bits = draw.random((n, TOKENS)) < np.where(draw.random((n, 1)) < 0.1, 1, draw.random((n, 1)))
    return pa.table(
        {
            "model": pa.repeat("pythia-1b", n),
            "corpus": pa.repeat("pile", n),
            "domain": pa.array(DOMAINS).take(pa.array(draw.integers(0, len(DOMAINS), n))),
            "sequence_id": np.arange(first, first + n),
            "n_tokens": pa.repeat(TOKENS, n),
            "match": pa.FixedSizeListArray.from_arrays(pa.array(bits.ravel()), TOKENS).cast(pa.list_(pa.bool_())),
        }
    )


def memorized_evals(first: int, n: int, draw: np.random.Generator) -> pa.Table:
    """Rows of a list as it is published."""
    tokens = pa.FixedSizeListArray.from_arrays(pa.array(draw.integers(0, 50_277, n * 2 * TOKENS)), 2 * TOKENS)
    return pa.table({"index": np.arange(first, first + n), "tokens": tokens.cast(pa.list_(pa.int64()))})


MADE = {"results": results, "memorized_evals": memorized_evals}


def write(path: Path, source: str, rows: int) -> None:
    draw = np.random.default_rng(0)
    pieces = (MADE[source](at, min(PIECE, rows - at), draw) for at in range(0, rows, PIECE))
    if path.suffix == ".jsonl":
        with path.open("w") as f:
            for piece in pieces:
                f.writelines(json.dumps(row) + "\n" for row in piece.to_pylist())
        return
    first = next(pieces)
    with pq.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        for piece in pieces:
            writer.write_table(piece)


def run(source: str, path: Path, lake: Path) -> tuple[float, float, float]:
    """CPU seconds and seconds of the command, and its peak memory in MB."""
    command = [sys.executable, "-m", "memlake", "ingest", "run", source, "--path", str(path), "--lake", str(lake)]
    start = perf_counter()
    with subprocess.Popen([*command, "--workers", "0"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as p:
        said = p.stderr.read() if p.stderr else b""
        _, status, used = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
    if p.returncode:
        raise SystemExit(said.decode())
    return used.ru_utime + used.ru_stime, perf_counter() - start, used.ru_maxrss / 1024


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 2_000_000, 4_000_000])
    options.add_argument("--source", choices=list(MADE), default="results")
    options.add_argument("--format", choices=["parquet", "jsonl"], default="parquet")
    a = options.parse_args()
    print(f"{a.source}, {a.format}\n{'rows':>12} {'CPU s':>8} {'wall s':>8} {'peak MB':>8}", flush=True)
    for rows in a.rows:
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / ("results" if a.source == "results" else "duped.1b") / f"0000.{a.format}"
            path.parent.mkdir()
            write(path, a.source, rows)
            cpu, wall, peak = run(a.source, path, Path(place) / "lake")
        print(f"{rows:12,} {cpu:8.1f} {wall:8.1f} {peak:8.0f}", flush=True)


if __name__ == "__main__":
    main()
