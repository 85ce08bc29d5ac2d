from memlake.warehouse.schema import TEXT, Column, Expect, Table

TABLE = Table(
    grain="One row is one model and one corpus: did it train on it.",
    columns=(
        Column("model", TEXT, "name of the model"),
        Column("corpus", TEXT, "name of the corpus"),
        Column("role", TEXT, "'trained' or 'control' (never trained on)"),
    ),
    key=("model", "corpus"),
    expect=(
        Expect("role_known", "role in ('trained', 'control')"),
        Expect("model_known", "model in (select model from stored.models)"),
    ),
)
