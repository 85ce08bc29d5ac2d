"""What each finding costs over a large lake: CPU and wall seconds, peak memory, rows of its answer.

    python -m benchmarks.scale --lake FOLDER [--models 20] [--domains 5] [--sequences 50000] [--findings NAME ...]

FOLDER is a lake that an earlier run made, or a new one: two corpora, `single` of documents with one sequence each and
`several` of documents with five, one in ten an exact copy of another; each of so many domains, and of each domain so
many sequences under each of seven tokenizers. The models are of seven families; the last family's are controls. All is
published as everything else is, `matches` in cells of up to 100,000 rows. Match vectors are drawn so that they look
like real ones: the same passages are memorized by several models, larger ones memorize more, and what is not memorized
breaks off early, with a long tail.

Each finding is asked in a process of its own, as often as --repeats says, on an open lake; figures are the least. What
is kept of sums is computed, or read, before. DuckDB has --threads and --memory. Rows of `matches`: 2 x models x domains
x sequences.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from time import perf_counter, process_time
from typing import ClassVar

import numpy as np
import pyarrow as pa

from memlake.queries.ask import snapshot
from memlake.queries.catalog import needed, prepare
from memlake.queries.finding import find, names
from memlake.queries.only import ALL
from memlake.queries.sums import fill
from memlake.warehouse import schema
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.register import register
from memlake.warehouse.work.cells import Cell, CellRows, Settings
from memlake.warehouse.work.runner import run_cells

FAMILIES = {"pythia": 4, "gpt-neo": 3, "open-llama": 3, "starcoder": 3, "olmo": 2, "olmo2": 3, "olmo3": 2}
SIZES = (70, 410, 1400, 6900)  # million parameters of the models of a family, from its first on
CORPORA = {"single": 1, "several": 5}  # sequences of a document
COPIES = 0.1  # share of the documents that are exact copies of another
PREFIX = TOKENS = 32
PIECE = 100_000  # rows of a cell
BASE = "float32-sdpa"
SEEDS = {"text": 1, "anchor": 2, "document": 3, "sequence": 4, "bytes": 5, "model": 6}


@dataclass(frozen=True)
class Model:
    """One of the models; `place` in its family is its size."""

    family: str
    place: int

    @property
    def name(self) -> str:
        return f"{self.family}-{SIZES[self.place]}m"


def models(number: int) -> list[Model]:
    """So many of them, the smallest of each family first."""
    found = [Model(family, place) for place in range(len(SIZES)) for family, n in FAMILIES.items() if place < n]
    return found[:number]


def ids(kind: str, *of: object, n: int) -> np.ndarray:
    """n distinct numbers of 63 bits that are the same in every process: splitmix64 from a seed by kind and place."""
    seed = int.from_bytes(json.dumps([SEEDS[kind], *of]).encode(), "big") % (2**61 - 1)
    x = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(1)).astype(np.int64)


def rng(kind: str, *of: object) -> np.random.Generator:
    return np.random.default_rng(int(ids(kind, *of, n=1)[0]))


@dataclass(frozen=True)
class Place(Settings):
    """What decides the rows of a cell: a domain of a corpus and its number of sequences; of sequences the tokenizer, of
    matches the model too, and the piece of the domain they are of."""

    corpus: str
    domain: str
    sequences: int
    sample: str | None = None
    rule: Mapping[str, str] | None = None
    tokenizer: str | None = None
    model: str | None = None
    condition: str | None = None
    piece: int | None = None

    @property
    def documents(self) -> np.ndarray:
        """(sequences,): the number of the document that each sequence was cut from."""
        return np.arange(self.sequences) // CORPORA[self.corpus]

    @property
    def text(self) -> np.ndarray:
        """(documents,): the number of the text that each document holds."""
        n = int(self.documents[-1]) + 1
        drawn = rng("text", self.corpus, self.domain)
        return np.where(drawn.random(n) < COPIES, drawn.integers(0, n, n), np.arange(n))


@dataclass(frozen=True)
class Documents(Cell):
    """The documents of a domain; their texts are only numbers."""

    EXPERIMENT: ClassVar[str] = "scale_documents"
    TABLES: ClassVar[tuple[str, ...]] = ("documents", "domains")
    settings: Place

    def rows(self, lake: Lake) -> CellRows:
        at, text = self.settings, self.settings.text
        n, texts = len(text), [f"{at.corpus} {at.domain} {t}" for t in text]
        lengths = np.array([len(t) for t in texts])
        yield "documents", table(
            document_id=ids("document", at.corpus, at.domain, n=n),
            corpus=[at.corpus] * n, domain=[at.domain] * n, text=texts,
            text_hash=ids("text", at.corpus, at.domain, n=n)[text],
            n_bytes=lengths, source=["made.up"] * n, position=np.arange(n),
        )  # fmt: skip
        kind = "structural" if at.domain == "d0" else "free_text"
        yield "domains", table(
            corpus=[at.corpus], domain=[at.domain], n_documents=[n], n_bytes=[int(lengths.sum())],
            kept_documents=[n], **{"class": [kind]},
        )  # fmt: skip


@dataclass(frozen=True)
class Window:
    """The sequences of a domain under a tokenizer. byte_ends: (sequences, PREFIX + TOKENS)."""

    anchor: np.ndarray
    byte_start: np.ndarray
    byte_ends: np.ndarray

    @property
    def byte_cut(self) -> np.ndarray:
        return self.byte_ends[:, PREFIX - 1]


@lru_cache(2)
def window(corpus: str, domain: str, n: int, tokenizer: str) -> Window:
    drawn, mean = rng("bytes", corpus, domain, tokenizer), 3.0 + 0.3 * list(FAMILIES).index(tokenizer)
    anchor = 1000 + 600 * (np.arange(n) % CORPORA[corpus])
    cut = anchor - np.where(drawn.random(n) < 0.1, drawn.integers(1, 4, n), 0)  # a token spans one anchor in ten
    lengths = np.minimum(drawn.geometric(1 / mean, (n, PREFIX + TOKENS)), 12)
    ends = np.cumsum(lengths, axis=1)
    shift = cut - ends[:, PREFIX - 1]
    return Window(anchor, shift, ends + shift[:, None])


@dataclass(frozen=True)
class Sequences(Cell):
    """The sequences of a domain under a tokenizer, and how guessable each is."""

    EXPERIMENT: ClassVar[str] = "sample"
    TABLES: ClassVar[tuple[str, ...]] = ("sequences", "guessability")
    settings: Place

    def rows(self, lake: Lake) -> CellRows:
        at = self.settings
        cut = window(at.corpus, at.domain, at.sequences, at.tokenizer)
        n, drawn = at.sequences, rng("sequence", at.corpus, at.domain, at.tokenizer)
        same = {"corpus": [at.corpus] * n, "domain": [at.domain] * n, "tokenizer": [at.tokenizer] * n}
        sequence_id = ids("sequence", at.corpus, at.domain, at.tokenizer, n=n)
        yield "sequences", table(
            **same, sequence_id=sequence_id,
            anchor_id=ids("anchor", at.corpus, at.domain, n=n),
            document_id=ids("document", at.corpus, at.domain, n=n)[at.documents],
            sample=[at.sample] * n, shard=np.zeros(n, int), rank=np.arange(n), anchor=cut.anchor,
            byte_start=cut.byte_start, byte_cut=cut.byte_cut, byte_end=cut.byte_ends[:, -1],
            tokens=lists(drawn.integers(0, 32000, (n, PREFIX + TOKENS))), byte_ends=lists(cut.byte_ends),
            prefix_tokens=np.full(n, PREFIX), n_tokens=np.full(n, TOKENS),
        )  # fmt: skip
        templated = drawn.random(n) < 0.1
        rouge = np.round(drawn.random(n), 3)
        yield "guessability", table(
            **same, sequence_id=sequence_id, templated=templated, incrementing=templated & (rouge < 0.2),
            repeating=templated & (rouge > 0.8), huffman_length=2 + 3 * drawn.random(n),
            rouge_l=pa.array(rouge, mask=rouge < 0.05),
        )  # fmt: skip


@dataclass(frozen=True)
class Matches(Cell):
    """What a model produced of a piece of a domain's sequences."""

    EXPERIMENT: ClassVar[str] = "scoring"
    TABLES: ClassVar[tuple[str, ...]] = ("matches",)
    settings: Place

    def rows(self, lake: Lake) -> CellRows:
        at = self.settings
        rows = slice(at.piece * PIECE, (at.piece + 1) * PIECE)
        cut = window(at.corpus, at.domain, at.sequences, at.tokenizer)
        byte_cut, ends = cut.byte_cut[rows], cut.byte_ends[rows, PREFIX:]
        n, drawn = len(ends), rng("model", at.corpus, at.domain, at.model, at.piece)
        size = SIZES.index(int(at.model.rpartition("-")[2].removesuffix("m")))
        first = first_mismatch(known(at.corpus, at.domain, at.sequences)[rows], size, drawn)
        place = np.arange(TOKENS)
        greedy = (place < first[:, None]) | (place > first[:, None]) & (drawn.random((n, TOKENS)) < 0.12)
        forced = (place < first[:, None]) | (place > first[:, None]) & (drawn.random((n, TOKENS)) < 0.45)
        logprobs = -drawn.exponential(np.where(place < first[:, None], 0.1, 2.5)).astype(np.float32)
        total = logprobs.astype(float).sum(axis=1)
        impossible = logprobs.min(axis=1) < -9
        matched = np.where(first > 0, ends[np.arange(n), np.maximum(first - 1, 0)] - byte_cut, 0)
        yield "matches", table(
            sequence_id=ids("sequence", at.corpus, at.domain, at.tokenizer, n=at.sequences)[rows],
            anchor_id=ids("anchor", at.corpus, at.domain, n=at.sequences)[rows],
            model=[at.model] * n, corpus=[at.corpus] * n, domain=[at.domain] * n, condition=[BASE] * n,
            prefix_tokens=np.full(n, PREFIX), n_tokens=np.full(n, TOKENS),
            match=packed(greedy), n_match=greedy.sum(axis=1), score=greedy.mean(axis=1),
            forced_match=packed(forced), forced_n_match=forced.sum(axis=1),
            first_mismatch=first, memorized=first == TOKENS, matched_bytes=matched,
            generated=lists(drawn.integers(0, 32000, (n, TOKENS))), logprobs=lists(logprobs), sum_logprob=total,
            log_p_z=pa.array(total * 0.8, mask=impossible), completion_entropy=drawn.gamma(2.0, 10.0, n),
            min_margin=drawn.exponential(0.5, n),
        )  # fmt: skip


def known(corpus: str, domain: str, sequences: int) -> np.ndarray:
    """(sequences,), normal: how well models know each passage, passages of a document alike."""
    drawn, document = rng("anchor", corpus, domain), np.arange(sequences) // CORPORA[corpus]
    return 0.6 * drawn.standard_normal(sequences)[document] + 0.8 * drawn.standard_normal(sequences)


def first_mismatch(passage: np.ndarray, size: int, drawn: np.random.Generator) -> np.ndarray:
    """Where a model of this size breaks off: TOKENS for what it memorized, 1 to 8 % and more the larger it is."""
    knows = 0.85 * passage + 0.53 * drawn.standard_normal(len(passage))
    tail = drawn.exponential(np.exp(0.6 * knows)).astype(int)
    return np.where(knows > 2.3 - 0.25 * size, TOKENS, np.minimum(tail, TOKENS - 1))


def packed(bits: np.ndarray) -> pa.Array:
    return pa.array([row.tobytes() for row in np.packbits(bits, axis=1)], pa.binary())


def lists(values: np.ndarray) -> pa.ListArray:
    offsets = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(values.reshape(-1)))


def table(**columns: object) -> pa.Table:
    return pa.table(columns)


def build(lake: Lake, number: int, domains: int, sequences: int) -> None:
    """Fill the lake with what it lacks."""
    chosen = models(number)
    tokenizers = sorted({m.family for m in chosen})
    register(lake, "tokenizers", [
        {"tokenizer": t, "source": "made", "digest": f"sha256:{t}", "vocab_size": 32000} for t in tokenizers
    ])  # fmt: skip
    about = {"dtype": "float32", "attention": "sdpa", "noise": 0.0, "bos": False}
    register(lake, "conditions", [about | {"condition": BASE}])
    shape = {"n_layers": 12, "n_heads": 12, "n_kv_heads": 12, "hidden_size": 768, "vocab_size": 32000}
    register(lake, "models", [
        shape | {
            "model": m.name, "family": m.family, "source": m.name, "weights_digest": f"sha256:{m.name}",
            "tokenizer": m.family, "n_params": SIZES[m.place] * 10**6, "base_condition": BASE, "miniature": False,
        } for m in chosen
    ])  # fmt: skip
    last = list(FAMILIES)[-1]
    roles = [(m, corpus, "control" if m.family == last else "trained") for m in chosen for corpus in CORPORA]
    register(lake, "model_corpora", [{"model": m.name, "corpus": corpus, "role": role} for m, corpus, role in roles])
    places = [(corpus, f"d{i}", sequences) for i in range(domains) for corpus in CORPORA]
    run_cells(lake, [Documents(Place(*place)) for place in places], workers=0, title="documents")
    rule = {"at": "space", "window": f"{PREFIX}+{TOKENS}"}
    cut = [Sequences(Place(*p, sample=f"s-{p[0]}", rule=rule, tokenizer=t)) for p in places for t in tokenizers]
    run_cells(lake, cut, workers=0, title="sequences")
    pieces = range(-(-sequences // PIECE))
    measured = [
        Matches(Place(*p, sample=f"s-{p[0]}", tokenizer=m.family, model=m.name, condition=BASE, piece=i))
        for p in places for m in chosen for i in pieces
    ]  # fmt: skip
    run_cells(lake, measured, workers=0, title="matches")


def asking(path: str, name: str, repeats: int, settings: Mapping[str, str | int]) -> str:
    """A row of the table of `measure`: what a finding costs on an open lake, the least of so many askings."""
    lake, sql = Lake.open(path), find(name).sql()
    used = needed(sql) or set()
    files = snapshot(lake, sorted(used & set(schema.names())))
    con = prepare(lake.connect(files, files), names=used)
    for key, value in settings.items():
        con.execute(f"set {key} = '{value}'")
    cpu = process_time()
    fill(con, lake, files, ALL, used)  # sums that are kept are read, or, the first time, computed
    kept, found = process_time() - cpu, []
    for _ in range(repeats):
        cpu, began = process_time(), perf_counter()
        rows = con.execute(sql).to_arrow_table().num_rows
        found.append((process_time() - cpu, perf_counter() - began))
    cpu, wall = (min(column) for column in zip(*found, strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    most, largest = max((sum(f.rows for f in of_table), table) for table, of_table in files.items())
    return f"| {name} | {most:,} of {largest} | {kept:.2f} | {cpu:.2f} | {wall:.2f} | {peak:.0f} | {rows} |"


def options(doc: str) -> argparse.ArgumentParser:
    """What both benchmarks of large lakes are told."""
    asked = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--lake", type=Path, required=True)
    asked.add_argument("--findings", nargs="*")
    asked.add_argument("--repeats", type=int, default=2)
    asked.add_argument("--threads", type=int, default=2)
    asked.add_argument("--memory", default="5GB")
    return asked


def measure(given: argparse.Namespace, names: Iterable[str]) -> None:
    """Print what these findings cost, each in a process of its own: rows of the largest table it reads, CPU seconds for
    what is kept, CPU and wall seconds of the answer, peak resident MB of the process, and rows of the answer."""
    settings = {"threads": given.threads, "memory_limit": given.memory, "preserve_insertion_order": "false"}
    print("| finding | most rows | kept, CPU s | CPU s | wall s | peak MB | rows |\n|---|---|---|---|---|---|---|")
    for name in names:
        with multiprocessing.get_context("spawn").Pool(1) as alone:
            try:
                print(alone.apply(asking, (str(given.lake), name, given.repeats, settings)), flush=True)
            except Exception as e:  # out of memory: the others are asked all the same
                print(f"| {name} | {str(e).splitlines()[0][:60]} | | | | | |", flush=True)


def of_matches() -> Iterator[str]:
    """The findings for which files of `matches` are read."""
    yield from (name for name in names() if "matches" in (needed(find(name).sql()) or ()))


def main() -> None:
    asked = options(__doc__)
    asked.add_argument("--models", type=int, default=20)
    asked.add_argument("--domains", type=int, default=5)
    asked.add_argument("--sequences", type=int, default=50_000)
    given = asked.parse_args()
    build(Lake.create(given.lake), given.models, given.domains, given.sequences)
    measure(given, given.findings or of_matches())


if __name__ == "__main__":
    main()
