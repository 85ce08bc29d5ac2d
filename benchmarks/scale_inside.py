"""What findings about the inside of models cost over a large lake: heads, layers, blocks, noise, and counts of n-grams.

    python -m benchmarks.scale_inside --lake FOLDER [--share 1] [--models NAME ...] [--findings NAME ...]

The lake is made where there is none: 20 models of 7 families, 5 domains of a corpus they were trained on and one of a
corpus they were not, documents of three sequences each, in large cells, all through publication. At `--share 1` it
holds 50 million rows of `head_deltas`, 10 million of `layer_tokens` and 1 million of `ngram_counts`; fewer `--models`
make it smaller the other way. Findings are asked as by `benchmarks.scale`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Self
from zlib import crc32

import numpy as np
import pyarrow as pa

from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.register import register
from memlake.warehouse.work.cells import Cell, CellRows, Settings
from memlake.warehouse.work.runner import run_cells

from .scale import ids, lists, measure, options, packed, table

SHAPES = {  # blocks and heads a block of each family's models
    "pythia": ((6, 8), (12, 12), (24, 16), (24, 16), (32, 32)),
    "gpt-neo": ((12, 12), (24, 16), (24, 16)),
    "openllama": ((26, 16), (26, 32), (32, 32)),
    "starcoder": ((12, 12), (24, 16), (24, 24)),
    "olmo": ((16, 16), (32, 32)),
    "olmo2": ((16, 16), (32, 32)),
    "olmo3": ((16, 16), (32, 32)),
}
TOKENIZERS = ("neox", "gpt2", "llama", "starcoder")
PLACES = (("mine", "code"), ("mine", "law"), ("mine", "maths"), ("mine", "prose"), ("mine", "web"), ("apart", "prose"))
MIXED = ("pythia-0", "gpt-neo-0", "openllama-0", "starcoder-0", "olmo-0")  # heads of whatever was scored
WINDOW = 32  # tokens of the prefix, and of the continuation
BASE, NOISE, SEEDS = "float32-sdpa", (0.1, 0.5), (1, 2)
HEAD_ROWS, LAYER_ROWS, COUNT_ROWS = 50_000_000, 10_000_000, 1_000_000
OF_BLOCKS, OF_NOISE = 300, 500  # sequences a cell, at --share 1
FINDINGS = (
    *("head_importance", "head_overlap", "head_reliability", "head_screening", "universal_heads", "layer_profile"),
    *("profile_similarity", "family_similarity", "layer_probability", "layer_agreement", "decoding_depth"),
    *("short_circuit_tradeoff", "short_circuit_quartiles", "output_difference"),
    *("noise_rate", "noise_structural_share", "noise_recovery"),
    *("dose_response", "frequency_by_bucket", "tokenizer_mismatch"),
)


@dataclass(frozen=True)
class Model:
    name: str
    family: str
    layers: int
    heads: int

    @property
    def tokenizer(self) -> str:
        return TOKENIZERS[list(SHAPES).index(self.family) % len(TOKENIZERS)]


MODELS = {
    f"{family}-{i}": Model(f"{family}-{i}", family, *shape)
    for family, shapes in SHAPES.items()
    for i, shape in enumerate(shapes)
}


@dataclass(frozen=True)
class Size:
    """How many sequences a cell has: of which heads were taken away, layers read, texts counted, ..."""

    share: float

    def _each(self, rows: float, least: int = 60) -> int:
        return max(least, round(self.share * rows))

    @property
    def heads(self) -> int:
        return self._each(HEAD_ROWS / (5 * sum(m.layers * m.heads for m in MODELS.values())))

    @property
    def layers(self) -> int:
        return self._each(LAYER_ROWS / (5 * len(MODELS) * WINDOW))

    @property
    def scored(self) -> int:
        return 3 * max(self.heads, self.layers)

    @property
    def counted(self) -> int:
        return min(self.scored, self._each(COUNT_ROWS / (5 * len(TOKENIZERS) * len(SPANS) * 2)))

    @property
    def blocks(self) -> int:
        return self._each(OF_BLOCKS)

    @property
    def noisy(self) -> int:
        return self._each(OF_NOISE)


@dataclass(frozen=True)
class Made(Settings):
    """What a cell says of itself."""

    said: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return dict(self.said)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        return cls(dict(stored))


@dataclass(frozen=True)
class LargeCell(Cell):
    """Made-up rows of one place: see the functions of `TABLES`."""

    settings: Made
    kind: str
    size: Size

    @property
    def experiment(self) -> str:
        return self.kind

    @property
    def tables(self) -> tuple[str, ...]:
        return TABLES[self.kind][1]

    def rows(self, lake: Lake) -> CellRows:
        said = self.settings.said
        for _, domain in places(said["corpus"]):
            if said.get("domain", domain) == domain:
                yield from TABLES[self.kind][0]({**said, "domain": domain}, self.size)


def cells(size: Size, models: Collection[str] = MODELS) -> list[LargeCell]:
    """All of the lake, each after what it stands on."""
    found = []

    def add(kind: str, **said: Any) -> None:
        found.append(LargeCell(Made(said), kind, size))

    of_sample = {"sample": "s", "rule": {"at": "space", "window": f"{WINDOW}+{WINDOW}"}}
    for corpus in ("mine", "apart"):
        add("ingest", corpus=corpus)
        for tokenizer in TOKENIZERS:
            add("sample", corpus=corpus, tokenizer=tokenizer, **of_sample)
    for tokenizer in TOKENIZERS:
        add("count", corpus="mine", tokenizer=tokenizer)
    for name in models:
        add("training", model=name, corpus="mine")
        for corpus in ("mine", "apart"):
            of = {"model": name, "corpus": corpus, "condition": BASE, "sample": "s"}
            add("scoring", **of)
            add("short_circuit", **of)
        of = {"model": name, "corpus": "mine", "condition": BASE, "sample": "s"}
        for noise, seed in product(NOISE, SEEDS):
            add("noise", **of | {"condition": noisy(noise, seed)})
        for _, domain in places("mine"):
            add("head_ablation", **of, domain=domain, method="peer_mean",
                among="all" if name in MIXED else "memorized")  # fmt: skip
            add("layer_tokens", **of, domain=domain)
    return found


def places(corpus: str) -> list[tuple[str, str]]:
    return [place for place in PLACES if place[0] == corpus]


def noisy(noise: float, seed: int) -> str:
    return f"{BASE}-noise{noise:g}-seed{seed}"


def drawing(*of: object) -> np.random.Generator:
    """Always the same numbers for the same thing."""
    return np.random.default_rng(crc32("/".join(map(str, of)).encode()))


def sequence_ids(place: tuple[str, str], tokenizer: str, n: int) -> np.ndarray:
    return ids("sequence", *place, tokenizer, n=n)


def document_ids(place: tuple[str, str], n: int) -> np.ndarray:
    """Of three sequences each; n: sequences."""
    return ids("document", *place, n=-(-n // 3))


def repeated(said: Mapping[str, Any], n: int, *names: str) -> dict[str, pa.Array]:
    return {name: pa.repeat(said[name], n) for name in names}


PLACE = ("model", "corpus", "domain", "condition")


def texts(said: Mapping[str, Any], size: Size) -> CellRows:
    documents = document_ids((said["corpus"], said["domain"]), size.scored)
    n = len(documents)
    numbers = np.arange(n) - (np.arange(n) % 50 == 1)  # one in fifty is a copy of the one before
    words = [f"{said['corpus']} {said['domain']} {i:06}" for i in numbers]
    hashes = ids("text", said["corpus"], said["domain"], n=n)[numbers]
    yield "documents", table(
        **repeated(said, n, "corpus", "domain"), document_id=documents, text=words, text_hash=hashes,
        n_bytes=[len(word) for word in words], source=pa.repeat("made.up", n), position=np.arange(n),
    )  # fmt: skip
    total = sum(map(len, words))
    kind = "structural" if said["domain"] in ("code", "maths") else "free_text"
    counts = {"class": kind, "n_documents": n, "n_bytes": total, "kept_documents": n}
    yield "domains", pa.Table.from_pylist([{name: said[name] for name in ("corpus", "domain")} | counts])


def sequences(said: Mapping[str, Any], size: Size) -> CellRows:
    place, n = (said["corpus"], said["domain"]), size.scored
    ends = np.tile(4 * np.arange(1, 2 * WINDOW + 1, dtype=np.int32), (n, 1))
    tokens = drawing("tokens", *place).integers(0, 2000, ends.shape, dtype=np.int32)
    yield "sequences", table(
        **repeated(said, n, "corpus", "domain", "tokenizer", "sample"),
        sequence_id=sequence_ids(place, said["tokenizer"], n), anchor_id=ids("anchor", *place, n=n),
        document_id=np.repeat(document_ids(place, n), 3)[:n], shard=np.zeros(n, np.int64), rank=np.arange(n),
        anchor=np.full(n, 4 * WINDOW), byte_cut=np.full(n, 4 * WINDOW), byte_start=np.zeros(n, np.int64),
        byte_end=np.full(n, 8 * WINDOW), tokens=lists(tokens), byte_ends=lists(ends),
        prefix_tokens=np.full(n, WINDOW), n_tokens=np.full(n, WINDOW),
    )  # fmt: skip


def known(said: Mapping[str, Any], size: Size) -> np.ndarray:
    """Which sequences a model has memorized, bool [scored]: some in each text, or none."""
    rng, n = drawing("known", said["model"], said["corpus"], said["domain"]), size.scored
    rate = np.repeat(rng.beta(0.5, 0.7 if said["corpus"] == "mine" else 30, -(-n // 3)), 3)[:n]
    return rng.random(n) < rate


def entropies(said: Mapping[str, Any], size: Size) -> np.ndarray:
    """Of what is memorized lower ones, float64 [scored]."""
    rng = drawing("entropy", said["model"], said["corpus"], said["domain"])
    return np.where(known(said, size), 8.0, 20.0) * rng.gamma(2, 0.5, size.scored)


def match_rows(said: Mapping[str, Any], memorized: np.ndarray, at: np.ndarray, entropy: np.ndarray) -> pa.Table:
    """Rows of `matches` for the sequences at these places of the sample."""
    rng, n = drawing("match", *said.values()), len(at)
    place, model = (said["corpus"], said["domain"]), MODELS[said["model"]]
    first = np.where(memorized, WINDOW, rng.integers(0, WINDOW, n) * (rng.random(n) < 0.8))
    places = np.arange(WINDOW)
    bits = (places < first[:, None]) | (places > first[:, None]) & (rng.random((n, WINDOW)) < 0.4)
    bits &= (first > 0)[:, None] | (rng.random(n) < 0.5)[:, None]
    found, n_ids = bits.sum(1), at.max(initial=0) + 1
    return table(
        **repeated(said, n, *PLACE), sequence_id=sequence_ids(place, model.tokenizer, n_ids)[at],
        anchor_id=ids("anchor", *place, n=n_ids)[at], prefix_tokens=np.full(n, WINDOW), n_tokens=np.full(n, WINDOW),
        match=packed(bits), n_match=found, score=found / WINDOW, forced_match=packed(bits), forced_n_match=found,
        first_mismatch=first, memorized=memorized, matched_bytes=4 * first, completion_entropy=entropy,
    )  # fmt: skip


def scores(said: Mapping[str, Any], size: Size) -> CellRows:
    yield "matches", match_rows(said, known(said, size), np.arange(size.scored), entropies(said, size))


def chosen(said: Mapping[str, Any], size: Size, n: int, among: str) -> np.ndarray:
    """Places of n sequences: memorized ones, whichever come, or 'contrast', half of them memorized."""
    memorized = known(said, size)
    if among == "memorized":
        return np.flatnonzero(memorized)[:n]
    if among == "contrast":
        return np.sort(np.concatenate([np.flatnonzero(memorized)[: n // 2], np.flatnonzero(~memorized)[: n - n // 2]]))
    return np.arange(n)


def head_rows(said: Mapping[str, Any], size: Size) -> CellRows:
    m, place = MODELS[said["model"]], (said["corpus"], said["domain"])
    at = chosen(said, size, size.heads, said["among"])
    memorized = known(said, size)[at]
    n, heads = len(at), m.layers * m.heads
    of_head = drawing("heads", m.name).gamma(0.3, 1, heads) * drawing(*place).uniform(0.5, 1.5, heads)
    rng = drawing("deltas", *said.values())
    of_text = np.repeat(rng.gamma(2, 0.5, size.scored // 3 + 1), 3)[at]
    deltas = (rng.standard_normal((heads, n)) - of_head[:, None] * of_text).astype(np.float32)
    after = memorized & (deltas > -2)
    layer, head = np.divmod(np.arange(heads), m.heads)
    yield "head_deltas", table(
        **repeated(said, heads * n, *PLACE, "method"),
        sequence_id=np.tile(sequence_ids(place, m.tokenizer, size.scored)[at], heads),
        layer=np.repeat(layer, n), head=np.repeat(head, n), delta_logprob=deltas.ravel(),
        delta_n_match=np.minimum(0, np.round(deltas)).astype(np.int64).ravel(), memorized_after=after.ravel(),
    )  # fmt: skip
    wide = deltas.astype(np.float64)
    yield "head_effects", table(
        **repeated(said, heads, *PLACE, "method"), layer=layer, head=head, n=np.full(heads, n),
        mean_delta_logprob=wide.mean(1), var_delta_logprob=wide.var(1, ddof=1), n_lost=(memorized & ~after).sum(1),
    )  # fmt: skip


def layer_rows(said: Mapping[str, Any], size: Size) -> CellRows:
    m, place = MODELS[said["model"]], (said["corpus"], said["domain"])
    at = chosen(said, size, size.layers, "contrast")
    rng, n, entries = drawing("layers", *said.values()), len(at) * WINDOW, m.layers + 1
    memorized = np.repeat(known(said, size)[at], WINDOW)
    target = rng.integers(0, 2000, n)
    final = np.where(memorized | (rng.random(n) < 0.4), target, 2000 + rng.integers(0, 48, n)).astype(np.int32)
    stays = np.where(memorized, rng.binomial(entries - 1, 0.5, n), rng.binomial(entries - 1, 0.8, n))
    layer = np.arange(entries)
    top1 = rng.integers(2048, 4096, (n, entries), dtype=np.int32)
    top1 = np.where(layer >= stays[:, None], final[:, None], top1)
    rank = np.where(top1 == target[:, None], 1, 1 + rng.geometric(0.01, (n, entries))).astype(np.int32)
    rise = (layer + 1) / entries
    probability = rng.random((n, entries), np.float32) ** (2 - rise).astype(np.float32)
    entropy = (rng.random((n, entries), np.float32) * (10 * (1.05 - rise))).astype(np.float32)
    kl = (rng.random((n, entries), np.float32) * (8 * (1 - rise))).astype(np.float32)
    yield "layer_tokens", table(
        **repeated(said, n, *PLACE),
        sequence_id=np.repeat(sequence_ids(place, m.tokenizer, size.scored)[at], WINDOW),
        position=np.tile(np.arange(WINDOW), len(at)), target=target, top1=lists(top1),
        target_probability=lists(probability), target_rank=lists(rank), entropy=lists(entropy),
        kl_to_final=lists(kl), first_layer=stays,
    )  # fmt: skip


def block_rows(said: Mapping[str, Any], size: Size) -> CellRows:
    m, place = MODELS[said["model"]], (said["corpus"], said["domain"])
    among = "memorized" if said["corpus"] == "mine" else "all"
    at, rng = chosen(said, size, size.blocks, among), drawing("blocks", *said.values())
    ranges = [(b, b) for b in range(m.layers)] + [(b, b + 3) for b in range(0, m.layers - 3, 4)]
    for first, last in ranges:
        n = len(at)
        found = rng.binomial(WINDOW, 0.95, n)
        after = np.arange(m.layers) >= first
        moved = (rng.gamma(2, 1, (n, m.layers)) * after).astype(np.float32)
        yield "block_deltas", table(
            **repeated(said, n, *PLACE), sequence_id=sequence_ids(place, m.tokenizer, size.scored)[at],
            first_block=np.full(n, first), last_block=np.full(n, last), n_tokens=np.full(n, WINDOW), n_match=found,
            memorized=found == WINDOW, completion_entropy=rng.gamma(2, 4, n), delta_logprob=-rng.gamma(1, 1, n),
            output_difference=lists(moved), output_bound=lists(moved * 3),
        )  # fmt: skip


def noise_rows(said: Mapping[str, Any], size: Size) -> CellRows:
    m, place = MODELS[said["model"]], (said["corpus"], said["domain"])
    at, rng = chosen(said, size, size.noisy, "contrast"), drawing("noise", *said.values())
    memorized = known(said, size)[at] & (rng.random(len(at)) < 0.7)
    yield "matches", match_rows(said, memorized, at, entropies(said, size)[at] * 1.2)
    for part in ("continuation", "prefix"):
        shape = len(at), m.layers + 1
        yield "layer_similarity", table(
            **repeated(said, len(at), *PLACE), sequence_id=sequence_ids(place, m.tokenizer, size.scored)[at],
            part=pa.repeat(part, len(at)), cosine=lists(1 - rng.gamma(2, 0.05, shape).clip(max=1).astype(np.float32)),
            relative_l2=lists(rng.gamma(2, 0.2, shape).astype(np.float32)),
        )  # fmt: skip


SPANS = ("bigrams", "continuation", "document", "unigrams", "window")


def count_rows(said: Mapping[str, Any], size: Size) -> CellRows:
    place, n = (said["corpus"], said["domain"]), size.counted
    rng = drawing("counts", *said.values())
    own = sequence_ids(place, said["tokenizer"], size.scored)[:n]
    for counted in (said["tokenizer"], "bytes"):
        unigrams = 1 + np.exp(rng.normal(9, 3, (n, 2 * WINDOW))).astype(np.int64)
        bigrams = 1 + (np.minimum(unigrams[:, 1:], unigrams[:, :-1]) * rng.random(n)[:, None] ** 3).astype(np.int64)
        continuation = np.minimum(bigrams.min(1), 1 + rng.geometric(0.05, n))
        window = np.minimum(continuation, rng.geometric(0.2, n))
        counts = {"unigrams": unigrams, "bigrams": bigrams, "continuation": continuation[:, None]}
        counts |= {"window": window[:, None], "document": np.ones((n, 1), np.int64)}
        for span in SPANS:
            yield "ngram_counts", table(
                **repeated(said, n, "corpus", "domain", "tokenizer"), sequence_id=own,
                counted_corpus=pa.repeat(said["corpus"], n), counted_tokenizer=pa.repeat(counted, n),
                span=pa.repeat(span, n), counts=lists(counts[span]), tokens_scanned=np.full(n, 10**12),
                complete=np.ones(n, bool),
            )  # fmt: skip


def shown_rows(said: Mapping[str, Any], size: Size) -> CellRows:
    rng = drawing("shown", said["model"], said["domain"])
    documents = document_ids((said["corpus"], said["domain"]), size.scored)
    shown = rng.choice([0, 1, 4, 8, 16, 32, 64], len(documents))
    yield "exposures", table(model=pa.repeat(said["model"], len(shown)), document_id=documents, exposures=shown)


TABLES = {
    "ingest": (texts, ("documents", "domains")),
    "sample": (sequences, ("sequences",)),
    "count": (count_rows, ("ngram_counts",)),
    "training": (shown_rows, ("exposures",)),
    "scoring": (scores, ("matches",)),
    "head_ablation": (head_rows, ("head_deltas", "head_effects")),
    "layer_tokens": (layer_rows, ("layer_tokens",)),
    "short_circuit": (block_rows, ("block_deltas",)),
    "noise": (noise_rows, ("matches", "layer_similarity")),
}


def registered(models: Collection[str] = MODELS) -> dict[str, list[dict[str, Any]]]:
    """Rows of the tables that no cell writes."""
    clean = {"condition": BASE, "dtype": "float32", "attention": "sdpa", "noise": 0.0, "bos": False}
    more = {"noise_layer": 0, "noise_scope": "token"}
    under = [
        clean | more | {"condition": noisy(noise, seed), "noise": noise, "noise_seed": seed}
        for noise, seed in product(NOISE, SEEDS)
    ]
    tokenizers = [{"tokenizer": t, "source": "made", "digest": f"sha256:{t}", "vocab_size": 4096} for t in TOKENIZERS]
    return {
        "tokenizers": tokenizers,
        "conditions": [clean, *under],
        "models": [
            {
                **{"model": m.name, "family": m.family, "source": f"made/{m.name}", "tokenizer": m.tokenizer},
                **{"weights_digest": f"sha256:{m.name}", "n_params": 12 * m.layers * (64 * m.heads) ** 2},
                **{"n_layers": m.layers, "n_heads": m.heads, "n_kv_heads": m.heads, "hidden_size": 64 * m.heads},
                **{"vocab_size": 4096, "base_condition": BASE, "miniature": False},
            }
            for m in map(MODELS.__getitem__, models)
        ],
        "model_corpora": [
            {"model": name, "corpus": corpus, "role": role}
            for name in models
            for corpus, role in (("mine", "trained"), ("apart", "control"))
        ],
    }


def make(path: Path, size: Size, models: Collection[str] = MODELS) -> Lake:
    """The lake, made or gone on with."""
    lake = Lake.create(path)
    for name, rows in registered(models).items():
        register(lake, name, rows)
    summary = run_cells(lake, cells(size, models), workers=0)
    if summary.failed:
        raise SystemExit(f"{len(summary.failed)} cells failed: {summary.failed[0][1]}")
    return lake


def main() -> None:
    asked = options(__doc__)
    asked.add_argument("--share", type=float, default=1.0)
    asked.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    given = asked.parse_args()
    make(given.lake, Size(given.share), given.models)
    measure(given, given.findings or FINDINGS)


if __name__ == "__main__":
    main()
