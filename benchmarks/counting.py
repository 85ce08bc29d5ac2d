"""Speed of the counting scan beside `tokenizers` alone, on the same text and cores, interleaved in one process; and how
much memory it needs when the corpus grows.

    python -m benchmarks.counting [--megabytes 24] [--sequences 1000 100000] [--vocabulary 32000] [--repeats 3]

Text: the sources of Python's standard library. Tokenizer: byte-level BPE, trained on them here. `tokenizers`:
encode_batch_fast, and the ids taken to numpy. `scan`: the same, and all n-grams of the sequences (windows of 32 + 32
tokens) counted. `bytes`: the same sequences counted under bytes, without a tokenizer. Times are medians; `cost` is the
median over the repeats of what the scan takes more than `tokenizers`, by the wall clock and by the time of all cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sysconfig
from collections.abc import Iterable, Iterator
from itertools import cycle
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from memlake.ingest.counting.corpus import BATCH
from memlake.ingest.counting.matcher import Matcher
from memlake.ingest.counting.ngrams import Wanted, from_lengths, wanted
from memlake.ingest.counting.scan import as_bytes, tokenized
from memlake.warehouse.models.registry import ModelSpec
from memlake.warehouse.models.tokenizer import Tokenizer as Loaded

PREFIX, WINDOW = 32, 64


def texts(megabytes: int) -> Iterator[list[str]]:
    """Sources of the standard library in batches, so many bytes of them; all of them again where they are fewer."""
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py"))
    batch, size, left = [], 0, megabytes << 20
    for file in cycle(f for f in files if "site-packages" not in f.parts):
        batch.append(file.read_text(encoding="utf-8", errors="ignore"))
        size += len(batch[-1].encode())
        if size >= min(BATCH, left):
            yield batch
            left -= size
            batch, size = [], 0
        if left <= 0:
            return


def loaded(t: Tokenizer) -> Loaded:
    return Loaded(t, "", t.get_vocab_size(), None, ModelSpec("trained here", ""))


def tokenizer(batches: list[list[str]], vocabulary: int) -> Loaded:
    t = Tokenizer(models.BPE())
    t.pre_tokenizer, t.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False)
    t.train_from_iterator((text for batch in batches for text in batch), trainer)
    return loaded(t)


def windows(given: list[tuple[np.ndarray, np.ndarray]], sequences: int, window: int) -> Wanted:
    """So many windows of these tokens, drawn at random; some cross a document's end and will not be found."""
    tokens = np.concatenate([t for t, _ in given]).astype(np.int32)
    first = np.random.default_rng(0).integers(0, len(tokens) - window, sequences)
    offsets = from_lengths(np.full(sequences, window))
    return wanted(
        np.arange(sequences),
        np.zeros(sequences, np.int32),
        np.array([["corpus", "domain", "tokenizer"]]),
        tokens[first[:, None] + np.arange(window)].ravel(),
        offsets,
        offsets[:-1] + window // 2,
        np.full(sequences, -1),
    )


def scanned(asked: Wanted, batches: Iterable[list[str]], read, vocabulary: int) -> int:
    scan = Matcher(asked.spans, vocabulary)
    for batch in batches:
        scan.add(*read(batch), np.zeros(len(batch), np.int64))
    scan.counts()
    return scan.tokens


def timed(function) -> tuple[float, float]:
    wall, cores = perf_counter(), process_time()
    function()
    return perf_counter() - wall, process_time() - cores


def compare(batches: list[list[str]], t: Loaded, sequences: int, repeats: int) -> None:
    size = sum(len(text.encode()) for batch in batches for text in batch) / 1e6
    given, data = [tokenized(t, batch) for batch in batches], [as_bytes(batch) for batch in batches]
    asked, in_bytes = windows(given, sequences, WINDOW), windows(data, sequences, 4 * WINDOW - 30)
    vocabulary, tokens = t.vocab_size, sum(len(ids) for ids, _ in given)
    runs = {
        "tokenizers": lambda: [tokenized(t, batch) for batch in batches],
        "scan": lambda: scanned(asked, batches, lambda batch: tokenized(t, batch), vocabulary),
        "bytes": lambda: scanned(in_bytes, batches, as_bytes, 256),
    }
    times = {way: [] for way in runs}
    for _ in range(repeats):
        for way, run in runs.items():
            times[way].append(timed(run))
    more = [median(s[i] / t[i] - 1 for s, t in zip(times["scan"], times["tokenizers"], strict=True)) for i in (0, 1)]
    seconds = {way: median(wall for wall, _ in times[way]) for way in runs}
    print(
        f"{sequences:9} {size:6.1f} {tokens / 1e6:6.2f}"
        + "".join(f" {size / seconds[way]:10.2f} {tokens / seconds[way] / 1e6:8.3f}" for way in ("tokenizers", "scan"))
        + f" {more[0]:8.1%} {more[1]:8.1%} {size / seconds['bytes']:10.2f}",
        flush=True,
    )


def memory(megabytes: int, folder: Path) -> int:
    """Peak memory, in MB, of a process that counts in so much text, which it reads as it goes."""
    t, asked = loaded(Tokenizer.from_file(str(folder / "tokenizer.json"))), Wanted.load(folder / "wanted")
    scanned(asked, texts(megabytes), lambda batch: tokenized(t, batch), t.vocab_size)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) >> 10  # getrusage would tell of the parent as well


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--megabytes", type=int, default=24)
    options.add_argument("--sequences", type=int, nargs="+", default=[1000, 100_000])
    options.add_argument("--vocabulary", type=int, default=32_000)
    options.add_argument("--repeats", type=int, default=3)
    a = options.parse_args()
    batches = list(texts(a.megabytes))
    t = tokenizer(batches, a.vocabulary)
    print(
        f"{'sequences':>9} {'MB':>6} {'M tok':>6} {'tokenizers':>10} {'M tok/s':>8} {'scan':>10} {'M tok/s':>8}"
        f" {'cost':>8} {'of cores':>8} {'bytes':>10}   (MB/s)"
    )
    for sequences in a.sequences:
        compare(batches, t, sequences, a.repeats)
    del batches
    with TemporaryDirectory() as name, multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        t.backend.save(f"{name}/tokenizer.json")
        for sequences in a.sequences:
            windows([tokenized(t, batch) for batch in texts(a.megabytes)], sequences, WINDOW).save(Path(name, "wanted"))
            for megabytes in (a.megabytes, 8 * a.megabytes):
                peak = pool.apply(memory, (megabytes, Path(name)))
                print(f"{sequences} sequences, {megabytes} MB of text: {peak} MB of memory at most", flush=True)


if __name__ == "__main__":
    main()
