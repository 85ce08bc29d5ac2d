from memlake.warehouse.schema import FLOATS, INT, INTS, Column, Expect, Table

from ._measured import COLUMNS, CONDITION, OF_CELL, per_layer, scored

LISTS = ("top1", "target_probability", "target_rank", "entropy", "kl_to_final")

TABLE = Table(
    grain="One row is one continuation position of one sequence under one model: what each layer would predict there.",
    columns=(
        *COLUMNS,
        Column("position", INT, "place in the continuation, from 0"),
        Column("target", INT, "the token that stands there"),
        Column("top1", INTS, "likeliest token; in all lists entry 0 is after the embedding, entry l after block l"),
        Column("target_probability", FLOATS, "probability of the target"),
        Column("target_rank", INTS, "rank of the target among all tokens, from 1; of equal logits the lowest id first"),
        Column("entropy", FLOATS, "entropy of the prediction, nats"),
        Column("kl_to_final", FLOATS, "KL divergence of the layer's prediction from the last one's, nats"),
        Column("first_layer", INT, "first entry from which top1 stays the last entry's"),
    ),
    key=("model", "sequence_id", "position", "condition"),
    partition=("model", "corpus", "domain"),
    sort=("sequence_id", "position"),
    expect=(
        *OF_CELL,
        CONDITION,
        scored(),
        Expect("target_of_the_sequence", "target >= 0 and position >= 0"),
        *per_layer(*LISTS),
        Expect("probability_in_range", "list_min(target_probability) >= 0 and list_max(target_probability) <= 1.00001"),
        Expect("rank_from_1", "list_min(target_rank) >= 1"),
        Expect(
            "rank_1_is_top1",
            "len(list_filter(list_zip(top1, target_rank), lambda x: (x[1] = target) <> (x[2] = 1))) = 0",
        ),
        Expect("entropy_not_negative", "list_min(entropy) >= 0"),
        Expect("kl_not_negative", "list_min(kl_to_final) >= 0"),
        Expect("kl_of_the_last_is_0", "kl_to_final[-1] < 1e-4"),
        Expect(
            "stable_from_first_layer",
            "len(list_filter(top1[first_layer + 1 :], lambda x: x <> top1[-1])) = 0"
            " and (first_layer = 0 or top1[first_layer] <> top1[-1])",
        ),
    ),
)
