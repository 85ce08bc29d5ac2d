from memlake.warehouse.schema import BYTES, DOUBLE, INT, TEXT, Column, Expect, Table

from ._measured import COLUMNS, CONDITION, OF_CELL, scored

TABLE = Table(
    grain="One row is one memorized sequence under one model and one way to shorten its prompt: which lengths suffice.",
    columns=(
        *COLUMNS,
        Column("window", TEXT, "'suffix': the last k tokens of the prompt are kept; 'prefix': the first k"),
        Column("prefix_tokens", INT, "tokens of the whole prompt"),
        Column("shortest", INT, "fewest tokens k that still give the whole continuation; NULL: none", nullable=True),
        Column("ratio", DOUBLE, "shortest / prefix_tokens; NULL: none", nullable=True),
        Column("successes", BYTES, "which k suffice, packed; k = 1 is bit 0 of successes::bit"),
    ),
    key=("model", "sequence_id", "window", "condition"),
    partition=("model", "corpus", "domain"),
    sort=("sequence_id",),
    expect=(
        *OF_CELL,
        CONDITION,
        Expect("window_of_the_cell", "\"window\" = getvariable('window')"),
        scored("memorized_sequence", "memorized"),
        Expect("successes_are_packed", "octet_length(successes) = (prefix_tokens + 7) // 8"),
        Expect("no_success_after_the_end", "bit_count(successes::bit << prefix_tokens::int) = 0"),
        Expect("the_whole_prompt_suffices", "get_bit(successes::bit, prefix_tokens::int - 1) = 1"),
        Expect("shortest_is_first_success", "shortest = bit_position('1'::bit, successes::bit)"),
        Expect("ratio_of_shortest", "abs(ratio - shortest / prefix_tokens) < 1e-12"),
    ),
)
