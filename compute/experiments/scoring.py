"""How much of each continuation a model reproduces, and how likely it finds it, token by token.

Carlini et al. 2023 (arXiv 2202.07646) and Biderman et al. 2023 (arXiv 2304.11158) prompt with a prefix from the
training corpus and compare greedy decoding with what followed. Here one teacher-forced forward also gives every token's
log-probability, the probability of the continuation under sampling (Hayes et al. 2024, arXiv 2410.19482), and the
margin that tells how near a row is to flipping. It leaves out near-verbatim and paraphrased reproduction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from memlake.compute.planning.cells import RangeCell
from memlake.compute.planning.coverage import Coverage, Shard, count, published_settings
from memlake.compute.planning.paper import Paper
from memlake.compute.planning.settings import RangeSettings
from memlake.compute.planning.unfit import UNFIT, rejected
from memlake.warehouse.lake import Lake
from memlake.warehouse.options import option
from memlake.warehouse.work.cells import CellRows

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from memlake.compute.engine.scoring import Scores
    from memlake.compute.planning.request import Execution, Request, Subject

DECODINGS = ("forced", "greedy")  # the second holds the first
PIECE = 8192  # sequences read, scored and handed over at once


@dataclass(frozen=True)
class Options:
    decoding: str = option("greedy", "greedy, or forced: skip decoding", DECODINGS)


@dataclass(frozen=True, kw_only=True)
class ScoringSettings(RangeSettings):
    decoding: str

    @property
    def detail(self) -> int:
        return DECODINGS.index(self.decoding)

    @property
    def pace(self) -> dict[str, str]:
        return {"decoding": self.decoding}

    @property
    def detail_option(self) -> str:
        return f"--decoding {self.decoding}"


@dataclass(frozen=True)
class ScoringCell(RangeCell):
    """unfit: sequences of its range that the model cannot take; they become rows of `rejects`."""

    EXPERIMENT: ClassVar[str] = "scoring"
    TABLES: ClassVar[tuple[str, ...]] = ("matches", "rejects")

    settings: ScoringSettings
    unfit: int

    @property
    def tables(self) -> tuple[str, ...]:
        return self.TABLES if self.unfit else ("matches",)

    @property
    def expected(self) -> dict[str, int]:
        return {"matches": self.sequences} | ({"rejects": self.unfit} if self.unfit else {})

    @property
    def forwards(self) -> float:
        return 2.0 if self.settings.decoding == "greedy" else 1.0

    def rows(self, lake: Lake) -> CellRows:
        """Score the cell's sequences, in bounded memory."""
        import pyarrow.compute as pc

        from memlake.compute.engine.scoring import score

        s, subject = self.settings, self.subject
        checkpoint, bos_id = self.load(lake)
        with lake.connect(["sequences"]) as con:
            pieces = con.execute(
                f"""
                select sequence_id, anchor_id, corpus, domain, tokens, byte_ends, byte_cut, prefix_tokens, n_tokens,
                    rank, {UNFIT} as unfit
                from stored.sequences
                where corpus = $corpus and domain = $domain and tokenizer = $tokenizer and sample = $sample
                  and rank between $first and $last and len(tokens) > 0
                """,
                {
                    **{"corpus": s.corpus, "domain": s.domain, "sample": s.sample},
                    **{"first": s.first_rank, "last": s.last_rank},
                    **{"tokenizer": subject.tokenizer, **asdict(subject.limits)},
                },
            ).to_arrow_reader(PIECE)
            for read in pieces:
                fits = pc.is_null(read["unfit"])
                if rejects := read.filter(pc.invert(fits)).to_pylist():
                    yield "rejects", _rejects(rejects, rejected(s, subject.tokenizer))
                piece = read.filter(fits)
                if not piece.num_rows:
                    continue
                scores = score(
                    checkpoint,
                    piece["tokens"].to_numpy(zero_copy_only=False),
                    piece["prefix_tokens"].to_numpy(),
                    bos_id=bos_id,
                    decode=s.decoding == "greedy",
                    batch_size=self.execution.batch_size,
                )
                yield "matches", match_rows(piece, scores, model=s.model, condition=s.condition)


CELLS = (ScoringCell,)


def plan(lake: Lake, subject: Subject, request: Request, options: Options) -> list[ScoringCell]:
    """The cells that cover the requested sequences: those published before, and new ones for the ranks between them."""
    done = published_settings(lake, ScoringCell.EXPERIMENT, ScoringSettings)

    def want(shard: Shard) -> ScoringSettings:
        return ScoringSettings(**shard.settings(subject), decoding=options.decoding)

    unfit = _unfit(lake, subject, request)

    def make(s: ScoringSettings, ranks: int) -> ScoringCell:
        out = count(unfit[s.corpus, s.domain, s.sample], s.first_rank, s.last_rank)
        return ScoringCell(s, subject, request.execution, ranks - out, out)

    return list(Coverage(lake, subject, request, ScoringCell.EXPERIMENT, done).cells(want, make))


def on_paper(subject: Subject, paper: Paper, execution: Execution, options: Options) -> Iterator[ScoringCell]:
    """As `plan`, of a sample that is not there yet."""
    settings = ScoringSettings(**paper.settings(subject), decoding=options.decoding)
    yield ScoringCell(settings, subject, execution, paper.sequences, 0)


def _unfit(lake: Lake, subject: Subject, request: Request) -> Mapping[tuple[str, ...], Sequence[int]]:
    """Ranks of sequences that the model cannot take, in order, by corpus, domain and sample."""
    with lake.connect(["sequences"]) as con:
        rows = con.execute(
            f"""
            select corpus, domain, sample, list(rank order by rank)
            from stored.sequences
            where list_contains($corpora, corpus) and tokenizer = $tokenizer and len(tokens) > 0
              and ({UNFIT}) is not null
            group by all
            """,
            {"corpora": list(request.corpora), "tokenizer": subject.tokenizer, **asdict(subject.limits)},
        ).fetchall()
    return defaultdict(list, {tuple(place): ranks for *place, ranks in rows})


def _rejects(sequences: list[dict[str, Any]], source: str) -> pa.Table:
    """Rows of `rejects`; what they show of a sequence is its tokens."""
    import pyarrow as pa

    return pa.Table.from_pylist(
        [
            {
                **{"corpus": row["corpus"], "source": source, "position": row["rank"], "reason": row["unfit"]},
                "head": str(row["tokens"])[:200].encode(),
            }
            for row in sequences
        ]
    )


def match_rows(sequences: pa.RecordBatch, scores: Scores, model: str, condition: str) -> pa.Table:
    """The rows of `matches` for a piece of `sequences` and its scores."""
    import numpy as np
    import pyarrow as pa

    from memlake.compute.engine.scoring import first_mismatch

    n, inside = scores.n, scores.inside
    first = first_mismatch(scores.match, n)
    to_first = np.arange(inside.shape[1]) <= first[:, None]
    log_p = np.where(inside, scores.log_p, 0.0).sum(-1, dtype=np.float64)
    columns = {
        **{
            name: sequences[name]
            for name in ("sequence_id", "anchor_id", "corpus", "domain", "prefix_tokens", "n_tokens")
        },
        "model": pa.repeat(model, len(n)),
        "condition": pa.repeat(condition, len(n)),
        "forced_match": packed(scores.match, n),
        "forced_n_match": scores.match.sum(-1),
        "first_mismatch": first,
        "memorized": first == n,
        "matched_bytes": _matched_bytes(sequences, first),
        "logprobs": _lists(scores.logprob, inside),
        "sum_logprob": np.where(inside, scores.logprob, 0).sum(-1, dtype=np.float64),
        "log_p_z": pa.array(log_p, mask=np.isneginf(log_p)),
        "completion_entropy": np.where(inside, scores.entropy, 0).sum(-1, dtype=np.float64),
        "min_margin": np.where(inside & to_first, scores.margin, np.inf).min(-1).astype(np.float64),
    }
    if scores.generated is not None:
        match = inside & (scores.generated == scores.target)
        columns |= {
            "match": packed(match, n),
            "n_match": match.sum(-1),
            "score": match.sum(-1) / n,
            "generated": _lists(scores.generated.astype(np.int32), inside),
        }
    return pa.table(columns)


def packed(match: np.ndarray, n: np.ndarray) -> pa.Array:
    """Each row's bits, position 0 the highest bit of the first byte, in as few bytes as its n positions need."""
    import numpy as np
    import pyarrow as pa

    return pa.array([bits[: -(-k // 8)].tobytes() for bits, k in zip(np.packbits(match, axis=1), n, strict=True)])


def _lists(square: np.ndarray, inside: np.ndarray) -> pa.Array:
    """Each row's own entries of a padded array."""
    import numpy as np
    import pyarrow as pa

    offsets = np.concatenate([[0], inside.sum(-1).cumsum()]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, square[inside])


def _matched_bytes(sequences: pa.RecordBatch, first: np.ndarray) -> pa.Array:
    """Bytes of the continuation before the first mismatch; NULL where the tokens' bytes are not known."""
    import pyarrow as pa

    ends, cuts, prefixes = (sequences[name].to_pylist() for name in ("byte_ends", "byte_cut", "prefix_tokens"))
    return pa.array(
        [
            None if end is None else end[prefix + k - 1] - cut if k else 0
            for end, cut, prefix, k in zip(ends, cuts, prefixes, first.tolist(), strict=True)
        ],
        pa.int64(),
    )
