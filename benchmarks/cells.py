"""What a cell costs that is small, and whether that grows: CPU seconds (user and system).

    python -m benchmarks.cells [--cells 10000] [--ways all each] [--side 200] [--folder FOLDER]

A cell reads one file of 5 documents in 5 domains, as `memlake ingest run jsonl` does. "all": one run of all cells.
"each": as many runs one after the other in one process, each of one cell. Of both: CPU seconds a cell beyond reading
it, of the first tenth and of the last; files and bytes of the lake; what commands on it cost in seconds (CPU and wall).
"side by side": four commands, each of which ingests a corpus of its own of so many files into one lake, all at once,
over the same one after the other, in wall clock.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from memlake.ingest.documents.reading import ReadFile
from memlake.ingest.source import make
from memlake.warehouse.lake import Lake
from memlake.warehouse.work.cells import Cell, CellRows
from memlake.warehouse.work.runner import run_cells

DOMAINS = ("code", "letters", "maths", "news", "prose")
CORPORA = 4  # that are ingested side by side
COMMANDS = {
    "sql count": ["sql", "select count(*) from documents"],
    "status": ["warehouse", "status"],
    "tables": ["warehouse", "tables"],
    "check": ["warehouse", "check"],
}


@dataclass
class Clock:
    """CPU seconds of this process when each cell's reading began, and what the reading took."""

    begun: list[float] = field(default_factory=list)
    reading: list[float] = field(default_factory=list)

    def beyond(self, end: float) -> list[float]:
        """For each cell the seconds from its beginning to that of the next, without its reading."""
        stops = [*self.begun[1:], end]
        return [stop - start - read for start, stop, read in zip(self.begun, stops, self.reading, strict=True)]


CLOCK = Clock()


class TimedFile(ReadFile):
    """Writes down when it was read, and how long that took."""

    def rows(self, lake: Lake) -> CellRows:
        CLOCK.begun.append(process_time())
        spent = 0.0
        pieces = super().rows(lake)
        while True:
            began = process_time()
            piece = next(pieces, None)
            spent += process_time() - began
            if piece is None:
                break
            yield piece
        CLOCK.reading.append(spent)


def write(folder: Path, files: int) -> None:
    """So many files of a document in each domain; no two texts are alike."""
    folder.mkdir(parents=True)
    for i in range(files):
        with (folder / f"{i:05}.jsonl").open("w") as f:
            for domain in DOMAINS:
                f.write(
                    json.dumps({"text": f"{domain} {i} " + f"word{i % 97} and more of it " * 20, "d": domain}) + "\n"
                )


def cells(folder: Path, lake: Lake) -> list[Cell]:
    """The cells that read the files of a folder."""
    source = make("jsonl", {"path": (str(folder),), "domain_field": "d"})
    (stage,) = source.stages(lake, "many")  # type: ignore[call-arg]
    return [TimedFile(**{f.name: getattr(c, f.name) for f in fields(ReadFile)}) for c in stage.cells]


@contextmanager
def quiet() -> Iterator[None]:
    """Without the runs' lines of progress."""
    kept, sys.stderr = sys.stderr, open(os.devnull, "w")  # noqa: SIM115
    try:
        yield
    finally:
        sys.stderr.close()
        sys.stderr = kept


def publish(lake: Lake, todo: Sequence[Cell], way: str) -> list[float]:
    """Run the cells; CPU seconds of each beyond reading it, in order."""
    CLOCK.begun.clear()
    CLOCK.reading.clear()
    for batch in [todo] if way == "all" else [[cell] for cell in todo]:
        with quiet():
            summary = run_cells(lake, batch, workers=0)
        if summary.failed:
            raise SystemExit(summary.failed[0][1])
    return CLOCK.beyond(process_time())


def tenths(costs: Sequence[float]) -> tuple[float, float, float]:
    """Mean of all, of the first tenth, and of the last."""
    n = max(1, len(costs) // 10)
    return sum(costs) / len(costs), sum(costs[:n]) / n, sum(costs[-n:]) / n


def command(words: list[str], lake: Path) -> tuple[float, float]:
    """CPU and wall seconds of a command that has to succeed."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "memlake", *words, "--lake", str(lake)], capture_output=True, text=True, check=False
    )
    wall, after = perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr}{done.stdout[:1000]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def size(lake: Lake) -> tuple[int, int]:
    """Parquet files of the lake's tables, and their bytes."""
    sizes = [p.stat().st_size for p in lake.path.glob("*/**/*.parquet") if "_delta_log" not in p.parts]
    return len(sizes), sum(sizes)


def many(folder: Path, count: int, way: str) -> dict[str, Any]:
    """Publish so many cells in one way into a new lake in `folder`; what it cost, by what the table calls it."""
    write(folder / "texts", count)
    lake = Lake.create(folder / f"lake-{way}")
    mean, first, last = tenths(publish(lake, cells(folder / "texts", lake), way))
    shutil.rmtree(folder / "texts")
    files, size_ = size(lake)
    began = process_time()
    Lake.open(lake.path)
    found = {"cells": count, "a cell": mean, "first tenth": first, "last tenth": last, "last / first": last / first}
    return found | {"files": files, "MB": size_ / 1e6, "Lake.open": process_time() - began}


def side_by_side(folder: Path, files: int) -> tuple[float, float]:
    """Wall seconds of the ingests of `CORPORA` corpora into a lake: one after the other, and all at once."""
    for i in range(CORPORA):
        write(folder / f"corpus{i}", files)
    spent = []
    for at_once in (False, True):
        lake = Lake.create(folder / f"lake-{at_once}")
        began, under_way = perf_counter(), []
        for i in range(CORPORA):
            words = ["ingest", "run", "jsonl", "--path", str(folder / f"corpus{i}"), "--domain-field", "d"]
            words += ["--corpus", f"corpus{i}", "--lake", str(lake.path), "--workers", "0"]
            under_way.append(subprocess.Popen([sys.executable, "-m", "memlake", *words], stderr=subprocess.DEVNULL))
            if not at_once:
                under_way[-1].wait()
        if any(program.wait() for program in under_way):
            raise SystemExit("an ingest failed")
        spent.append(perf_counter() - began)
    return spent[0], spent[1]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--cells", type=int, default=10_000)
    options.add_argument("--ways", nargs="*", default=["all", "each"], choices=["all", "each"])
    options.add_argument("--side", type=int, default=200, help="files of each of the four corpora; 0: not at all")
    options.add_argument("--folder", type=Path, help="an empty or missing folder for the lakes, which are then kept")
    a = options.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = a.folder or Path(place)
        for way in a.ways:
            found = many(folder, a.cells, way)
            print(f"{way}: " + ", ".join(f"{k} {v:.3g}" for k, v in found.items()), flush=True)
            for name, words in COMMANDS.items():
                cpu, wall = command(words, folder / f"lake-{way}")
                print(f"{way}: {name} {cpu:.2f} CPU, {wall:.2f} wall", flush=True)
        if a.side:
            apart, together = side_by_side(folder, a.side)
            print(f"side by side: {together:.1f} of {apart:.1f} s, {together / apart:.2f}")


if __name__ == "__main__":
    main()
