"""Screening: which heads matter, without taking every head away on every sequence.

Estimates from gradients (`attribution`) on a part of the sequences rank all heads; the leaders are taken away on more
and more sequences while the field narrows (successive halving: Jamieson and Talwalkar 2016, arXiv 1502.07943). Of the
heads that were dropped a random sample is taken away on the same sequences as the leaders: this audit bounds what was
missed, as Kramar et al. 2024 (arXiv 2403.00745) do for attribution patching. Everything measured is exact; what is
given up is sequences, and most heads that were dropped have an estimate only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, comb

import numpy as np
import torch

from memlake.compute.engine.batches import each_batch
from memlake.compute.engine.blocks import Blocks
from memlake.compute.engine.forward import Batch
from memlake.compute.models.checkpoint import Checkpoint
from memlake.warehouse.identity import hash63

from .ablation import Ablation, Effects, Reference, Tokenized, ablate
from .attribution import estimates
from .screen import DEFAULT, Screen

IMPORTANT = 0.2  # of a model's heads, at least one: the set that screening looks for (arXiv 2603.21658, section 4.7)
ERROR = 0.025  # of the bound on what was missed: one end of a 95 % interval
PAIRS = 1 << 18  # of head and sequence, measured and handed over at once


class Screening:
    """Screening of one cell: its sequences in the order of their ranks, at least one.

    After `measured` has ended: estimate float64 [heads], layer after layer: the estimated mean change of
    log-probability, None where no sequence was to be estimated on; summary: the columns of `head_screens` that do not
    name the cell.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        blocks: Blocks,
        sequences: Tokenized,
        method: str,
        reference: Reference | None = None,
        batch_size: int | None = None,
        screen: Screen = DEFAULT,
    ):
        self.study = checkpoint, blocks, method, reference, batch_size
        self.sequences, self.screen = sequences, screen
        self.heads = [(layer, head) for layer in range(blocks.n_layers) for head in range(blocks.n_heads)]
        self.field = Field(len(self.heads), len(sequences.ids), screen)
        self.passes = 0.0
        self.estimate: np.ndarray | None = None
        self.summary: dict[str, object] = {}

    def measured(self) -> Iterator[tuple[np.ndarray, list[tuple[int, int]], Effects, Effects]]:
        """Take away what is to be taken away, piece by piece: places of some sequences, int64 [rows]; heads; read-outs
        of the model as it is, [rows], and without each of these heads, [heads, rows]. No head comes twice on a
        sequence."""
        checkpoint, blocks, method, reference, batch_size = self.study
        self.estimate = self.estimates()
        for heads, first, last in self.field.rounds(self.estimate):
            chosen = [self.heads[i] for i in heads]
            self.passes += (last - first) * passes(blocks.n_layers, chosen)
            size = max(1, PAIRS // len(heads))
            for start in range(first, last, size):
                at = np.arange(start, min(start + size, last))
                sequences = self.sequences.take(at)
                clean, after = ablate(checkpoint, blocks, sequences, chosen, method, reference, batch_size)
                self.field.add(heads, after.logprob - clean.logprob)
                yield at, chosen, clean, after
        every = len(self.sequences.ids) * passes(blocks.n_layers, self.heads)
        self.summary = self.field.summary(self.estimate) | {"cost": self.passes / every}

    def estimates(self) -> np.ndarray | None:
        """The mean estimate of each head, float64 [heads]; None where no sequence is to be estimated on."""
        checkpoint, blocks, method, reference, batch_size = self.study
        n = self.screen.sequences(self.screen.estimated, len(self.sequences.ids))
        if not n:
            return None
        sequences = self.sequences.take(np.arange(n))
        total = np.zeros((blocks.n_layers, blocks.n_heads))

        def run(rows: np.ndarray, b: Batch) -> None:
            ablation = Ablation(checkpoint, blocks, b, method, reference, [sequences.ids[row] for row in rows])
            total[:] += estimates(ablation).sum(-1, dtype=np.float64)
            self.passes += ablation.passes

        with torch.inference_mode(False), torch.no_grad():
            each_batch(checkpoint, sequences.tokens, sequences.prefix, run, batch_size)
        return total.ravel() / n


def passes(n_layers: int, heads: Sequence[tuple[int, int]]) -> int:
    """Block passes that taking away these heads (layer, head) takes on one sequence: the trace, and for each head the
    blocks from its own on."""
    return n_layers + sum(n_layers - layer for layer, _ in heads)


class Field:
    """The heads of a screening, numbered: what is known of each, and which of them are still in.

    n int64 [heads]: sequences, the first n, on which it was taken away; mean float64 [heads]: of its changes of
    log-probability there. leaders, audited: int64, heads that were taken away on as many sequences as any was.
    """

    def __init__(self, heads: int, sequences: int, screen: Screen):
        self.sequences, self.screen = sequences, screen
        self.important = max(1, round(IMPORTANT * heads))
        self.n, self.mean = np.zeros(heads, np.int64), np.zeros(heads)
        self.leaders = self.audited = np.arange(0)

    def rounds(self, estimate: np.ndarray | None) -> Iterator[tuple[np.ndarray, int, int]]:
        """Heads, and the sequences [first, last) on which to take them away next. What was measured is to be added
        before the next is asked for."""
        self.leaders = np.arange(len(self.n))
        by = self.mean if estimate is None else estimate  # the lower, the more important
        for i, (share, sequences) in enumerate(self.screen.rounds, 1):
            keep = max(self.important, ceil(share * len(self.n)))
            self.leaders = np.sort(self.leaders[np.argsort(by[self.leaders], kind="stable")[:keep]])
            if i == len(self.screen.rounds):
                self._draw()
            heads = np.concatenate([self.leaders, self.audited])
            yield from self._missing(heads, self.screen.sequences(sequences, self.sequences))
            by = self.mean

    def _draw(self) -> None:
        """Draw the heads to audit from those that are out."""
        out = np.setdiff1d(np.arange(len(self.n)), self.leaders).tolist()
        drawn = sorted(out, key=lambda head: hash63("audit", head))[: ceil(self.screen.audited * len(out))]
        self.audited = np.sort(np.array(drawn, np.int64))

    def _missing(self, heads: np.ndarray, last: int) -> Iterator[tuple[np.ndarray, int, int]]:
        for first in np.unique(self.n[heads]).tolist():
            if first < last:
                yield heads[self.n[heads] == first], first, last

    def add(self, heads: np.ndarray, deltas: np.ndarray) -> None:
        """Changes of log-probability, [heads, rows], on the sequences that come next for these heads."""
        n = self.n[heads] + deltas.shape[1]
        self.mean[heads] += (deltas.sum(1, dtype=np.float64) - deltas.shape[1] * self.mean[heads]) / n
        self.n[heads] = n

    def summary(self, estimate: np.ndarray | None) -> dict[str, object]:
        """What was found, and what the audit says of it.

        The important heads are the leaders with the largest mean drops. Where m of a audited heads drop more than the
        least of them, m / a of all dropped heads are taken for missed: recall = found / (found + missed). `recall_low`
        takes the largest number of missed heads with which m or fewer would be drawn in 2.5 % of audits.
        """
        dropped = len(self.n) - len(self.leaders)
        least = np.sort(self.mean[self.leaders])[self.important - 1]
        missed = int((self.mean[self.audited] < least).sum())
        most = at_most(missed, len(self.audited), dropped)
        expected = missed * dropped / max(1, len(self.audited))
        known = np.concatenate([self.leaders, self.audited])
        return {
            "heads": len(self.n),
            "sequences": self.sequences,
            "measured": int(self.n.max()),
            "confirmed": len(self.leaders),
            "audited": len(self.audited),
            "recall": self.important / (self.important + expected),
            "recall_low": self.important / (self.important + most),
            "rank_correlation": None if estimate is None else spearman(estimate[known], self.mean[known]),
        }


def at_most(found: int, drawn: int, among: int) -> int:
    """The most hits that `among` things may hold, where `drawn` of them, at random, showed `found`: with any more, as
    few would be found in less than a share `ERROR` of draws (hypergeometric)."""

    def chance(hits: int) -> float:
        ways = sum(comb(hits, k) * comb(among - hits, drawn - k) for k in range(min(found, drawn) + 1))
        return ways / comb(among, drawn)

    return max(hits for hits in range(found, among - drawn + found + 1) if hits == found or chance(hits) >= ERROR)


def spearman(a: np.ndarray, b: np.ndarray) -> float | None:
    """Spearman's rank correlation; None below 3 values, or where either has only one."""
    ranks = _ranks(a), _ranks(b)
    if len(a) < 3 or min(np.ptp(r) for r in ranks) == 0:
        return None
    return float(np.corrcoef(*ranks)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Places of the values in their order, from 1; equals get their mean place: float64."""
    _, which, n = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(n) - (n - 1) / 2)[which]
