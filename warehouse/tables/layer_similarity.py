from memlake.warehouse.schema import FLOATS, TEXT, Column, Expect, Table

from ._measured import COLUMNS, OF_CELL, per_layer, scored

TABLE = Table(
    grain="One row is one sequence under one noise condition, prefix or continuation: how near clean states.",
    columns=(
        *COLUMNS,
        Column("part", TEXT, "'prefix' or 'continuation': the positions that predict the continuation's tokens"),
        Column("cosine", FLOATS, "cosine of noisy and clean state, mean over positions; entry 0 after the embedding"),
        Column("relative_l2", FLOATS, "|noisy - clean| / |clean|, mean over positions; entry l after block l"),
    ),
    key=("model", "sequence_id", "condition", "part"),
    partition=("model", "corpus", "domain"),
    sort=("condition", "part", "sequence_id"),
    expect=(
        *OF_CELL,
        Expect("part_known", "part in ('prefix', 'continuation')"),
        Expect("noise_condition", "condition in (select condition from stored.conditions where noise > 0)"),
        scored("scored_under_noise"),
        *per_layer("cosine", "relative_l2"),
        Expect("cosine_in_range", "list_min(cosine) >= -1.0001 and list_max(cosine) <= 1.0001"),
        Expect("l2_not_negative", "list_min(relative_l2) >= 0"),
    ),
)
