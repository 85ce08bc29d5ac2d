from memlake.warehouse.schema import BOOL, INT, TEXT, Column, Expect, Reference, Table

TABLE = Table(
    grain="One row is one model: one checkpoint, named `name` or `name@revision`.",
    columns=(
        Column("model", TEXT, "name in this lake"),
        Column("family", TEXT, "training line; of a checkpoint of one's own its name, unless --family says another"),
        Column("revision", TEXT, "revision that was loaded", nullable=True),
        Column("source", TEXT, "hub id or path; NULL where only its results were imported", nullable=True),
        Column(
            "weights_digest", TEXT, "sha256 over the weights; NULL where only its results were imported", nullable=True
        ),
        Column(
            "checkpoint_digest",
            TEXT,
            "sha256 over weights, config and architecture; NULL also where it was registered before configs were",
            nullable=True,
            later=True,
        ),
        Column(
            "config",
            TEXT,
            "JSON: what of its config.json may decide rows, and its special tokens; NULL: not recorded yet",
            nullable=True,
            later=True,
        ),
        Column(
            "architecture", TEXT, "what its config.json calls it (`model_type`): llama, ...", nullable=True, later=True
        ),
        Column("tokenizer", TEXT, "name of its tokenizer", nullable=True),
        Column("n_params", INT, "parameters counted in the checkpoint", nullable=True),
        Column("nominal_params", INT, "parameters as its name says", nullable=True),
        Column("n_layers", INT, "blocks", nullable=True),
        Column("n_heads", INT, "query heads a block", nullable=True),
        Column("n_kv_heads", INT, "key-value heads a block", nullable=True),
        Column("hidden_size", INT, "width of the residual stream", nullable=True),
        Column("vocab_size", INT, "rows of the unembedding", nullable=True),
        Column("base_condition", TEXT, "the condition that the view `matches` shows"),
        Column("miniature", BOOL, "trained here, tiny, on a small corpus"),
    ),
    key=("model",),
    expect=(
        Expect("digest_tagged", "weights_digest is null or weights_digest like 'sha256:%'"),
        Expect("checkpoint_digest_tagged", "checkpoint_digest is null or checkpoint_digest like 'sha256:%'"),
        Expect("checkpoint_or_import", "(source is null) = (weights_digest is null)"),
        Expect("shape_of_a_checkpoint", "source is null or (n_params > 0 and n_layers > 0 and vocab_size > 0)"),
        Expect("some_size", "n_params > 0 or nominal_params > 0"),
        Expect("heads_divide", "n_heads is null or n_heads % n_kv_heads = 0"),
        Reference("condition_known", ("base_condition",), "conditions", to=("condition",)),
    ),
)
