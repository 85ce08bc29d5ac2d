"""Screening: what is measured, when, and what the audit makes of it; then on a tiny model, against taking all away."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import combinations
from math import comb

import numpy as np
import pytest
from scipy import stats

from memlake.compute.engine.blocks import Blocks
from memlake.compute.interventions.ablation import Tokenized, ablate
from memlake.compute.interventions.screen import Screen
from memlake.compute.interventions.screening import Field, Screening, at_most, spearman
from memlake.tests.compute.tiny import VOCAB, checkpoint

HALVING = Screen(estimated=0, rounds=((1.0, 0.1), (0.5, 0.3), (0.25, 1.0)), audited=0.2, least=2)


def play(field: Field, deltas: np.ndarray, estimate: np.ndarray | None = None) -> np.ndarray:
    """Run the rounds on a table of deltas [heads, sequences]; returns how often each pair was measured."""
    times = np.zeros(deltas.shape, int)
    for heads, first, last in field.rounds(estimate):
        assert last > first
        times[heads, first:last] += 1
        field.add(heads, deltas[heads, first:last])
    return times


def table(heads: int, sequences: int, noise: float) -> np.ndarray:
    """Head i drops by 1 / (i + 1) on average; shuffled."""
    rng = np.random.default_rng(0)
    drops = -1 / (1 + rng.permutation(heads)[:, None]) + noise * rng.normal(size=(heads, sequences))
    return drops.astype(np.float32)


def test_halving_keeps_the_heads_that_drop_most_and_measures_no_pair_twice():
    deltas = table(40, 50, noise=0.0)
    field = Field(40, 50, HALVING)
    times = play(field, deltas)
    assert times.max() == 1
    order = np.argsort(deltas.mean(1))
    assert set(field.leaders) == set(order[:10])
    assert set(field.audited) <= set(order[10:]) and len(field.audited) == 6  # a fifth of 30
    final = np.concatenate([field.leaders, field.audited])
    assert (field.n[final] == 50).all()
    others = np.setdiff1d(np.arange(40), final)
    assert set(field.n[np.setdiff1d(others, order[:20])]) == {5}  # out after the first round
    assert set(field.n[np.intersect1d(others, order[:20])]) == {15}  # out after the second
    np.testing.assert_array_equal(times.sum(1), field.n)
    np.testing.assert_allclose(field.mean, [row[:n].mean() for row, n in zip(deltas, field.n, strict=True)], rtol=1e-6)


def test_estimates_choose_who_is_measured_at_all():
    deltas = table(40, 50, noise=0.0)
    field = Field(40, 50, Screen(rounds=((0.25, 0.4),), audited=0.1, least=2))
    play(field, deltas, -np.arange(40.0))
    assert field.leaders.tolist() == list(range(30, 40))
    assert len(field.audited) == 3 and field.audited.max() < 30
    assert set(field.n[field.leaders]) | set(field.n[field.audited]) == {20}
    assert field.n.sum() == 13 * 20


def test_a_plan_that_went_through_the_settings_of_a_cell_screens_alike():
    deltas = table(40, 50, noise=0.1)
    stored = Screen.from_json(json.loads(json.dumps(asdict(HALVING))))
    np.testing.assert_array_equal(play(Field(40, 50, stored), deltas), play(Field(40, 50, HALVING), deltas))


def test_few_sequences_and_few_heads_are_measured_as_far_as_they_go():
    assert Screen(least=32).sequences(0.2, 20) == 20
    assert Screen(least=32).sequences(0.2, 100) == 32
    assert Screen(least=32).sequences(0.2, 1000) == 200
    assert Screen(least=32).sequences(0, 1000) == 0
    field = Field(2, 3, Screen())
    play(field, np.array([[-1.0, -2, -3], [0, 0, 0]]), np.array([-1.0, -2]))
    assert field.n.tolist() == [3, 3]  # one leader (the least that there is), and the other audited
    assert field.leaders.tolist() == [1] and field.audited.tolist() == [0]
    summary = field.summary(np.array([-1.0, -2]))
    assert summary["recall"] == summary["recall_low"] == 0.5  # the leader drops less than the one that was dropped
    assert summary["rank_correlation"] is None


def test_the_audit_is_a_random_draw_that_does_not_look_at_the_heads():
    draws = []
    for seed in range(2):
        field = Field(1000, 10, Screen(audited=0.1, least=1, rounds=((0.2, 1.0),)))
        play(field, np.random.default_rng(seed).normal(size=(1000, 10)), -np.arange(1000.0))
        draws.append(field.audited)
    np.testing.assert_array_equal(*draws)
    assert len(draws[0]) == 80
    assert stats.kstest(draws[0] / 800, "uniform").pvalue > 0.01  # neither the best of the dropped nor the worst


def test_recall_is_what_the_audit_says_of_the_dropped():
    # 20 heads, 4 important. Leaders: 6; of the 14 dropped 7 audited, 2 of which drop more than the fourth leader
    field = Field(20, 5, Screen())
    field.n[:] = 5
    field.leaders, field.audited = np.arange(6), np.arange(6, 13)
    field.mean[:6] = [-9, -8, -7, -5, -1, 0]
    field.mean[6:13] = [-10, -6, -5, -4, 0, 0, 1]
    summary = field.summary(-np.arange(20.0, 0, -1))
    assert (summary["heads"], summary["sequences"], summary["measured"]) == (20, 5, 5)
    assert (summary["confirmed"], summary["audited"]) == (6, 7)
    assert summary["recall"] == pytest.approx(4 / (4 + 2 / 7 * 14))
    # 7 of 14 drawn, 2 hits: with 8 hits in all, P(2 or fewer) = 0.05, with 9 it is 0.010
    assert at_most(2, 7, 14) == 8
    assert summary["recall_low"] == pytest.approx(4 / (4 + 8))
    expected = stats.spearmanr(-np.arange(20, 7, -1), field.mean[:13]).statistic
    assert summary["rank_correlation"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("found", "drawn", "among"), [(0, 3, 8), (1, 3, 8), (3, 3, 8), (0, 8, 8), (0, 0, 4), (0, 0, 0)]
)
def test_the_bound_is_the_largest_number_of_hits_that_the_draw_allows(found, drawn, among):
    allowed = []
    for hits in range(found, among - drawn + found + 1):
        draws = list(combinations(range(among), drawn))  # things 0 to hits - 1 are the hits
        chance = sum(sum(thing < hits for thing in draw) <= found for draw in draws) / len(draws)
        if chance >= 0.025:
            allowed.append(hits)
    assert at_most(found, drawn, among) == max(allowed)


def test_the_bound_covers_what_is_there():
    """Over all draws, 97.5 % at least have a bound that is not below the truth."""
    among, drawn = 60, 15
    for hits in (0, 1, 5, 20):
        covered = sum(
            comb(hits, found) * comb(among - hits, drawn - found)
            for found in range(min(hits, drawn) + 1)
            if at_most(found, drawn, among) >= hits
        )
        assert covered / comb(among, drawn) >= 0.975


def test_spearman_with_ties_as_scipy_has_it():
    a, b = np.array([1.0, 1, 2, 5, 4, 4]), np.array([0.3, 0.1, 0.1, 0.9, 0.1, 0.4])
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    assert spearman(a, np.ones(6)) is None
    assert spearman(a[:2], b[:2]) is None


@pytest.fixture(scope="module")
def study():
    c = checkpoint("gpt_neo", see=7)
    rng = np.random.default_rng(8)
    tokens = [rng.integers(1, VOCAB, n) for n in rng.integers(15, 30, 20)]
    return c, Blocks(c), Tokenized(tokens, np.full(20, 8), list(range(20)))


def collect(screening: Screening) -> dict[tuple, tuple]:
    """What was measured of each (head, sequence)."""
    found = {}
    for at, heads, clean, after in screening.measured():
        for j, place in enumerate(at.tolist()):
            for i, head in enumerate(heads):
                assert (head, place) not in found
                found[head, place] = (
                    after.logprob[i, j] - clean.logprob[j],
                    after.n_match[i, j] - clean.n_match[j],
                    after.memorized[i, j],
                )
    return found


@pytest.mark.parametrize("screen", [Screen(0.5, ((0.5, 0.5),), 0.3, 4), HALVING])
@pytest.mark.parametrize("pairs", [1 << 18, 7])
def test_what_is_measured_is_exact_in_any_grouping(study, screen, pairs, monkeypatch):
    monkeypatch.setattr("memlake.compute.interventions.screening.PAIRS", pairs)
    c, blocks, windows = study
    heads = [(layer, head) for layer in range(blocks.n_layers) for head in range(blocks.n_heads)]
    clean, after = ablate(c, blocks, windows, heads, "peer_mean")
    for batch_size in (None, 3):
        screening = Screening(c, blocks, windows, "peer_mean", batch_size=batch_size, screen=screen)
        found = collect(screening)
        assert 0 < len(found) < len(heads) * 20
        for (head, place), (delta, n_match, memorized) in found.items():
            i = heads.index(head)
            assert delta == pytest.approx(after.logprob[i, place] - clean.logprob[place], abs=2e-4)
            assert (n_match, memorized) == (after.n_match[i, place] - clean.n_match[place], after.memorized[i, place])
        if batch_size is None:
            first = screening
    assert screening.summary == pytest.approx(first.summary)
    if screen.estimated:
        np.testing.assert_allclose(screening.estimate, first.estimate, rtol=1e-4)
    else:
        assert screening.estimate is None and screening.summary["rank_correlation"] is None


def test_the_cost_counts_every_block_pass(study):
    c, blocks, windows = study
    screening = Screening(c, blocks, windows, "zero", screen=Screen(0.5, ((0.5, 0.25),), 0.25, 2))
    found = collect(screening)
    assert screening.summary["confirmed"] == 4 and screening.summary["audited"] == 1
    # 2 blocks of 4 heads, 20 windows: a head of block 0 takes 2 passes, one of block 1 takes 1
    pairs = sum(2 - layer for (layer, _), _ in found)
    assert screening.passes == 10 * 4 * 2 + 5 * 2 + pairs  # estimates, traces, heads
    assert screening.summary["cost"] == pytest.approx(screening.passes / (20 * (2 + 4 * 2 + 4 * 1)))
