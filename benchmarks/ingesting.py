"""Speed and memory of `memlake ingest run`, beside `tokenizers` alone on the same text and cores.

    python -m benchmarks.ingesting [--megabytes 64] [--files 8] [--cores 2] [--repeats 3] [--keep 1000]

The text is library source and documentation of this Python environment, cut to documents of 4,000 characters, as JSON
lines; the tokenizer is a byte-level BPE of 32,768 trained on a part of it. `tokenizers`: encode_batch_fast on texts
that are in memory, and the ids taken out, which is the least that any use of a corpus costs. `ingest run`: the whole
command, from its start to its end, into a new lake, without and with `--keep`. Times are medians; ratios are medians of
the ratios of each repeat. Then the same number of files, each eight times as long: speed, and peak memory (resident) of
the largest process and of all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

CHARACTERS, VOCABULARY, BATCH = 4000, 32_768, 1000
TRAINED_ON = 5000  # documents
LARGER = 8


def texts(megabytes: int) -> list[str]:
    """Documents of real text, of so many MB in all; repeated with a number before each where there are not enough."""
    from memlake.ingest.sources import _environment as environment

    found, size, wanted = [], 0, megabytes * 10**6
    whole = [environment.read(path) for _, path in environment.library()]
    for again in range(1, 1000):
        for text in whole:
            for start in range(0, len(text), CHARACTERS):
                piece = text[start : start + CHARACTERS]
                if not piece.isspace():
                    found.append(f"{again} {piece}" if again > 1 else piece)
                    size += len(found[-1].encode())
                if size >= wanted:
                    return found
    raise SystemExit("this environment holds too little text")


def write(folder: Path, documents: list[str], files: int, times: int) -> None:
    """The documents as JSON lines in so many files, each text so many times, with a number before it."""
    folder.mkdir()
    for i in range(files):
        with (folder / f"{i:03}.jsonl").open("w") as f:
            for again in range(times):
                for text in documents[i::files]:
                    f.write(json.dumps({"text": f"{again} {text}"}) + "\n")


def tokenizer(documents: list[str]):
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(documents[:: max(1, len(documents) // TRAINED_ON)], trainer)
    return made


def tokenize(made, documents: list[str]) -> float:
    """Seconds for all documents."""
    start = perf_counter()
    for i in range(0, len(documents), BATCH):
        for encoding in made.encode_batch_fast(documents[i : i + BATCH], add_special_tokens=False):
            encoding.ids  # noqa: B018  (it makes the list)
    return perf_counter() - start


def ingest(folder: Path, lake: Path, cores: int, *more: str) -> tuple[float, float, float]:
    """Seconds of the command, and peak resident MB of its largest process and of all."""
    shutil.rmtree(lake, ignore_errors=True)
    command = [sys.executable, "-m", "memlake", "ingest", "run", "jsonl", "--path", str(folder), "--corpus", "bench"]
    start = perf_counter()
    with subprocess.Popen([*command, "--workers", str(cores), "--lake", str(lake), *more], stderr=subprocess.PIPE) as p:
        largest, together = watch(p)
        if p.wait():
            raise SystemExit(p.stderr.read().decode())
        return perf_counter() - start, largest, together


def watch(program: subprocess.Popen) -> tuple[float, float]:
    """Peak resident MB of the largest process of a program, and of all its processes together, while it runs."""
    import psutil

    largest = together = 0.0
    root = psutil.Process(program.pid)
    while program.poll() is None:
        sizes = []
        for process in [root, *root.children(recursive=True)]:
            try:
                sizes.append(process.memory_info().rss / 1e6)
            except psutil.NoSuchProcess:
                continue
        largest, together = max([largest, *sizes]), max(together, sum(sizes))
        sleep(0.1)
    return largest, together


def compare(folder: Path, lake: Path, documents: list[str], a: argparse.Namespace) -> None:
    size = sum(len(t.encode()) for t in documents) / 1e6
    made = tokenizer(documents)
    runs = {
        "tokenizers": lambda: tokenize(made, documents),
        "ingest run": lambda: ingest(folder, lake, a.cores)[0],
        f"ingest run --keep {a.keep}": lambda: ingest(folder, lake, a.cores, "--keep", str(a.keep))[0],
    }
    times: dict[str, list[float]] = {way: [] for way in runs}
    for _ in range(a.repeats):
        for way, run in runs.items():
            times[way].append(run())
    for way, taken in times.items():
        ratio = median(t / s for t, s in zip(times["tokenizers"], taken, strict=True))
        print(f"{way:28} {size / median(taken):8.2f} MB/s {ratio:8.2f} x tokenizers", flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--megabytes", type=int, default=64)
    options.add_argument("--files", type=int, default=8)
    options.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--keep", type=int, default=1000)
    a = options.parse_args()
    os.environ |= {"RAYON_NUM_THREADS": str(a.cores), "TOKENIZERS_PARALLELISM": "true"}
    documents = texts(a.megabytes)
    print(f"{len(documents)} documents, {a.megabytes} MB in {a.files} files, {a.cores} cores, {a.repeats} repeats")
    with tempfile.TemporaryDirectory() as place:
        small, large, lake = (Path(place) / name for name in ("small", "large", "lake"))
        write(small, documents, a.files, 1)
        write(large, documents, a.files, LARGER)
        compare(small, lake, documents, a)
        for times, folder in ((1, small), (LARGER, large)):
            for more in ((), ("--keep", str(a.keep))):
                seconds, largest, together = ingest(folder, lake, a.cores, *more)
                what = f"{' '.join(('ingest run', *more)):28} {times} x the text"
                speed = f"{times * a.megabytes / seconds:8.2f} MB/s"
                print(f"{what} {speed}, peak {largest:.0f} MB the largest process, {together:.0f} MB all", flush=True)


if __name__ == "__main__":
    main()
