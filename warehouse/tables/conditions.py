from memlake.warehouse.schema import BOOL, DOUBLE, INT, TEXT, Column, Expect, Table

TABLE = Table(
    grain="One row is one condition: everything besides model and sequence that decides a row of `matches`.",
    columns=(
        Column("condition", TEXT, "its name, made from the settings"),
        Column("dtype", TEXT, "number format of weights and activations; NULL: not known (imported)", nullable=True),
        Column("attention", TEXT, "attention kernel: eager, sdpa, ...; NULL: not known (imported)", nullable=True),
        Column("noise", DOUBLE, "strength alpha: noise has standard deviation alpha x RMS"),
        Column("noise_seed", INT, "seed of the noise; NULL without noise", nullable=True),
        Column("noise_layer", INT, "entry of hidden_states it is added to; NULL without noise", nullable=True),
        Column("noise_scope", TEXT, "over what RMS is taken; NULL without noise", nullable=True),
        Column("bos", BOOL, "was the beginning-of-sequence token put first"),
        Column(
            "no_eos",
            BOOL,
            "was end-of-sequence forbidden in the continuation, as by generate's min_length; NULL: it was not",
            nullable=True,
            later=True,
        ),
        Column("top_k", INT, "k of the top-k sampling that log_p_z refers to", nullable=True),
        Column("temperature", DOUBLE, "temperature of the sampling that log_p_z refers to", nullable=True),
    ),
    key=("condition",),
    expect=(
        Expect("strength_not_negative", "noise >= 0"),
        Expect("noise_described", "(noise = 0) = (noise_seed is null and noise_layer is null and noise_scope is null)"),
    ),
)
