from ..table import DOUBLE, INT, TEXT, Column, Expect, Table

TABLE = Table(
    grain="One row is one screened cell of head ablation: what screening cost, and how well it found the leaders.",
    columns=(
        Column("cell", TEXT, "the unit of work that wrote the row"),
        Column("model", TEXT, "the model"),
        Column("corpus", TEXT, "corpus of the sequences"),
        Column("domain", TEXT, "domain of the sequences"),
        Column("condition", TEXT, "dtype, attention kernel, ...: see `conditions`"),
        Column("method", TEXT, "what stands in for the head: see `head_deltas`"),
        Column("heads", INT, "attention heads of the model"),
        Column("sequences", INT, "sequences of the cell"),
        Column("confirmed", INT, "heads taken away on every sequence because they led"),
        Column("audited", INT, "heads drawn at random from the others and taken away on every sequence"),
        Column("cost", DOUBLE, "block passes, as a share of taking away every head on every sequence"),
        Column("recall", DOUBLE, "share of the true top 20 % among the leaders, as the audit estimates it"),
        Column("recall_low", DOUBLE, "lower end of its 95 % interval"),
        Column(
            "rank_correlation", DOUBLE, "Spearman's, of estimate and measurement; NULL: too few heads", nullable=True
        ),
    ),
    key=("cell",),
    partition=("model",),
    expect=(
        Expect("cell_of_the_file", "cell = getvariable('cell')"),
        Expect("model_of_the_cell", "model = getvariable('model')"),
        Expect("heads_add_up", "confirmed >= 0 and audited >= 0 and confirmed + audited <= heads"),
        Expect("shares_in_range", "cost > 0 and recall between 0 and 1 and recall_low between 0 and recall"),
        Expect("correlation_in_range", "rank_correlation is null or rank_correlation between -1.000001 and 1.000001"),
    ),
)
