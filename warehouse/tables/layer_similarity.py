from memlake.warehouse.schema import FLOATS, TEXT, Column, Expect, Reference, Table

from ._measured import COLUMNS, OF_CELL, per_layer, scored

# SQL: the condition that differs from the row's in noise alone, and has none
WITHOUT_NOISE = (
    "(select min(clean.condition) from stored.conditions clean, stored.conditions noisy"
    " where noisy.condition = rows.condition and clean.noise = 0"
    " and (clean.dtype, clean.attention, clean.bos, clean.no_eos, clean.top_k, clean.temperature)"
    " is not distinct from (noisy.dtype, noisy.attention, noisy.bos, noisy.no_eos, noisy.top_k, noisy.temperature))"
)

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
        Reference("noise_condition", ("condition",), "conditions", where="noise > 0"),
        scored("scored_under_noise"),
        # The noise experiment chooses among scored sequences: with this all its rows stand on those scores
        scored("scored_without_noise", condition=WITHOUT_NOISE),
        *per_layer("cosine", "relative_l2"),
        Expect("cosine_in_range", "list_min(cosine) >= -1.0001 and list_max(cosine) <= 1.0001"),
        Expect("l2_not_negative", "list_min(relative_l2) >= 0"),
    ),
)
