"""What a continuation loses when an attention head is taken away: every head, on every sequence.

The head's output, before the output projection, is replaced at every position by the mean of the other heads of its
layer (arXiv 2603.21658, section 4.6), by zero, by its own mean over reference sequences, or by its output on another
sequence; read-outs are forced. One head at a time: what heads do for one another when several are gone is left out.
`--screen` ranks all heads by a gradient and takes away only the leaders and an audit sample, on a part of the
sequences.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from memlake.compute.interventions.screen import DEFAULT, Screen
from memlake.compute.models.checkpoint import unscored
from memlake.compute.planning.cells import RangeCell
from memlake.compute.planning.chosen import COLUMNS, Choices, chosen
from memlake.compute.planning.coverage import Coverage, Shard, published_settings
from memlake.compute.planning.paper import Paper
from memlake.compute.planning.settings import AMONG, ChoiceSettings, RangeSettings
from memlake.compute.planning.unfit import rejected
from memlake.warehouse.errors import BadInput
from memlake.warehouse.lake import Lake
from memlake.warehouse.options import option
from memlake.warehouse.tables.head_deltas import METHODS
from memlake.warehouse.work.cells import CellRows

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from memlake.compute.engine.blocks import Blocks
    from memlake.compute.interventions.ablation import Effects, Reference, Tokenized
    from memlake.compute.models.checkpoint import Checkpoint
    from memlake.compute.planning.request import Execution, Request, Subject

WITH_REFERENCE = ("mean", "resample")
REFERENCE = 64  # sequences that `mean` and `resample` take from
PIECE = 1 << 18  # rows of head_deltas handed over at once


@dataclass(frozen=True)
class Options:
    method: str = option("peer_mean", "what stands in for a head: peer_mean, zero, mean or resample", METHODS)
    among: str = option("memorized", "which sequences: memorized, contrast (others beside them) or all", AMONG)
    screen: bool = option(False, "estimate all heads, take away the leaders and an audit sample only")


@dataclass(frozen=True, kw_only=True)
class HeadAblationSettings(ChoiceSettings):
    """screening: how much is measured, where screen is set; None where it is not, and until the cell is planned.
    reference: number of sequences that the methods of WITH_REFERENCE take from, None as above."""

    method: str
    screen: bool
    screening: Screen | None = None
    reference: int | None = None

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        screening = Screen.from_json(stored["screening"]) if "screening" in stored else None
        return replace(super().from_json(stored), screening=screening)

    @property
    def place(self) -> dict[str, str]:
        return super().place | {"method": self.method}

    @property
    def question(self) -> tuple[object, ...]:
        return *super().question, self.method

    @property
    def detail(self) -> int:
        return 0 if self.screen else 1  # what was measured head by head holds what screening would have

    @property
    def detail_option(self) -> str:
        return "--screen"

    @property
    def pace(self) -> dict[str, str] | None:
        return None if self.screen else {"screen": "false"}  # how many heads lead is seen on the way

    @property
    def divisible(self) -> bool:
        return not self.screen  # which heads lead is found on all sequences of a cell


@dataclass(frozen=True)
class HeadAblationCell(RangeCell):
    """heads: of the whole model."""

    EXPERIMENT: ClassVar[str] = "head_ablation"
    TABLES: ClassVar[tuple[str, ...]] = ("head_deltas", "head_effects", "head_screens")

    settings: HeadAblationSettings
    heads: int

    @property
    def expected(self) -> dict[str, int]:
        n, screen = self.sequences, self.settings.screen
        rows = {"head_effects": self.heads if n else 0, "head_screens": int(screen and n > 0)}
        return rows if screen else rows | {"head_deltas": n * self.heads}

    @property
    def forwards(self) -> float:
        every = 1.0 + self.heads / 2  # a head costs the blocks from its own on
        return every / 12 if self.settings.screen else every  # see `Screen`

    def rows(self, lake: Lake) -> CellRows:
        """Ablate heads on the cell's sequences: rows of `head_deltas` piece by piece, in bounded memory, and after them
        the roll-up."""
        from memlake.compute.engine.blocks import Blocks

        s = self.settings
        table = chosen(lake, s, s.choice, self.subject.tokenizer, COLUMNS)
        if not len(table):
            return
        checkpoint, bos_id = self.load(lake)
        blocks = Blocks(checkpoint)
        effects = RollUp([(layer, head) for layer in range(blocks.n_layers) for head in range(blocks.n_heads)])
        reference = self._reference(checkpoint, blocks, lake, bos_id)
        sequences = _prepared(checkpoint, table, bos_id)
        study = checkpoint, blocks, sequences, s.method, reference, self.execution.batch_size
        screening = None
        if s.screen:
            from memlake.compute.interventions.screening import Screening

            screening = Screening(*study, screen=s.screening or DEFAULT)
        for at, heads, clean, after in screening.measured() if screening else _every_head(*study, list(effects.at)):
            here, deltas = table.take(at), _deltas(clean, after)
            effects.add(heads, deltas, here["memorized"].to_numpy())
            yield "head_deltas", delta_rows(here, heads, deltas, s)
        yield "head_effects", effects.rows(s, screening.estimate if screening else None)
        if screening:
            import pyarrow as pa

            yield "head_screens", pa.Table.from_pylist([s.place | screening.summary])

    def _reference(self, checkpoint: Checkpoint, blocks: Blocks, lake: Lake, bos_id: int | None) -> Reference | None:
        """What `mean` and `resample` take from: the first sequences of the domain's sample, memorized or not, which are
        the same for every cell of the domain."""
        from memlake.compute.interventions.ablation import Reference

        if self.settings.reference is None:
            return None
        sample = _sample(lake, self.settings, self.subject.tokenizer, self.settings.reference)
        return Reference(checkpoint, blocks, _prepared(checkpoint, sample, bos_id))


CELLS = (HeadAblationCell,)


def plan(lake: Lake, subject: Subject, request: Request, options: Options) -> list[HeadAblationCell]:
    """The cells that cover the requested sequences: those published before, and new ones for the ranks between them."""
    done = published_settings(lake, HeadAblationCell.EXPERIMENT, HeadAblationSettings)

    def want(shard: Shard) -> HeadAblationSettings:
        choice = shard.choice(subject, options.among)
        return HeadAblationSettings(**choice, method=options.method, screen=options.screen)

    choices = Choices(lake, subject)
    references: dict[tuple[str, ...], int] = {}  # by place: a domain's cells have one in common

    def make(settings: HeadAblationSettings, _: int) -> HeadAblationCell:
        n = choices.of(settings, settings.choice).num_rows
        if subject.blocks is None or subject.heads is None:
            raise unscored(subject.spec.name)
        if settings.screen and settings.method == "peer_mean" and subject.heads == 1:
            raise BadInput(f"heads of {subject.spec.name} have no peers, so that there is nothing to screen")
        if settings.screen and settings.screening is None:
            settings = replace(settings, screening=DEFAULT)
        if options.method in WITH_REFERENCE and settings.reference is None:
            place = settings.corpus, settings.domain, settings.sample
            if place not in references:
                references[place] = _sample(lake, settings, subject.tokenizer, REFERENCE).num_rows
            settings = replace(settings, reference=references[place])
        return HeadAblationCell(settings, subject, request.execution, n, subject.blocks * subject.heads)

    return list(Coverage(lake, subject, request, HeadAblationCell.EXPERIMENT, done).cells(want, make))


def on_paper(subject: Subject, paper: Paper, execution: Execution, options: Options) -> Iterator[HeadAblationCell]:
    """As `plan`, of a sample that is not scored yet; none of a model whose heads are not known."""
    if subject.blocks and subject.heads:
        choice = paper.choice(subject, options.among)
        settings = HeadAblationSettings(**choice, method=options.method, screen=options.screen)
        n = paper.chosen(options.among)
        yield HeadAblationCell(settings, subject, execution, n, subject.blocks * subject.heads)


def _every_head(
    checkpoint: Checkpoint,
    blocks: Blocks,
    sequences: Tokenized,
    method: str,
    reference: Reference | None,
    batch_size: int | None,
    heads: list[tuple[int, int]],
) -> Iterator[tuple[np.ndarray, list[tuple[int, int]], Effects | None, Effects | None]]:
    """Places of some sequences, int64 [rows]; the heads; read-outs of the model as it is, and without each head: until
    every sequence was seen. Where nothing can stand in for a head there are no read-outs."""
    import numpy as np

    from memlake.compute.interventions.ablation import ablate, defined

    size = max(1, PIECE // len(heads))
    for start in range(0, len(sequences.ids), size):
        at = np.arange(start, min(start + size, len(sequences.ids)))
        if defined(method, blocks):
            yield at, heads, *ablate(checkpoint, blocks, sequences.take(at), heads, method, reference, batch_size)
        else:
            yield at, heads, None, None


def _sample(lake: Lake, settings: RangeSettings, tokenizer: str, n: int) -> pa.Table:
    """The first n sequences of the domain's sample, without those that scoring left out."""
    with lake.connect(["sequences", "rejects"]) as con:
        return con.execute(
            """
            select sequence_id, tokens, prefix_tokens
            from stored.sequences
            where corpus = $corpus and domain = $domain and tokenizer = $tokenizer and sample = $sample
              and len(tokens) > 0
              and rank not in (select position from stored.rejects where corpus = $corpus and source = $source)
            order by rank limit $n
            """,
            {
                **{"corpus": settings.corpus, "domain": settings.domain, "sample": settings.sample},
                **{"tokenizer": tokenizer, "source": rejected(settings, tokenizer), "n": n},
            },
        ).to_arrow_table()


def _prepared(checkpoint: Checkpoint, sequences: pa.Table, bos_id: int | None) -> Tokenized:
    """Sequences as the checkpoint's condition has them."""
    from memlake.compute.engine.batches import prepared
    from memlake.compute.interventions.ablation import Tokenized

    tokens, prefix = sequences["tokens"].to_numpy(), sequences["prefix_tokens"].to_numpy()
    return Tokenized(*prepared(checkpoint, list(tokens), prefix, bos_id), sequences["sequence_id"].to_numpy())


def _deltas(clean: Effects | None, after: Effects | None) -> dict[str, np.ndarray]:
    """Ablated - clean, [heads, rows] each, by the columns of `head_deltas`; empty where there are no read-outs."""
    if clean is None or after is None:
        return {}
    return {
        "delta_logprob": after.logprob - clean.logprob,
        "delta_n_match": after.n_match - clean.n_match,
        "memorized_after": after.memorized,
    }


def delta_rows(
    sequences: pa.Table,
    heads: Sequence[tuple[int, int]],
    deltas: Mapping[str, np.ndarray],
    settings: HeadAblationSettings,
) -> pa.Table:
    """The rows of `head_deltas` for sequences and heads."""
    import numpy as np
    import pyarrow as pa

    layer, head = (np.repeat(of, len(sequences)) for of in np.array(heads).T)
    return pa.table(
        {
            "sequence_id": np.tile(sequences["sequence_id"].to_numpy(), len(heads)),
            **{name: pa.repeat(value, len(layer)) for name, value in settings.place.items()},
            "layer": layer,
            "head": head,
            **{name: column.ravel() for name, column in deltas.items()},
        }
    )


class RollUp:
    """Mean and variance of the deltas of each head, taken up piece by piece (Chan, Golub and LeVeque 1979)."""

    def __init__(self, heads: Sequence[tuple[int, int]]):
        import numpy as np

        self.at = {head: i for i, head in enumerate(heads)}
        self.n, self.n_lost = np.zeros((2, len(heads)), np.int64)
        self.mean, self.squares = np.zeros((2, len(heads)))  # squares: of the distances from the mean, summed

    def add(self, heads: Sequence[tuple[int, int]], deltas: Mapping[str, np.ndarray], memorized: np.ndarray) -> None:
        """Take up deltas of some heads on more sequences; `memorized` bool [rows]: were they before."""
        import numpy as np

        if not deltas:
            return
        at = [self.at[head] for head in heads]
        values = deltas["delta_logprob"].astype(np.float64)
        more, mean = values.shape[1], values.mean(1)
        n, step = self.n[at] + more, mean - self.mean[at]
        self.squares[at] += ((values - mean[:, None]) ** 2).sum(1) + step**2 * self.n[at] * more / n
        self.mean[at] += step * more / n
        self.n[at] = n
        self.n_lost[at] += (memorized & ~deltas["memorized_after"]).sum(1)

    def rows(self, settings: HeadAblationSettings, estimate: np.ndarray | None = None) -> pa.Table:
        """The rows of `head_effects`; `estimate` [heads]: of the mean, by screening."""
        import numpy as np
        import pyarrow as pa

        layer, head = np.array(list(self.at)).T
        none = self.n == 0
        return pa.table(
            {
                **{name: pa.repeat(value, len(none)) for name, value in settings.place.items()},
                "layer": layer,
                "head": head,
                "n": self.n,
                "mean_delta_logprob": pa.array(self.mean, mask=none),
                "var_delta_logprob": pa.array(self.squares / np.maximum(self.n - 1, 1), mask=self.n < 2),
                "n_lost": pa.array(self.n_lost, mask=none),
                **({} if estimate is None else {"estimate": estimate}),
            }
        )
