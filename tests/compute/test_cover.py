"""Which sequences an experiment takes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from compute.cover import _contrast


def plainly(ids, memorized, entropy) -> set[int]:
    """The definition, one memorized sequence after the other."""
    others = [i for i, m in enumerate(memorized) if not m]
    take = {i for i, m in enumerate(memorized) if m}
    for i in sorted(take):
        if others:
            take.add(min(others, key=lambda o: (abs(entropy[o] - entropy[i]), ids[o])))
    return take | set(others[: sum(memorized)])


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(20))
def test_contrast_takes_the_nearest_in_entropy_and_as_many_at_random(seed, share):
    rng = np.random.default_rng(seed)
    n = 40
    ids = rng.permutation(10 * n)[:n]
    memorized = rng.random(n) < share
    entropy = rng.integers(0, 12, n) / 4.0  # with many ties
    rows = pa.table({"sequence_id": ids, "memorized": memorized, "completion_entropy": entropy})
    taken = set(np.flatnonzero(_contrast(rows).to_numpy(zero_copy_only=False)))
    assert taken == plainly(ids, memorized, entropy)
