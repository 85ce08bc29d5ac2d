from memlake.warehouse.schema import BOOL, DOUBLE, TEXT, TIME, Column, Table

TABLE = Table(
    grain="One row is one expectation judged on one partition of one cell.",
    columns=(
        Column("cell", TEXT, "the unit of work that was judged"),
        Column("table_name", TEXT, "the table it wrote to"),
        Column("partition", TEXT, "partition of the rows, as in the file's path; '' where the table has none"),
        Column("expectation", TEXT, "name of the expectation"),
        Column("passed", BOOL, "did every row, or the aggregate, meet it"),
        Column("observed", DOUBLE, "offending rows, or the aggregate's value; NULL: no value", nullable=True),
        Column("checked_at", TIME, "when"),
        Column(
            "quarantined", TEXT, "where the offending rows lie, relative to the lake; NULL: published", nullable=True
        ),
    ),
    key=("cell", "table_name", "partition", "expectation", "checked_at"),
    partition=("table_name",),
)
