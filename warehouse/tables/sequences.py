from memlake.warehouse.schema import INT, INTS, TEXT, Column, Expect, Reference, Table

TABLE = Table(
    grain="One row is one window under one tokenizer: the tokens around an anchor, prefix and continuation.",
    columns=(
        Column("cell", TEXT, "the unit of work that wrote the row"),
        Column("sequence_id", INT, "hash63(anchor_id, tokenizer digest, prefix tokens, continuation tokens)"),
        Column("anchor_id", INT, "hash63(document_id, anchor): the same for all tokenizers", nullable=True),
        Column("document_id", INT, "the document it was cut from; NULL for imported rows", nullable=True),
        Column("corpus", TEXT, "corpus of the document"),
        Column("domain", TEXT, "domain of the document"),
        Column("tokenizer", TEXT, "name of the tokenizer"),
        Column("sample", TEXT, "the sample it belongs to: seed, document snapshot and rule"),
        Column("shard", INT, "rank in the sample at which its cell begins"),
        Column("rank", INT, "place in the sample's order by hash, from 0"),
        Column("anchor", INT, "byte of the document at which the continuation is asked to begin", nullable=True),
        Column("byte_start", INT, "byte of the document at which the prefix begins", nullable=True),
        Column(
            "byte_cut",
            INT,
            "byte at which the continuation begins: anchor, or where a token spans it, the token's start",
            nullable=True,
        ),
        Column("byte_end", INT, "byte after the continuation", nullable=True),
        Column("tokens", INTS, "token ids, prefix first; empty where an imported row brings none"),
        Column("byte_ends", INTS, "for each token the byte of the document after it", nullable=True),
        Column("prefix_tokens", INT, "tokens before the cut", nullable=True),
        Column("n_tokens", INT, "tokens of the continuation"),
        Column("external_id", TEXT, "the id of an imported row where it was made", nullable=True),
    ),
    key=("sequence_id",),
    partition=("corpus", "domain", "tokenizer"),
    sort=("rank",),
    expect=(
        Expect("id_in_63_bits", "sequence_id >= 0"),
        Expect(
            "token_count", "len(tokens) = prefix_tokens + n_tokens or (external_id is not null and len(tokens) = 0)"
        ),
        Expect("continuation_not_empty", "n_tokens > 0"),
        Expect("tokens_not_negative", "list_min(tokens) >= 0 or len(tokens) = 0"),
        Expect("byte_ends_match_tokens", "external_id is not null or len(byte_ends) = len(tokens)"),
        Expect("byte_ends_rise", "external_id is not null or list_sort(byte_ends) = byte_ends"),
        Expect("byte_end_is_last", "external_id is not null or byte_ends[-1] = byte_end"),
        Expect(
            "cut_is_a_token_boundary",
            "external_id is not null or byte_cut = if(prefix_tokens = 0, byte_start, byte_ends[prefix_tokens])",
        ),
        Expect("cut_at_or_before_anchor", "external_id is not null or byte_start <= byte_cut and byte_cut <= anchor"),
        Expect("document_or_import", "(document_id is not null) <> (external_id is not null)"),
        Reference(
            "document_known",
            ("document_id",),
            "documents",
            unless="external_id is not null",
            within=("corpus", "domain"),
        ),
        Reference("tokenizer_known", ("tokenizer",), "tokenizers", unless="external_id is not null"),
    ),
)
