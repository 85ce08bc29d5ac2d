from memlake.warehouse.schema import DOUBLE, INT, TEXT, Column, Expect, Table

from ._measured import CELL, CONDITION_KNOWN, MODEL_KNOWN, OF_CELL

TABLE = Table(
    grain="One row is one metric of one lm-eval task for one model, whole or with short-circuited blocks.",
    columns=(
        CELL,
        Column("model", TEXT, "the model"),
        Column("condition", TEXT, "dtype, attention kernel, ...: see `conditions`"),
        Column("first_block", INT, "first short-circuited block, from 0; NULL: the whole model", nullable=True),
        Column("last_block", INT, "last such block; NULL: the whole model", nullable=True),
        Column("task", TEXT, "name of the task in lm-eval"),
        Column("metric", TEXT, "name of the metric, as lm-eval gives it"),
        Column("value", DOUBLE, "its value"),
        Column("stderr", DOUBLE, "its standard error, as lm-eval gives it; NULL: none given", nullable=True),
        Column("n", INT, "examples it was computed on"),
    ),
    key=("model", "condition", "first_block", "last_block", "task", "metric"),
    partition=("model",),
    expect=(
        *OF_CELL,
        Expect(
            "whole_or_range",
            "(first_block is null) = (last_block is null) and coalesce(first_block <= last_block, true)",
        ),
        Expect("some_examples", "n > 0"),
        MODEL_KNOWN,
        CONDITION_KNOWN,
    ),
)
