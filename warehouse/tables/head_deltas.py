from memlake.warehouse.schema import BOOL, FLOAT, INT, TEXT, Column, Expect, Table

from ._measured import COLUMNS, CONDITION, OF_CELL, scored

METHODS = ("peer_mean", "zero", "mean", "resample")

TABLE = Table(
    grain="One row is one attention head taken away on one sequence: what the forced read-outs lose (ablated - clean).",
    columns=(
        *COLUMNS,
        Column("method", TEXT, "what stands in for the head: 'peer_mean', 'zero', 'mean' or 'resample'"),
        Column("layer", INT, "block, from 0"),
        Column("head", INT, "query head, from 0"),
        Column("delta_logprob", FLOAT, "change of the continuation's log-probability; NULL: no peers", nullable=True),
        Column("delta_n_match", INT, "change of matching tokens, forced; NULL: no peers", nullable=True),
        Column("memorized_after", BOOL, "does every token still match; NULL: no peers", nullable=True),
    ),
    key=("model", "sequence_id", "method", "layer", "head", "condition"),
    partition=("model", "corpus", "domain"),
    sort=("layer", "head", "sequence_id"),
    expect=(
        *OF_CELL,
        CONDITION,
        Expect("method_known", f"method in {METHODS}"),
        Expect("method_of_the_cell", "method = getvariable('method')"),
        scored(),
        Expect(
            "head_of_the_model",
            "layer between 0 and (select n_layers - 1 from stored.models where model = getvariable('model'))"
            " and head between 0 and (select n_heads - 1 from stored.models where model = getvariable('model'))",
        ),
        Expect(
            "all_or_no_delta",
            "(delta_logprob is null) = (delta_n_match is null) and (delta_logprob is null) = (memorized_after is null)",
        ),
        Expect(
            "no_delta_only_without_peers",
            "delta_logprob is not null or method = 'peer_mean'"
            " and (select n_heads from stored.models where model = getvariable('model')) = 1",
        ),
    ),
)
