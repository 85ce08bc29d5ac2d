"""Which sequences stand beside the memorized ones: pairs of like completion entropy, by several plain definitions."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from memlake.compute.planning.contrast import CALIPER, contrast, pairs


def made_up(seed: int, n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Some memorized, few to most, of lower entropy; many ties; some without an entropy."""
    rng = np.random.default_rng(seed)
    memorized = rng.random(n) < rng.choice([0.0, 0.1, 0.5, 0.9, 1.0])
    entropy = np.round(rng.gamma(4, 2, n) - 3 * memorized, rng.integers(0, 3))
    entropy[rng.random(n) < 0.05] = np.nan
    return memorized, entropy, rng.permutation(10 * n)[:n]


def most(memorized: np.ndarray, entropy: np.ndarray, caliper: float) -> float:
    """The caliper in nats."""
    groups = [g[np.isfinite(g)] for g in (entropy[memorized], entropy[~memorized])]
    variances = [np.var(g, ddof=1) for g in groups if len(g) > 1]
    return caliper * np.sqrt(np.mean(variances)) if variances else 0.0


@pytest.mark.parametrize("seed", range(60))
def test_pairs_are_within_the_caliper_none_is_in_two_and_none_could_be_added(seed):
    memorized, entropy, ids = made_up(seed)
    caliper = [0.05, CALIPER, 1.0][seed % 3]
    found = pairs(memorized, entropy, ids, caliper)
    one, other = found.T
    assert memorized[one].all() and not memorized[other].any()
    assert len(set(found.ravel())) == found.size
    reach = most(memorized, entropy, caliper)
    assert (np.abs(entropy[one] - entropy[other]) <= reach).all()
    left, beside = (np.setdiff1d(np.flatnonzero(memorized == group), found) for group in (True, False))
    assert not (np.abs(entropy[left][:, None] - entropy[beside]) <= reach).any()
    near = csr_matrix(np.abs(entropy[memorized][:, None] - entropy[~memorized]) <= reach)
    possible = (maximum_bipartite_matching(near) >= 0).sum() if near.nnz else 0
    assert possible >= len(found) >= (0.9 if caliper <= CALIPER else 0.7) * possible - 1


def test_order_of_the_rows_decides_nothing():
    _, entropy, ids = made_up(5)
    memorized = np.arange(len(ids)) % 3 == 0
    assert len(pairs(memorized, entropy, ids, CALIPER)) > 3
    order = np.random.default_rng(0).permutation(len(ids))
    plain, shuffled = (
        {tuple(i[pair]) for pair in pairs(m, e, i, CALIPER)}
        for m, e, i in ((memorized, entropy, ids), (memorized[order], entropy[order], ids[order]))
    )
    assert plain == shuffled


def test_of_two_as_good_as_one_another_the_nearer_is_taken():
    entropy = np.array([4.0, 5.0, 5.4, 9.0])
    memorized = np.array([False, True, False, False])
    assert pairs(memorized, entropy, np.arange(4), 1.0).tolist() == [[1, 2]]
    assert pairs(memorized, np.array([4.8, 5.0, 5.4, 9.0]), np.arange(4), 1.0).tolist() == [[1, 0]]


def taken(caliper: float | None, memorized, entropy, ids) -> set[int]:
    rows = pa.table({"sequence_id": ids, "memorized": memorized, "completion_entropy": entropy})
    return set(np.flatnonzero(contrast(rows, caliper).to_numpy(zero_copy_only=False)))


@pytest.mark.parametrize("seed", range(20))
def test_contrast_takes_the_memorized_as_many_at_random_and_the_paired(seed):
    memorized, entropy, ids = made_up(seed)
    others = np.flatnonzero(~memorized)
    first = {*np.flatnonzero(memorized), *others[: memorized.sum()]}
    assert taken(CALIPER, memorized, entropy, ids) == first | set(pairs(memorized, entropy, ids, CALIPER)[:, 1])
    # as cells of former versions did: the nearest, however far
    entropy = np.nan_to_num(entropy)
    nearest = {
        min(others, key=lambda o: (abs(entropy[o] - entropy[i]), ids[o]))
        for i in np.flatnonzero(memorized)
        if len(others)
    }
    assert taken(None, memorized, entropy, ids) == first | nearest
