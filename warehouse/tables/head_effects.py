from memlake.warehouse.schema import DOUBLE, INT, TEXT, Column, Expect, Reference, Table

from ._measured import CELL, CONDITION, OF_CELL, PLACE

SAME = (
    # The cell's own files are found by their statistics, and the others not read
    "d.cell = getvariable('cell') and d.domain = rows.domain and d.layer = rows.layer and d.head = rows.head"
)

TABLE = Table(
    grain="One row is one attention head over the sequences of one cell: the roll-up of `head_deltas`.",
    columns=(
        CELL,
        *PLACE,
        Column("method", TEXT, "what stands in for the head: see `head_deltas`"),
        Column("layer", INT, "block, from 0"),
        Column("head", INT, "query head, from 0"),
        Column("n", INT, "sequences on which it was taken away; fewer, or 0, where screening dropped the head"),
        Column("mean_delta_logprob", DOUBLE, "mean of delta_logprob; NULL: n is 0, or no peers", nullable=True),
        Column("var_delta_logprob", DOUBLE, "its variance over sequences; NULL below 2", nullable=True),
        Column("n_lost", INT, "sequences memorized before and not after; NULL: n is 0, or no peers", nullable=True),
        Column("estimate", DOUBLE, "screening's estimate of mean_delta_logprob; NULL: not screened", nullable=True),
    ),
    key=("cell", "layer", "head"),
    partition=("model",),
    sort=("layer", "head"),
    expect=(
        *OF_CELL,
        CONDITION,
        Expect("method_of_the_cell", "method = getvariable('method')"),
        # Screened or not, a cell has deltas of what it measured; by them its roll-up stands on the scores
        Reference("deltas_of_the_cell", ("cell",), "head_deltas", within=("cell", "model", "corpus", "domain")),
        Expect("n_not_negative", "n >= 0"),
        Expect("variance_not_negative", "var_delta_logprob is null or var_delta_logprob >= 0"),
        Expect("lost_of_n", "n_lost is null or n_lost between 0 and n"),
        Expect(
            "n_counts_deltas",
            f"n = (select count(delta_logprob) from stored.head_deltas d where {SAME}) or n_lost is null",
        ),
        Expect(
            "mean_of_deltas",
            "mean_delta_logprob is null or abs(mean_delta_logprob"
            f" - (select avg(delta_logprob::double) from stored.head_deltas d where {SAME})) < 1e-4",
        ),
    ),
)
