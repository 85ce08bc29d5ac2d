"""Which sequences are measured beside the memorized ones: some at random, and some of like completion entropy.

What a model is sure of it decides early and keeps under noise, memorized or not: only text as certain and not memorized
tells memory from certainty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

CALIPER = 0.2  # of `pairs`: leaves about 1 % of the difference of two normal groups (Cochran and Rubin 1973)


def contrast(rows: pa.Table, caliper: float | None) -> pa.Array:
    """Which of the rows 'contrast' takes; caliper: as in `pairs`, None in cells of former versions."""
    import numpy as np
    import pyarrow as pa

    memorized = rows["memorized"].to_numpy()
    entropy = rows["completion_entropy"].to_numpy()
    ids = rows["sequence_id"].to_numpy()
    take = memorized.copy()
    take[np.flatnonzero(~memorized)[: memorized.sum()]] = True
    beside = _nearest(memorized, entropy, ids) if caliper is None else pairs(memorized, entropy, ids, caliper)[:, 1]
    take[beside] = True
    return pa.array(take)


def pairs(memorized: np.ndarray, entropy: np.ndarray, ids: np.ndarray, caliper: float) -> np.ndarray:
    """Places of memorized sequences and of others of like completion entropy, one of each a pair, none in two: int64
    [pairs, 2]. By the rule that groups_of in queries/views/groups.sql tells.

    caliper: the most by which a pair may differ, in standard deviations of the entropy, the root of the mean of the two
    groups' variances (Cochran and Rubin 1973, Sankhya A 35:417).
    """
    import numpy as np

    known = np.isfinite(entropy)
    groups = [entropy[known & (memorized == group)] for group in (True, False)]
    variances = [group.var(ddof=1) for group in groups if len(group) > 1]
    most = caliper * np.mean(variances) ** 0.5 if variances else 0.0
    height = 0
    runs: list[list[int]] = []
    last: dict[int, list[int]] = {}  # the run that ended last at each height
    for at in np.lexsort((ids, entropy)):
        if not known[at]:
            continue
        height -= not memorized[at]
        run = last.get(height)  # a memorized sequence leads up from its level, another one down to its level
        if run is None or entropy[at] - entropy[run[-1]] > most:
            last[height] = run = []
            runs.append(run)
        run.append(at)
        height += memorized[at]
    found: list[tuple[int, int]] = []
    for run in runs:
        steps = np.diff(entropy[run])
        start = int(len(run) % 2 and steps[1::2].sum() < steps[::2].sum())
        found += zip(run[start::2], run[start + 1 :: 2], strict=False)
    both = np.array(found, np.int64).reshape(-1, 2)
    return np.where(memorized[both[:, :1]], both, both[:, ::-1])


def _nearest(memorized: np.ndarray, entropy: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Places of the others that are nearest to memorized sequences in entropy, however far and however often: of
    equals the lowest id. So cells of former versions chose."""
    import numpy as np

    others = np.flatnonzero(~memorized)
    if not len(others):
        return others
    by_entropy = others[np.lexsort((ids[others], entropy[others]))]
    sorted_entropy = entropy[by_entropy]
    # Of equals the first in the order: `left` finds it above, a second `left` the first that equals the one below
    above = np.searchsorted(sorted_entropy, entropy[memorized], side="left")
    below = np.searchsorted(sorted_entropy, sorted_entropy[np.maximum(above - 1, 0)], side="left")
    above = np.minimum(above, len(by_entropy) - 1)
    gap_above, gap_below = (np.abs(sorted_entropy[at] - entropy[memorized]) for at in (above, below))
    ids = ids[by_entropy]
    lower = (gap_below < gap_above) | ((gap_below == gap_above) & (ids[below] < ids[above]))
    return by_entropy[np.where(lower, below, above)]
