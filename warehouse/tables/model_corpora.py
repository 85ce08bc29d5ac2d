from memlake.warehouse.schema import TEXT, Column, Expect, Table

from ._measured import MODEL_KNOWN

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
        MODEL_KNOWN,
    ),
)
