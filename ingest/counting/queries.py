"""Which sequences are to be counted under which tokenizer, and their windows under it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from memlake.ingest.sampling.windows import Encoder, Tokens
from memlake.warehouse.errors import BadInput, UnknownName
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import ModelSpec, find
from memlake.warehouse.models.tokenizer import Tokenizer, load_tokenizer, register_tokenizer

from .ngrams import Wanted, from_lengths, wanted

OWN, BYTES = "own", "bytes"
BATCH = 256  # documents tokenized at once
NO_TOKENS, NO_DOCUMENT = "imported without tokens", "imported without a document"
CHANGED, NONE_WITHIN = "text changed by the tokenizer", "no whole token within the window"


@dataclass(frozen=True)
class Way:
    """One way of counting. name: `counted_tokenizer`. tokenizer: None for bytes. of: the tokenizers whose sequences
    are counted so."""

    name: str
    tokenizer: Tokenizer | None
    of: tuple[str, ...]

    @property
    def digest(self) -> str:
        return self.tokenizer.digest if self.tokenizer else BYTES


@dataclass(frozen=True)
class Selection:
    """The n-grams to count in one way. skipped: sequences left out, by reason. clipped: sequences of which a token lies
    across an edge of the window or of the continuation, and is left out there."""

    wanted: Wanted
    skipped: Counter[str]
    clipped: int


def ways(
    lake: Lake, corpus: str, domains: Sequence[str], models: Sequence[str], tokenizers: Sequence[str]
) -> list[Way]:
    """The ways in which the sequences of a corpus are counted, by name. tokenizers: 'own', 'bytes', or what `--model`
    takes. Registers the tokenizers. Raises `UnknownName`, `BadInput`."""
    names = _names(lake, corpus, domains)
    asked = {}
    for tokenizer in (load_tokenizer(find(lake, m)) for m in models):
        asked[register_tokenizer(lake, tokenizer)] = tokenizer
    if asked:
        names = [n for n in names if n in asked]
        if not names:
            raise BadInput(
                f"corpus {corpus} has no sequences under {', '.join(asked)}: run `memlake ingest sample` first"
            )
    found: dict[str, Way] = {}

    def add(name: str, tokenizer: Tokenizer | None, of: Sequence[str]) -> None:
        before = found[name].of if name in found else ()
        found[name] = Way(name, tokenizer, tuple(sorted({*before, *of})))

    for text in tokenizers:
        if text == OWN:
            for name in names:
                add(name, asked.get(name) or _own(lake, name), [name])
        elif text == BYTES:
            add(BYTES, None, names)
        else:
            tokenizer = load_tokenizer(_named(lake, text))
            Encoder(tokenizer)  # refuses one whose bytes are not known
            add(register_tokenizer(lake, tokenizer), tokenizer, names)
    return [found[name] for name in sorted(found)]


def _named(lake: Lake, text: str) -> ModelSpec:
    try:
        return find(lake, text)
    except UnknownName as e:
        raise UnknownName("tokenizer", text, {OWN, BYTES, *e.known}) from e


def select(lake: Lake, way: Way, corpus: str, domains: Sequence[str], counted_corpus: str, complete: bool) -> Selection:
    """The n-grams of the sequences of a corpus that have no count yet in this way, in this counted corpus."""
    with lake.connect(["sequences", "documents", "ngram_counts"]) as con:
        found = con.execute(
            "select s.sequence_id, s.document_id, s.corpus, s.domain, s.tokenizer, s.tokens, s.n_tokens, s.byte_start,"
            " s.byte_cut, s.byte_end, coalesce(d.text_hash, -1) as text_hash"
            " from stored.sequences s left join stored.documents d using (document_id)"
            " where s.corpus = $corpus and (len($domains) = 0 or list_contains($domains, s.domain))"
            " and list_contains($of, s.tokenizer) and s.sequence_id not in (select sequence_id from stored.ngram_counts"
            " where counted_corpus = $counted and counted_tokenizer = $way and complete = $complete)"
            " order by s.sequence_id",
            {
                "corpus": corpus,
                "domains": list(domains),
                "of": list(way.of),
                "counted": counted_corpus,
                "way": way.name,
                "complete": complete,
            },
        ).to_arrow_table()
    own = np.array(found["tokenizer"]) == way.name
    skipped: Counter[str] = Counter()
    parts = [_own_windows(found, own, skipped)]
    with_document = ~own & found["document_id"].is_valid().to_numpy()
    skipped[NO_DOCUMENT] = int((~own & ~with_document).sum())
    clipped = 0
    if with_document.any():
        part, clipped = _document_windows(lake, found, np.flatnonzero(with_document), way, skipped)
        parts.append(part)
    return Selection(_together(found, parts), +skipped, clipped)


@dataclass(frozen=True)
class _Windows:
    """Windows one after the other. rows: which rows of the table they are; cuts: tokens before the continuation."""

    rows: np.ndarray
    tokens: np.ndarray
    lengths: np.ndarray
    cuts: np.ndarray


def _own_windows(found: pa.Table, own: np.ndarray, skipped: Counter[str]) -> _Windows:
    """Sequences under their own tokenizer: the tokens as they stand."""
    there = found.filter(pa.array(own))
    lengths = there["tokens"].combine_chunks().value_lengths().to_numpy()
    some = lengths > 0
    skipped[NO_TOKENS] += int((~some).sum())
    tokens = there["tokens"].combine_chunks().flatten().to_numpy()
    cuts = lengths - there["n_tokens"].to_numpy()
    return _Windows(np.flatnonzero(own)[some], tokens, lengths[some], cuts[some])


def _document_windows(
    lake: Lake, found: pa.Table, rows: np.ndarray, way: Way, skipped: Counter[str]
) -> tuple[_Windows, int]:
    """The other sequences: of the tokens of their whole document those that lie within the window's bytes. Also how
    many sequences lose a token at an edge."""
    table = found.select(["document_id", "byte_start", "byte_cut", "byte_end"]).take(pa.array(rows))
    order = np.argsort(table["document_id"].to_numpy(), kind="stable")
    rows = rows[order]
    ids, start, cut, end = (column.to_numpy()[order] for column in table.columns)
    taken, pieces, cuts, clipped = [], [], [], 0
    for document_id, tokens in _tokenized(lake, np.unique(ids), way):
        first, last = np.searchsorted(ids, document_id), np.searchsorted(ids, document_id, side="right")
        if tokens is None:
            skipped[CHANGED] += int(last - first)
            continue
        starts = np.append(np.zeros(1, np.int64), tokens.ends[:-1])[: len(tokens.ends)]
        for i in range(first, last):
            a, b = np.searchsorted(starts, start[i]), np.searchsorted(tokens.ends, end[i], side="right")
            if a >= b:
                skipped[NONE_WITHIN] += 1
                continue
            middle = min(max(np.searchsorted(starts, cut[i]), a), b)
            clipped += starts[a] != start[i] or tokens.ends[b - 1] != end[i] or middle == b or starts[middle] != cut[i]
            taken.append(rows[i])
            pieces.append(tokens.ids[a:b].astype(np.int32))
            cuts.append(middle - a)
    together = np.concatenate([np.empty(0, np.int32), *pieces])
    lengths = np.array([len(p) for p in pieces], np.int64)
    return _Windows(np.array(taken, np.int64), together, lengths, np.array(cuts, np.int64)), int(clipped)


def _tokenized(lake: Lake, ids: np.ndarray, way: Way) -> Iterator[tuple[int, Tokens | None]]:
    """The documents `ids`, whole, with their tokens; None where the tokenizer changes their text."""
    encode = Encoder(way.tokenizer).encode if way.tokenizer else _bytes
    with lake.connect(["documents"]) as con:
        con.register("asked", pa.table({"document_id": ids}))
        reader = con.execute(
            "select document_id, text from stored.documents where document_id in (select document_id from asked)"
        ).to_arrow_reader(BATCH)
        for batch in reader:
            found, texts = (column.to_pylist() for column in batch.columns)
            yield from zip(found, encode(texts), strict=True)


def _bytes(texts: Sequence[str]) -> Iterator[Tokens]:
    for text in texts:
        data = np.frombuffer(text.encode(), np.uint8)
        yield Tokens(data, np.arange(1, len(data) + 1))


def _together(found: pa.Table, parts: Sequence[_Windows]) -> Wanted:
    """The windows of all parts in the order of their rows."""
    rows, tokens, lengths, cuts = (
        np.concatenate([getattr(p, field) for p in parts]) for field in ("rows", "tokens", "lengths", "cuts")
    )
    order = np.argsort(rows)
    offsets = from_lengths(lengths[order])
    gather = np.repeat(from_lengths(lengths)[:-1][order] - offsets[:-1], lengths[order]) + np.arange(len(tokens))
    table = found.take(pa.array(rows[order]))
    names = [table[c].to_pylist() for c in ("corpus", "domain", "tokenizer")]
    places, place = np.unique(np.array(names, dtype=str).T, axis=0, return_inverse=True)
    return wanted(
        table["sequence_id"].to_numpy(),
        place.astype(np.int32),
        places,
        tokens[gather],
        offsets,
        offsets[:-1] + cuts[order],
        table["text_hash"].to_numpy(),
    )


def _names(lake: Lake, corpus: str, domains: Sequence[str]) -> list[str]:
    """The tokenizers that the sequences of a corpus have; raises `UnknownName` for a corpus or domain without any."""
    with lake.connect(["sequences"]) as con:
        rows = con.sql("select distinct corpus, domain, tokenizer from stored.sequences").fetchall()
    if corpus not in {c for c, *_ in rows}:
        raise UnknownName("corpus with sequences", corpus, {c for c, *_ in rows})
    known = {d for c, d, _ in rows if c == corpus}
    for domain in domains:
        if domain not in known:
            raise UnknownName("domain", domain, known)
    return sorted({t for c, d, t in rows if c == corpus and (not domains or d in domains)})


def _own(lake: Lake, name: str) -> Tokenizer:
    """The tokenizer of this name in the lake; raises `BadInput` where it is not to be had any more."""
    with lake.connect(["tokenizers"]) as con:
        row = con.execute("select source, digest from stored.tokenizers where tokenizer = ?", [name]).fetchone()
    hint = "name a model of it with --model"
    if row is None:
        raise BadInput(f"the lake has sequences under {name}, but not where that tokenizer lies: {hint}")
    path = lake.absolute(row[0])
    tokenizer = load_tokenizer(ModelSpec(name, str(path) if path.is_dir() else row[0], is_folder=path.is_dir()))
    if tokenizer.digest != row[1]:
        raise BadInput(f"the tokenizer of {row[0]} is not {name} any more: {hint}")
    return tokenizer
