from memlake.warehouse.schema import BOOL, DOUBLE, FLOATS, INT, Column, Expect, Table

from ._measured import COLUMNS, CONDITION, N_LAYERS, OF_CELL, scored

TABLE = Table(
    grain="One row is one range of short-circuited blocks on one sequence: forced read-outs, and how far states move.",
    columns=(
        *COLUMNS,
        Column("first_block", INT, "first block whose attention is short-circuited, from 0"),
        Column("last_block", INT, "last such block"),
        Column("n_tokens", INT, "tokens of the continuation"),
        Column("n_match", INT, "matching tokens, forced"),
        Column("memorized", BOOL, "every token matches"),
        Column("completion_entropy", DOUBLE, "predictive entropy summed over the continuation positions, nats"),
        Column("delta_logprob", DOUBLE, "change of the continuation's log-probability (short-circuited - clean)"),
        Column(
            "output_difference",
            FLOATS,
            "|short-circuited - clean| of the residual stream, root mean square over the continuation positions;"
            " entry b after block b, 0 before first_block",
        ),
        Column(
            "output_bound",
            FLOATS,
            "what it cannot exceed, from the weights and the clean run: ours, in the spirit of B's two theorems (see"
            " docs/method/short_circuit.md); entry b after block b, 0 before first_block",
            nullable=True,
        ),
    ),
    key=("model", "sequence_id", "first_block", "last_block", "condition"),
    partition=("model", "corpus", "domain"),
    sort=("first_block", "last_block", "sequence_id"),
    expect=(
        *OF_CELL,
        CONDITION,
        scored(),
        Expect(
            "blocks_of_the_model",
            f"0 <= first_block and first_block <= last_block and last_block < {N_LAYERS}",
        ),
        Expect("match_of_tokens", "n_match between 0 and n_tokens"),
        Expect("memorized_is_all_match", "memorized = (n_match = n_tokens)"),
        Expect("entropy_not_negative", "completion_entropy >= 0"),
        Expect(
            "difference_per_block",
            f"len(output_difference) = {N_LAYERS}",
        ),
        Expect("no_difference_before", "first_block = 0 or list_max(output_difference[: first_block]) = 0"),
        Expect("difference_not_negative", "list_min(output_difference) >= 0"),
    ),
)
