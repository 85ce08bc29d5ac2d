from memlake.warehouse.schema import DOUBLE, INT, TEXT, TIME, Column, Expect, Table

TABLE = Table(
    grain="One row is one attempt at one unit of work, and how it ended.",
    columns=(
        Column("cell", TEXT, "its id: a tagged hash of experiment, version and settings"),
        Column("experiment", TEXT, "what was done"),
        Column("version", INT, "version of the experiment's code, bumped by hand when rows change"),
        Column("settings", TEXT, "all that decides its rows, canonical JSON"),
        Column("rows", INT, "rows published, over all its tables"),
        Column("seconds", DOUBLE, "time the work took"),
        Column("device", TEXT, "where it ran"),
        Column("versions", TEXT, "library versions it ran with, JSON"),
        Column("outcome", TEXT, "'done', 'quarantined', 'failed' or 'forgotten'"),
        Column("reason", TEXT, "why it was not published; NULL when done", nullable=True),
        Column("finished_at", TIME, "when"),
    ),
    key=("cell", "outcome", "finished_at"),
    partition=("experiment",),
    expect=(
        Expect("outcome_known", "outcome in ('done', 'quarantined', 'failed', 'forgotten')"),
        Expect("reason_unless_done", "(reason is null) = (outcome in ('done', 'forgotten'))"),
    ),
)
