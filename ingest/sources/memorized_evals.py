"""EleutherAI's lists of what the Pythia models memorized (Biderman et al. 2023, arXiv 2304.11158).

Parquet files as published (dataset pythia-memorized-evals): columns `index` (of the training sequence) and `tokens`
(its first 64: a packed row of training has 2,049, and without the packed corpus these windows cannot be had elsewhere).

A sequence is listed because greedy decoding gave its second 32 tokens for the first 32, so every row matches: rates on
this corpus are 1 by selection, and it must not be mixed with a sample. It is there to be measured again, on the exact
checkpoint, decoded as for the lists: `memlake compute run scoring --corpus memorized_evals --model M --dtype float16
--no-eos`.

The lists are of the first trainings (`-v0`); those that replaced them memorized other sequences. A file is named by its
list: duped.1.4b is of pythia-1.4b-v0, deduped.1.4b of pythia-1.4b-deduped-v0, duped.12b.23000 of
pythia-12b-v0@step23000. The first part is the domain: equal indexes of the two are other sequences. A list called
otherwise needs --model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from memlake.ingest.files import readers
from memlake.ingest.files.records import Record
from memlake.ingest.names import name_problem
from memlake.ingest.results import match_vectors as vectors
from memlake.ingest.results.base import ResultSource
from memlake.ingest.results.reading import About, ResultFile
from memlake.ingest.source import Reject
from memlake.warehouse.errors import BadInput
from memlake.warehouse.identity import hash63_each
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import find
from memlake.warehouse.models.tokenizer import load_tokenizer, register_tokenizer
from memlake.warehouse.options import option

CORPUS = "memorized_evals"
PREFIX, CONTINUATION = 32, 32  # tokens
BATCH = 10_000  # rows
LONGEST = 1 << 16  # bytes of a line of JSON
VOCABULARY = 50_277  # tokens of GPT-NeoX-20B's tokenizer, which all Pythia models share
DOMAIN = re.compile(r"(?<![\w.])(duped|deduped)\.")
# data/duped.1.4b-00000-of-00002-547b2b00c0f47827.parquet, default/duped.1.4b/0000.parquet
LIST = re.compile(DOMAIN.pattern + r"(\d+(?:\.\d+)?[mb])(?:\.(\d+))?(?=/|-\d{5}-of-\d{5}|\.parquet$)")


@dataclass(frozen=True)
class Source(ResultSource):
    SUFFIXES = readers.PARQUET

    path: tuple[str, ...] = option(
        (), "Parquet file, folder of them, or URL: hf://datasets/EleutherAI/pythia-memorized-evals/data"
    )
    model: str | None = option(None, "model whose list it is, where the file's name does not tell")
    domain: str = option("listed", "domain of a list, where the file's name does not tell")
    family: str | None = option(None, "family of a model that is neither in the lake nor in the registry")
    params: int | None = option(None, "parameters of such a model")

    def files(self, lake: Lake, corpus: str | None) -> list[ResultFile]:
        corpus = corpus or CORPUS
        for name, what in ((corpus, "--corpus"), (self.domain, "--domain")):
            if problem := name_problem(name, what):
                raise BadInput(problem)
        found = self.find()
        given = _checkpoint(lake, self.model) if self.model else None
        return [replace(file, about=self._about(file.path, corpus, given)) for file in found]

    def _about(self, path: str, corpus: str, given: Checkpoint | None) -> About:
        """Domain and model by a file's name, or its folder's. given: what --model says."""
        place = "/".join(path.split("/")[-2:])
        domains, lists = DOMAIN.findall(place), LIST.findall(place)
        if not lists and not given:
            raise BadInput(
                f"{path} is not called as a list is (duped.1.4b, deduped.1.4b): say whose it is with --model"
            )
        domain, size, step = lists[-1] if lists else (domains[-1] if domains else self.domain, "", "")
        if given:
            return About(given.model, corpus, domain, given.vocabulary, given.tokenizer)
        model = f"pythia-{size}{'-deduped' if domain == 'deduped' else ''}-v0{'@step' if step else ''}{step}"
        return About(model, corpus, domain, VOCABULARY)

    def read(self, file: ResultFile) -> Iterator[pa.Table | Reject]:
        about, seen = file.about, Seen()
        assert about is not None
        for found in readers.parquet_batches(file.path, ("index", "tokens"), BATCH):
            if isinstance(found, Record):
                yield Reject(file.name, found.position, str(found.problem), found.head)
                continue
            position, batch = found
            good = _sound(batch, about.vocabulary)
            good[good] = seen.first(batch.filter(pa.array(good)))
            for i in np.flatnonzero(~good):
                for record in readers.batch_records(batch.slice(i, 1), position + int(i)):
                    problem = _problem(record.fields.get("index"), record.fields.get("tokens"), about.vocabulary)
                    yield Reject(file.name, record.position, problem or "index is there twice", record.head)
            if good.any():
                yield _piece(file.path, about, batch.filter(pa.array(good)))

    def made_ids(self, piece: pa.Table, tokenizers: pa.Array) -> pa.Array:
        """An id of all that says which sequence it is. With its tokens: lists that disagree on an index stay apart."""
        corpora, domains, indexes, tokens = (
            piece[name].combine_chunks() for name in ("corpus", "domain", "sequence_id", "tokens")
        )
        return hash63_each("import", corpora, tokenizers, domains, indexes, _spaced(tokens))


class Seen:
    """The indexes that were met. One is a bit of a field of which only pages that are touched take memory: a training
    has some 10**8 sequences. Larger numbers, which no index is, are kept by themselves."""

    FIELD = 1 << 33

    def __init__(self) -> None:
        self._field, self._larger = np.zeros(self.FIELD // 8, dtype=np.uint8), set[int]()

    def first(self, sound: pa.RecordBatch) -> np.ndarray:
        """Of sound records those whose index was not met before."""
        if not sound.num_rows:
            return np.zeros(0, dtype=bool)
        numbers = sound["index"].cast(pa.uint64()).to_numpy(zero_copy_only=False)
        first = np.zeros(len(numbers), dtype=bool)
        first[np.unique(numbers, return_index=True)[1]] = True
        small = numbers < self.FIELD
        places, bits = numbers[small] >> 3, np.uint8(1) << (numbers[small] & 7).astype(np.uint8)
        first[small] &= self._field[places] & bits == 0
        np.bitwise_or.at(self._field, places, bits)
        larger = numbers[~small].tolist()
        first[~small] &= np.array([n not in self._larger for n in larger], dtype=bool)
        self._larger.update(larger)
        return first


@dataclass(frozen=True)
class Checkpoint:
    """What --model says of a list: the model's name, the size of its vocabulary, and its tokenizer's name in the lake
    where it is not that of the Pythia models."""

    model: str
    vocabulary: int = VOCABULARY
    tokenizer: str | None = None


def _checkpoint(lake: Lake, text: str) -> Checkpoint:
    spec = find(lake, text)
    if spec.family == "pythia" and not spec.is_folder:
        return Checkpoint(spec.name)
    tokenizer = load_tokenizer(spec)
    return Checkpoint(spec.name, tokenizer.vocab_size, register_tokenizer(lake, tokenizer))


def _sound(batch: pa.RecordBatch, vocabulary: int) -> np.ndarray:
    """Which records `_problem` has nothing to say of."""
    n = batch.num_rows
    index, tokens = (batch[name] if name in batch.schema.names else pa.nulls(n) for name in ("index", "tokens"))
    lists = pa.types.is_list(tokens.type) and pa.types.is_integer(tokens.type.value_type)
    if not lists or not pa.types.is_integer(index.type):
        pairs = zip(index.to_pylist(), tokens.to_pylist(), strict=True)
        return np.array([_problem(i, t, vocabulary) is None for i, t in pairs], dtype=bool)
    whole = pc.and_(pc.greater_equal(index, 0), pc.equal(pc.list_value_length(tokens), PREFIX + CONTINUATION))
    sound = pc.fill_null(whole, False).to_numpy(zero_copy_only=False).copy()
    values = tokens.filter(pa.array(sound)).flatten()
    inside = pc.and_(pc.greater_equal(values, 0), pc.less(values, vocabulary))
    of_record = pc.fill_null(inside, False).to_numpy(zero_copy_only=False).reshape(-1, PREFIX + CONTINUATION)
    sound[sound] = of_record.all(axis=1)
    return sound


def _problem(index: object, tokens: object, vocabulary: int) -> str | None:
    """Why a record is not taken."""
    if type(index) is not int or index < 0:
        return "index is not a number from 0 on"
    if not isinstance(tokens, list) or any(type(token) is not int for token in tokens):
        return "tokens are not integers"
    if len(tokens) != PREFIX + CONTINUATION:
        return f"not {PREFIX + CONTINUATION} tokens"
    if min(tokens) < 0:
        return "a token id is negative"
    return f"a token id is beyond the vocabulary ({vocabulary})" if max(tokens) >= vocabulary else None


def _piece(path: str, about: About, records: pa.RecordBatch) -> pa.Table:
    n = records.num_rows

    def same(value: object, kind: pa.DataType) -> pa.Array:
        return pa.repeat(pa.scalar(value, kind), n)

    columns = {
        "model": same(about.model, pa.string()),
        "corpus": same(about.corpus, pa.string()),
        "domain": same(about.domain, pa.string()),
        "tokenizer": same(about.tokenizer, pa.string()),
        "sequence_id": records["index"],
        "tokens": records["tokens"],
        "prefix_tokens": same(PREFIX, pa.int64()),
        "n_tokens": same(CONTINUATION, pa.int64()),
        "match": same(b"\xff" * (CONTINUATION // 8), pa.binary()),
    }
    return vectors.typed(Path(path), columns, 0)


def _spaced(tokens: pa.Array) -> pa.Array:
    """The tokens of each list as text, with spaces between them."""
    ids = tokens.flatten()
    words = _words(1 << int(pc.max(ids).as_py()).bit_length()).take(ids)
    ends = np.frombuffer(words.buffers()[1], np.int32)[: len(ids) + 1]
    sizes = pc.list_value_length(tokens).to_numpy()
    lines = ends[np.concatenate([[0], np.cumsum(sizes)])]
    text = pa.Array.from_buffers(pa.binary(), len(tokens), [None, pa.py_buffer(lines), words.buffers()[2]])
    return pc.binary_slice(text, 0, -1)


@cache
def _words(n: int) -> pa.Array:
    """The first numbers, each with a space behind it."""
    return pa.array([f"{i} " for i in range(n)])
