from memlake.warehouse.schema import INT, TEXT, Column, Expect, Table

TABLE = Table(
    grain="One row is one tokenizer.",
    columns=(
        Column("tokenizer", TEXT, "name in this lake"),
        Column("source", TEXT, "hub id or path it was loaded from"),
        Column("digest", TEXT, "sha256 of its serialized form"),
        Column("vocab_size", INT, "number of tokens it can produce"),
    ),
    key=("tokenizer",),
    expect=(
        Expect("digest_tagged", "digest like 'sha256:%'"),
        Expect("vocabulary_not_empty", "vocab_size > 0"),
        Expect("digest_new", "digest not in (select digest from published)"),
    ),
)
