from memlake.warehouse.schema import INT, TEXT, Column, Expect, Table

TABLE = Table(
    grain="One row is one document and one model: how often training showed the document's sampled window.",
    columns=(
        Column("cell", TEXT, "the unit of work that trained the model"),
        Column("model", TEXT, "name of the model"),
        Column("document_id", INT, "the document"),
        Column(
            "exposures", INT, "times the sampled window was shown; the same words in other documents are not counted"
        ),
    ),
    key=("model", "document_id"),
    partition=("model",),
    sort=("document_id",),
    expect=(
        Expect("not_negative", "exposures >= 0"),
        Expect("model_known", "model in (select model from stored.models)"),
        Expect("document_known", "document_id in (select document_id from stored.documents)"),
    ),
)
