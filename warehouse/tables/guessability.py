from memlake.warehouse.schema import BOOL, DOUBLE, Column, Expect, Table

from ._measured import TEXT_COLUMNS, TEXT_KNOWN

TABLE = Table(
    grain="One row is one sequence: does its text give its continuation away, to any model?",
    columns=(
        *TEXT_COLUMNS,
        Column(
            "templated",
            BOOL,
            "the continuation goes on with pieces of the prefix's shape, nine in ten of their words and numbers given",
        ),
        Column("incrementing", BOOL, "the same, all of it given, and numbers count up or down in equal steps"),
        Column("repeating", BOOL, "one piece of text is repeated, byte by byte"),
        Column("huffman_length", DOUBLE, "mean bits a byte of the window's own Huffman code"),
        Column(
            "rouge_l",
            DOUBLE,
            "ROUGE-L (F1) of the continuation's words against the prefix's; NULL where either has none",
            nullable=True,
        ),
    ),
    key=("sequence_id",),
    partition=("corpus", "domain"),
    sort=("sequence_id",),
    expect=(
        Expect("repeating_or_incrementing_is_templated", "templated or not (incrementing or repeating)"),
        Expect("huffman_length_of_bytes", "huffman_length between 0 and 8"),
        Expect("rouge_l_is_a_share", "rouge_l is null or rouge_l between 0 and 1"),
        TEXT_KNOWN,
    ),
)
