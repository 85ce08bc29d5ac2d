"""The groups of sequences that findings on layers and noise compare, and their pairs, against a plain loop."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise, product

import numpy as np

from memlake.compute.planning.contrast import CALIPER, pairs

from .findings import database


def test_layer_groups_are_of_what_was_decoded_by_layer_under_the_base_condition():
    given = {
        "models": "model family base_condition\n a olmo base",
        "matches": "model sequence_id corpus domain condition memorized completion_entropy\n"
        "a 1 c d base true 5\n a 2 c d base false 5\n a 3 c d base false 5\n a 2 c d noisy true 5\n"  # 2: not read
        "a 4 c d base true 9\n a 5 c d base true NULL",
        "layer_tokens": "model sequence_id corpus domain condition position\n"
        "a 1 c d base 0\n a 1 c d base 1\n a 3 c d base 0\n a 2 c d other 0\n a 4 c d base 0\n a 5 c d base 0",
    }
    got = (
        database(given).execute('select "group", sequence_id, pair, entropy from layer_groups order by all').fetchall()
    )
    assert got == [
        ("matched", 3, 1, 5),
        ("memorized", 1, 1, 5),
        ("memorized", 4, None, 9),
        ("memorized", 5, None, None),
        ("unmemorized", 3, None, 5),
    ]


def test_groups_are_pairs_as_a_plain_loop_finds_them():
    """Some memorized, few to most, in two domains, two samples and two models; many ties, exact copies, no entropy;
    some not measured, which make the caliper and no pair."""
    rng = np.random.default_rng(0)
    sequences, expected = [], set()
    cells = "cell experiment outcome settings\n" + "\n".join(
        f'{rule}s sample done {{"sample":"{rule}","rule":{{"at":"{rule}","window":"8+8"}}}}\n'
        f'{rule} scoring done {{"sample":"{rule}"}}'
        for rule in ("space", "start")
    )
    for place in product("ab", ("d", "e"), ("space", "start", None)):
        n, first = 50, len(sequences)
        memorized = rng.random(n) < rng.choice([0.1, 0.4, 0.9])
        entropy = rng.integers(0, 200, n) / 8 - 5 * memorized
        entropy[rng.random(n) < 0.05] = np.nan
        measured = rng.random(n) < 0.8
        ids = first + rng.permutation(n)
        expected |= {(place[0], *pair) for pair in plain_pairs(ids, memorized, entropy, measured)}
        sequences += [
            {
                **{"model": place[0], "corpus": "c", "domain": place[1], "cell": place[2], "condition": "base"},
                **{"sequence_id": int(i), "memorized": bool(m), "measured": bool(seen)},
                "completion_entropy": None if np.isnan(e) else float(e),
            }
            for i, m, e, seen in zip(ids, memorized, entropy, measured, strict=True)
        ]
    con = database(
        {
            "models": "model family base_condition\n a olmo base\n b olmo base",
            "cells": cells,
            "matches": [{k: v for k, v in s.items() if k != "measured"} for s in sequences],
            "layer_tokens": [
                {k: s[k] for k in ("model", "corpus", "domain", "cell", "condition", "sequence_id")}
                for s in sequences
                if s["measured"]
            ],
        }
    )
    groups = con.execute('select model, pair, sequence_id, "group" from layer_groups').fetchall()
    assert len(expected) > 40
    assert {(model, pair, other) for model, pair, other, group in groups if group == "matched"} == expected
    assert {(m, p) for m, p, *_ in expected} == {(m, p) for m, p, i, g in groups if g == "memorized" and p is not None}
    assert all(pair in (None, i) for _, pair, i, group in groups if group == "memorized")
    counts = Counter(group for *_, group in groups)
    assert counts["memorized"] + counts["unmemorized"] == sum(s["measured"] for s in sequences)
    assert counts["matched"] == len(expected)


def plain_pairs(ids, memorized, entropy, measured) -> list[tuple[int, int]]:
    """(memorized, other) by the rule of groups_of: a stack for the brackets, levels as lists."""
    known = np.isfinite(entropy)
    variances = [np.var(entropy[known & (memorized == group)], ddof=1) for group in (True, False)]
    caliper = 0.2 * np.sqrt(np.mean([v for v in variances if np.isfinite(v)]))
    levels: dict[int, list[tuple]] = {}
    depth = 0
    take = known & measured
    for e, i, m in sorted(zip(entropy[take], ids[take], memorized[take], strict=True)):
        level = depth if m else depth - 1
        depth += 1 if m else -1
        levels.setdefault(level, []).append((e, int(i), m))
    found = []
    for level in levels.values():
        runs = [[level[0]]]
        for before, after in pairwise(level):
            if after[0] - before[0] > caliper:
                runs.append([])
            runs[-1].append(after)
        for run in runs:
            ways = [run[:-1], run[1:]] if len(run) % 2 else [run]  # without the last, or the first
            ways = [list(zip(way[::2], way[1::2], strict=True)) for way in ways]
            found += min(ways, key=lambda way: sum(b[0] - a[0] for a, b in way))
    return [(a[1], b[1]) if a[2] else (b[1], a[1]) for a, b in found]


def test_what_compute_takes_as_pairs_the_view_finds():
    rng = np.random.default_rng(1)
    ids, memorized = rng.permutation(80), rng.random(80) < 0.4
    entropy = rng.integers(0, 200, 80) / 8 - 5 * memorized
    rows = [
        {"model": "a", "corpus": "c", "domain": "d", "condition": "base", "sequence_id": int(i)} for i in ids.tolist()
    ]
    about = [{"memorized": bool(m), "completion_entropy": float(e)} for m, e in zip(memorized, entropy, strict=True)]
    given = {
        "models": "model family base_condition\n a olmo base",
        "matches": [row | more for row, more in zip(rows, about, strict=True)],
        "layer_tokens": rows,
    }
    got = database(given).execute("select pair, sequence_id from layer_groups where \"group\" = 'matched'").fetchall()
    taken = ids[pairs(memorized, entropy, ids, CALIPER)]
    assert len(taken) > 10
    assert sorted(got) == sorted(map(tuple, taken.tolist()))
