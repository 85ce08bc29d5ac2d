from memlake.warehouse.schema import DOUBLE, INT, TEXT, Column, Expect, Reference, Table

from ._measured import CELL, OF_CELL, PLACE

TABLE = Table(
    grain="One row is one screened cell of head ablation: what screening cost, and how well it found the leaders.",
    columns=(
        CELL,
        *PLACE,
        Column("method", TEXT, "what stands in for the head: see `head_deltas`"),
        Column("heads", INT, "attention heads of the model"),
        Column("sequences", INT, "sequences of the cell"),
        Column("measured", INT, "sequences on which the confirmed and the audited heads were taken away"),
        Column("confirmed", INT, "heads taken away on the measured sequences because they led"),
        Column("audited", INT, "heads drawn at random from the others and taken away on the same sequences"),
        Column("cost", DOUBLE, "block passes, as a share of taking away every head on every sequence"),
        Column("recall", DOUBLE, "share of the top 20 % on the measured sequences among the confirmed, by the audit"),
        Column("recall_low", DOUBLE, "lower end of its 95 % interval"),
        Column(
            "rank_correlation",
            DOUBLE,
            "Spearman's, of estimate and measurement over the confirmed and audited heads; NULL: too few, or none",
            nullable=True,
        ),
    ),
    key=("cell",),
    partition=("model",),
    expect=(
        *OF_CELL,
        Reference("effects_of_the_cell", ("cell",), "head_effects", within=("cell", "model")),
        Expect("heads_add_up", "confirmed >= 0 and audited >= 0 and confirmed + audited <= heads"),
        Expect("measured_of_the_sequences", "measured between 1 and sequences"),
        Expect("shares_in_range", "cost > 0 and recall between 0 and 1 and recall_low between 0 and recall"),
        Expect("correlation_in_range", "rank_correlation is null or rank_correlation between -1.000001 and 1.000001"),
    ),
)
