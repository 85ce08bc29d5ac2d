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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from memlake.ingest.files import readers
from memlake.ingest.names import name_problem
from memlake.ingest.results import match_vectors as vectors
from memlake.ingest.results.base import ResultSource
from memlake.ingest.results.reading import About, ResultFile
from memlake.ingest.source import Reject
from memlake.warehouse.errors import BadInput
from memlake.warehouse.identity import hash63
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
        about = file.about
        assert about is not None
        seen, good = set[int](), list[tuple[int, list[int]]]()
        for record in readers.records(file.path, ("index", "tokens"), LONGEST):
            index, tokens = record.fields.get("index"), record.fields.get("tokens")
            problem = record.problem or _problem(index, tokens, about.vocabulary)
            if problem or index is None or tokens is None or index in seen:
                yield Reject(file.name, record.position, problem or "index is there twice", record.head)
                continue
            seen.add(index)
            good.append((index, tokens))
            if len(good) == BATCH:
                yield _piece(file.path, about, good)
                good = []
        if good:
            yield _piece(file.path, about, good)

    def identify(self, piece: pa.Table, tokenizers: Sequence[str], known: Mapping[int, int | None]) -> list[int]:
        """An id of all that says which sequence it is. With its tokens: lists that disagree on an index stay apart."""
        names = ("corpus", "domain", "sequence_id", "tokens")
        rows = zip(tokenizers, *(piece[name].to_pylist() for name in names), strict=True)
        return [
            hash63("import", corpus, tokenizer, domain, index, " ".join(map(str, tokens)))
            for tokenizer, corpus, domain, index, tokens in rows
        ]


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


def _piece(path: str, about: About, rows: Sequence[tuple[int, list[int]]]) -> pa.Table:
    n = len(rows)
    columns: dict[str, list[Any]] = {
        "model": [about.model] * n,
        "corpus": [about.corpus] * n,
        "domain": [about.domain] * n,
        "tokenizer": [about.tokenizer] * n,
        "sequence_id": [str(index) for index, _ in rows],
        "tokens": [tokens for _, tokens in rows],
        "prefix_tokens": [PREFIX] * n,
        "n_tokens": [CONTINUATION] * n,
        "match": [b"\xff" * (CONTINUATION // 8)] * n,
    }
    return vectors.typed(Path(path), columns, 0)
