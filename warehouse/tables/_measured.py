"""What tables of measurements share: the columns that say what was measured, and what every row of them must meet."""

from __future__ import annotations

from memlake.warehouse.schema import INT, TEXT, Column, Expect, Reference

CELL = Column("cell", TEXT, "the unit of work that wrote the row")
SEQUENCE = Column("sequence_id", INT, "the sequence")
PLACE = (
    Column("model", TEXT, "the model"),
    Column("corpus", TEXT, "corpus of what was measured"),
    Column("domain", TEXT, "domain of what was measured"),
    Column("condition", TEXT, "dtype, attention kernel, noise, ...: see `conditions`"),
)
COLUMNS = (CELL, SEQUENCE, *PLACE)  # of a table of which a row is about one sequence under a model
TEXT_COLUMNS = (  # of a table of which a row is about one sequence, whatever the model
    CELL,
    SEQUENCE,
    Column("corpus", TEXT, "corpus of the sequence"),
    Column("domain", TEXT, "domain of the sequence"),
    Column("tokenizer", TEXT, "tokenizer of the sequence"),
)

OF_CELL = (
    Expect("cell_of_the_file", "cell = getvariable('cell')"),
    Expect("model_of_the_cell", "model = getvariable('model')"),
)
MODEL_KNOWN = Reference("model_known", ("model",), "models")
CONDITION_KNOWN = Reference("condition_known", ("condition",), "conditions")
TEXT_KNOWN = Reference(  # of a table with `TEXT_COLUMNS`
    "sequence_known",
    ("sequence_id", "corpus", "domain", "tokenizer"),
    "sequences",
    within=("corpus", "domain"),
)
CONDITION = Expect("condition_of_the_cell", "condition = getvariable('condition')")
N_LAYERS = "(select n_layers from stored.models where model = getvariable('model'))"


def scored(name: str = "scored_sequence", which: str = "", condition: str = "condition") -> Reference:
    """The sequence has a row in `matches` under the model and the condition (SQL over the row), one of which `which` is
    true."""
    return Reference(
        name,
        ("model", "sequence_id", condition),
        "matches",
        to=("model", "sequence_id", "condition"),
        where=which,
        within=("model", "corpus", "domain"),
    )


def per_layer(*names: str) -> tuple[Expect, ...]:
    """The lists have an entry after the embedding and one after each block."""
    return tuple(Expect(f"{name}_per_layer", f"len({name}) = 1 + {N_LAYERS}") for name in names)
