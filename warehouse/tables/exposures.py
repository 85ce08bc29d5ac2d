from memlake.warehouse.schema import INT, TEXT, Column, Expect, Reference, Table

from ._measured import MODEL_KNOWN

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
        MODEL_KNOWN,
        Reference("document_known", ("document_id",), "documents", within=("corpus",)),
    ),
)
