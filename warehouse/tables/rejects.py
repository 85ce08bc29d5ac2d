from memlake.warehouse.schema import BYTES, INT, TEXT, Column, Expect, Table

TABLE = Table(
    grain="One row is one input record, anchor, or sequence that was not taken, and why.",
    columns=(
        Column("cell", TEXT, "the unit of work that read the record"),
        Column("corpus", TEXT, "the corpus it was read for"),
        Column(
            "source",
            TEXT,
            "file it stands in, relative to the root that was read; for an anchor DOMAIN/TOKENIZER/SAMPLE, for a"
            " sequence that a model cannot take also /MODEL/CONDITION",
        ),
        Column("position", INT, "place within the source, from 0; for an anchor or a sequence its rank"),
        Column("reason", TEXT, "why it was not taken"),
        Column("head", BYTES, "its first bytes, at most 200; of a sequence its tokens"),
    ),
    key=("corpus", "source", "position"),
    partition=("corpus",),
    sort=("source", "position"),
    expect=(
        Expect("reason_given", "reason <> ''"),
        Expect("head_is_short", "octet_length(head) <= 200"),
        Expect("corpus_of_the_cell", "corpus = getvariable('corpus')"),
    ),
)
