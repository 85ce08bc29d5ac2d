"""The suites of what is measured inside models: good rows are published, each defect is caught by name."""

from __future__ import annotations

import copy

import numpy as np
import pyarrow.parquet as pq
import pytest

from memlake.tests.small import (
    CONDITION,
    CONTINUATION,
    DOMAINS,
    PREFIX,
    MadeCell,
    made_cell,
    make_lake,
    match_cell,
    match_rows,
    put_cell,
)
from memlake.warehouse import schema
from memlake.warehouse.publishing.register import register

DOMAIN = DOMAINS[0]
LAYERS, HEADS = 2, 4  # of tests.small.MODEL
SETTINGS = {"model": "m", "corpus": "mine", "domain": DOMAIN, "condition": CONDITION["condition"]}
NOISY = {"noise": 0.3, "noise_seed": 0, "noise_layer": 0, "noise_scope": "token"}
MEMORIZED = [r["sequence_id"] for r in match_rows(DOMAIN) if r["memorized"]]


def compression(i: int) -> dict:
    fits = np.arange(PREFIX) >= (1, 3)[i % 2]  # the last two, or the last one
    fits[0] = i % 4 == 1  # not monotone: one token suffices, two do not
    first = int(fits.argmax()) + 1
    return {
        "window": "suffix",
        "prefix_tokens": PREFIX,
        "shortest": first,
        "ratio": first / PREFIX,
        "successes": np.packbits(fits).tobytes(),
    }


def layers(i: int) -> dict:
    return {
        "position": i,
        "target": 7,
        "top1": [7, 3, 7],
        "target_probability": [0.5, 0.25, 1.0],
        "target_rank": [1, 2, 1],
        "entropy": [1.0, 0.5, 0.0],
        "kl_to_final": [0.7, 0.4, 0.0],
        "first_layer": 2,
    }


def similarity(i: int) -> dict:
    part = ("prefix", "continuation")[i % 2]
    return {"condition": "noisy", "part": part, "cosine": [0.9, 0.95, 1.0], "relative_l2": [0.3, 0.2, 0.0]}


def head(i: int) -> dict:
    lost = {"delta_logprob": -1.5, "delta_n_match": -1, "memorized_after": False}
    return {"method": "zero", "layer": i % LAYERS, "head": i // LAYERS % HEADS, **lost}


def block(i: int) -> dict:
    lost = i % CONTINUATION
    return {
        "first_block": 1,
        "last_block": 1,
        "n_tokens": CONTINUATION,
        "n_match": CONTINUATION - lost,
        "memorized": lost == 0,
        "completion_entropy": 3.0,
        "delta_logprob": -2.0,
        "output_difference": [0.0, 1.5],
    }


def effect(i: int) -> dict:
    mean = {"mean_delta_logprob": -1.5, "var_delta_logprob": 0.0, "n_lost": 2, "estimate": None}
    return {"method": "zero", "layer": i % LAYERS, "head": i // LAYERS, "n": 2, **mean}


def guess(i: int) -> dict:
    flags = {"templated": i % 3 == 0, "incrementing": False, "repeating": i % 6 == 0}
    return {"tokenizer": "t", **flags, "huffman_length": 4.5, "rouge_l": None if i % 5 == 0 else 0.25}


def counted(i: int) -> dict:
    span, counts = (("window", [2]), ("unigrams", [5, 9, 7]), ("continuation", [3]))[i % 3]
    scanned = {"counted_corpus": "mine", "counted_tokenizer": "t", "tokens_scanned": 100, "complete": True}
    return scanned | {"sequence_id": MEMORIZED[i // 3], "tokenizer": "t", "span": span, "counts": counts}


def change(**values):
    return lambda row: row.update(values)


def entry(name: str, at: int, value: float):
    return lambda row: row[name].__setitem__(at, value)


# table: (how row i is made, defects: (how one is made in row 3, expectation that catches it))
SUITES = {
    "prompt_compression": (
        compression,
        [
            (change(shortest=2, ratio=0.5), "shortest_is_first_success"),
            (change(ratio=12.5), "ratio_of_shortest"),
            (change(successes=bytes([0b11100000])), "the_whole_prompt_suffices"),
            (change(successes=bytes([0b00011000])), "no_success_after_the_end"),
            (change(successes=bytes([0b00010000, 0])), "successes_are_packed"),
            (change(window="prefix"), "window_of_the_cell"),
            (change(sequence_id=5), "memorized_sequence"),
        ],
    ),
    "layer_tokens": (
        layers,
        [
            (entry("top1", 0, 3), "rank_1_is_top1"),
            (entry("target_rank", 1, 0), "rank_from_1"),
            (entry("target_probability", 1, 1.5), "probability_in_range"),
            (entry("entropy", 1, -0.5), "entropy_not_negative"),
            (entry("entropy", 1, float("nan")), "entropy_finite"),
            (entry("kl_to_final", 1, -0.5), "kl_not_negative"),
            (entry("kl_to_final", 2, 0.5), "kl_of_the_last_is_0"),
            (change(first_layer=1), "stable_from_first_layer"),
            (change(first_layer=0), "stable_from_first_layer"),
            (lambda row: row["entropy"].pop(), "entropy_per_layer"),
        ],
    ),
    "layer_similarity": (
        similarity,
        [
            (entry("cosine", 1, 1.5), "cosine_in_range"),
            (entry("relative_l2", 1, -0.5), "l2_not_negative"),
            (lambda row: row["cosine"].pop(), "cosine_per_layer"),
            (change(part="all"), "part_known"),
            (change(condition=CONDITION["condition"]), "noise_condition"),
        ],
    ),
    "head_deltas": (
        head,
        [
            (change(layer=LAYERS), "head_of_the_model"),
            (change(head=-1), "head_of_the_model"),
            (change(method="mean"), "method_of_the_cell"),
            (change(delta_n_match=None), "all_or_no_delta"),
            (change(delta_logprob=None, delta_n_match=None, memorized_after=None), "no_delta_only_without_peers"),
            (change(delta_logprob=float("-inf")), "delta_logprob_finite"),
            (change(sequence_id=5), "scored_sequence"),
        ],
    ),
    "block_deltas": (
        block,
        [
            (change(n_match=13), "match_of_tokens"),
            (change(memorized=True), "memorized_is_all_match"),
            (change(last_block=LAYERS), "blocks_of_the_model"),
            (change(first_block=0, last_block=-1), "blocks_of_the_model"),
            (entry("output_difference", 0, 0.5), "no_difference_before"),
            (entry("output_difference", 1, -1.0), "difference_not_negative"),
            (lambda row: row["output_difference"].pop(), "difference_per_block"),
        ],
    ),
    "guessability": (
        guess,
        [
            (change(templated=False, repeating=True), "repeating_or_incrementing_is_templated"),
            (change(templated=False, incrementing=True), "repeating_or_incrementing_is_templated"),
            (change(templated=None), "templated_present"),
            (change(huffman_length=8.5), "huffman_length_of_bytes"),
            (change(rouge_l=1.5), "rouge_l_is_a_share"),
            (change(tokenizer="u"), "sequence_known"),
            (change(sequence_id=5), "sequence_known"),
        ],
    ),
    "ngram_counts": (
        counted,
        [
            (change(span="trigrams"), "span_known"),
            (change(counts=[]), "counted"),
            (change(counts=[1, 1]), "one_count_of_a_whole"),
            (change(tokens_scanned=0, counts=[0]), "something_scanned"),
            (change(span="document", counts=[101]), "not_more_than_scanned"),
            (change(counts=[0]), "counts_itself"),
            (change(counts=[4]), "window_not_more_than_continuation"),
            (change(span="bigrams", counts=[3, 8]), "pair_not_more_than_its_tokens"),
            (change(sequence_id=5, counts=[1]), "sequence_known"),
        ],
    ),
}


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    lake = make_lake(tmp_path_factory.mktemp("suites") / "lake", (DOMAIN,))
    register(lake, "conditions", [CONDITION | NOISY | {"condition": "noisy"}])
    assert put_cell(lake, match_cell(DOMAIN), {"matches": match_rows(DOMAIN)}) is None
    noisy = [r | {"condition": "noisy"} for r in match_rows(DOMAIN)]
    assert put_cell(lake, match_cell(DOMAIN, noise=0.3), {"matches": noisy}) is None
    return lake


def rows(table: str) -> list[dict]:
    make, _ = SUITES[table]
    place = {k: v for k, v in SETTINGS.items() if k in schema.table(table).schema.names}
    return [copy.deepcopy(place | {"sequence_id": s} | make(i)) for i, s in enumerate(MEMORIZED)]


def cell(table: str, **more) -> MadeCell:
    return made_cell("small", SETTINGS | {"window": "suffix", "method": "zero", "table": table, **more}, table)


@pytest.mark.parametrize("table", SUITES)
def test_a_defect_is_quarantined_with_exactly_its_row_and_good_rows_are_published(lake, table):
    assert len(MEMORIZED) > 10
    for i, (spoil, caught_by) in enumerate(SUITES[table][1]):
        bad = rows(table)
        spoil(bad[3])
        reason = put_cell(lake, cell(table, defect=i), {table: bad})
        assert reason is not None and f"{table}.{caught_by} (1)" in reason, (i, reason)
        kept = pq.read_table(lake.quarantine / cell(table, defect=i).id / f"{table}.parquet")
        assert kept["sequence_id"].to_pylist() == [bad[3]["sequence_id"]]
    assert put_cell(lake, cell(table), {table: rows(table)}) is None
    reason = put_cell(lake, cell(table, again=True), {table: rows(table)})
    assert f"{table}.key_not_published ({len(MEMORIZED)})" in reason


def test_a_string_that_is_counted_more_often_than_its_parts_is_quarantined(lake):
    def put(**counts):
        some = [
            {"corpus": "mine", "domain": DOMAIN} | counted(0) | {"span": span, "counts": c}
            for span, c in counts.items()
        ]
        return put_cell(lake, cell("ngram_counts", counts=counts), {"ngram_counts": some})

    assert "ngram_counts.window_not_more_than_pairs (1)" in put(window=[4], bigrams=[5, 3])
    assert "ngram_counts.continuation_not_more_than_last_token (1)" in put(continuation=[8], unigrams=[9, 7])
    assert "ngram_counts.pair_not_more_than_its_tokens (1)" in put(bigrams=[5, 8], unigrams=[9, 8, 7])


def test_a_roll_up_that_is_not_of_its_rows_is_quarantined(lake):
    deltas = [SETTINGS | {"sequence_id": s} | head(i) for i in range(LAYERS * HEADS) for s in MEMORIZED[:2]]
    good = [SETTINGS | effect(i) for i in range(LAYERS * HEADS)]
    tables = ("head_deltas", "head_effects")

    def put(effects, **more):
        both = made_cell("small", SETTINGS | {"method": "zero", "roll_up": True, **more}, *tables)
        return put_cell(lake, both, {"head_deltas": deltas, "head_effects": effects})

    # what stands in head_deltas already, of the test above, is of another cell
    lake_rows = lake.files("head_deltas")
    for i, (wrong, caught_by) in enumerate(
        [
            (change(mean_delta_logprob=-1.0), "mean_of_deltas"),
            (change(n=3), "n_counts_deltas"),
            (change(n_lost=5), "lost_of_n"),
            (change(var_delta_logprob=-1.0), "variance_not_negative"),
        ]
    ):
        bad = copy.deepcopy(good)
        wrong(bad[3])
        assert f"head_effects.{caught_by} (1)" in put(bad, defect=i)
    assert lake.files("head_deltas") == lake_rows
