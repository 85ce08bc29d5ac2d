from ..table import FLOATS, INT, TEXT, Column, Expect, Table

TABLE = Table(
    grain="One row is one sequence under one noise condition, prefix or continuation: how near clean states.",
    columns=(
        Column("cell", TEXT, "the unit of work that wrote the row"),
        Column("sequence_id", INT, "the sequence"),
        Column("model", TEXT, "the model"),
        Column("corpus", TEXT, "corpus of the sequence"),
        Column("domain", TEXT, "domain of the sequence"),
        Column("condition", TEXT, "the noise condition: see `conditions`"),
        Column("part", TEXT, "'prefix' or 'continuation': the positions that predict the continuation's tokens"),
        Column("cosine", FLOATS, "cosine of noisy and clean state, mean over positions; entry 0 after the embedding"),
        Column("relative_l2", FLOATS, "|noisy - clean| / |clean|, mean over positions; entry l after block l"),
    ),
    key=("model", "sequence_id", "condition", "part"),
    partition=("model", "corpus", "domain"),
    sort=("condition", "part", "sequence_id"),
    expect=(
        Expect("cell_of_the_file", "cell = getvariable('cell')"),
        Expect("model_of_the_cell", "model = getvariable('model')"),
        Expect("part_known", "part in ('prefix', 'continuation')"),
        Expect("noise_condition", "condition in (select condition from stored.conditions where noise > 0)"),
        Expect(
            "scored_under_noise",
            "(model, sequence_id, condition) in (select (model, sequence_id, condition) from stored.matches"
            " where model = getvariable('model') and corpus = getvariable('corpus')"
            " and domain = getvariable('domain'))",
        ),
        *(
            Expect(
                f"{name}_per_layer",
                f"len({name}) = 1 + (select n_layers from stored.models where model = getvariable('model'))",
            )
            for name in ("cosine", "relative_l2")
        ),
        Expect("cosine_in_range", "list_min(cosine) >= -1.0001 and list_max(cosine) <= 1.0001"),
        Expect("l2_not_negative", "list_min(relative_l2) >= 0"),
    ),
)
