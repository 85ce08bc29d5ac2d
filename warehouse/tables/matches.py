from memlake.warehouse.schema import (
    BOOL,
    BYTES,
    DOUBLE,
    FLOATS,
    INT,
    INTS,
    TEXT,
    Column,
    Expect,
    Measure,
    Reference,
    Table,
)

from ._measured import CONDITION_KNOWN, MODEL_KNOWN, OF_CELL

# Place of the first 0 bit, from 0. The bits after the last token are 0, so that a row that matches everywhere gives
# n_tokens; where n_tokens fills its last byte there is no such bit, and bit_position answers 0.
FIRST_ZERO = "coalesce(nullif(bit_position('0'::bit, {0}::bit), 0) - 1, n_tokens)"

TABLE = Table(
    grain="One row is one sequence under one model and one condition: which continuation tokens the model produced.",
    columns=(
        Column("cell", TEXT, "the unit of work that wrote the row"),
        Column("sequence_id", INT, "the sequence"),
        Column("anchor_id", INT, "its anchor: the same for all tokenizers", nullable=True),
        Column("model", TEXT, "the model"),
        Column("corpus", TEXT, "corpus of the sequence"),
        Column("domain", TEXT, "domain of the sequence"),
        Column("condition", TEXT, "dtype, attention kernel, noise, ...: see `conditions`"),
        Column("prefix_tokens", INT, "tokens of the prompt; NULL: not known (imported)", nullable=True),
        Column("n_tokens", INT, "tokens of the continuation"),
        Column(
            "match",
            BYTES,
            "greedy match vector, packed; position 0 is bit 0 of match::bit; NULL: not decoded",
            nullable=True,
        ),
        Column("n_match", INT, "matching tokens, greedy; NULL: not decoded", nullable=True),
        Column("score", DOUBLE, "n_match / n_tokens; NULL: not decoded", nullable=True),
        Column("forced_match", BYTES, "teacher-forced match vector, packed; NULL: not known (imported)", nullable=True),
        Column("forced_n_match", INT, "matching tokens, teacher-forced", nullable=True),
        Column("first_mismatch", INT, "first position not produced, from 0; n_tokens when none"),
        Column("memorized", BOOL, "every continuation token was produced"),
        Column("matched_bytes", INT, "bytes of the continuation before first_mismatch", nullable=True),
        Column("generated", INTS, "greedily generated tokens; NULL: not decoded", nullable=True),
        Column("logprobs", FLOATS, "natural log-probability of each continuation token, teacher-forced", nullable=True),
        Column("sum_logprob", DOUBLE, "their sum", nullable=True),
        Column(
            "log_p_z",
            DOUBLE,
            "log-probability of the continuation under the condition's top-k sampling; NULL: impossible",
            nullable=True,
        ),
        Column(
            "completion_entropy",
            DOUBLE,
            "predictive entropy summed over the continuation positions, nats",
            nullable=True,
        ),
        Column(
            "min_margin",
            DOUBLE,
            "smallest gap between the two best logits over positions 0 to first_mismatch",
            nullable=True,
        ),
    ),
    key=("model", "sequence_id", "condition"),
    partition=("model", "corpus", "domain"),
    sort=("sequence_id",),
    expect=(
        *OF_CELL,
        MODEL_KNOWN,
        CONDITION_KNOWN,
        Reference(
            "sequence_known",
            ("sequence_id", "corpus", "domain", "n_tokens"),
            "sequences",
            within=("corpus", "domain"),  # a lake holds the sequences of many
        ),
        Expect(
            "anchor_of_the_sequence",
            "anchor_id is null or (sequence_id, anchor_id) in (select (sequence_id, anchor_id) from stored.sequences"
            " where corpus = coalesce(getvariable('corpus'), corpus)"
            " and domain = coalesce(getvariable('domain'), domain)"
            " and sequence_id in (select sequence_id from rows where anchor_id is not null))",
        ),
        Expect("n_match_counts_bits", "match is null and n_match is null or n_match = bit_count(match::bit)"),
        Expect(
            "forced_n_match_counts_bits",
            "forced_match is null and forced_n_match is null or forced_n_match = bit_count(forced_match::bit)",
        ),
        Expect("match_is_packed", "match is null or octet_length(match) = (n_tokens + 7) // 8"),
        Expect("forced_match_is_packed", "forced_match is null or octet_length(forced_match) = (n_tokens + 7) // 8"),
        Expect("no_match_after_the_end", "match is null or bit_count(match::bit << n_tokens::int) = 0"),
        Expect(
            "no_forced_match_after_the_end", "forced_match is null or bit_count(forced_match::bit << n_tokens::int) = 0"
        ),
        Expect("some_match_vector", "match is not null or forced_match is not null"),
        Expect("first_mismatch_of_greedy", f"match is null or first_mismatch = {FIRST_ZERO.format('match')}"),
        Expect(
            "first_mismatch_of_forced",
            f"forced_match is null or first_mismatch = {FIRST_ZERO.format('forced_match')}",
        ),
        Expect("memorized_is_all_match", "memorized = (first_mismatch = n_tokens)"),
        Expect("score_is_share", "score is null and n_match is null or abs(score - n_match / n_tokens) < 1e-12"),
        Expect("matched_bytes_not_negative", "matched_bytes is null or matched_bytes >= 0"),
        Expect("no_match_no_bytes", "matched_bytes is null or first_mismatch > 0 or matched_bytes = 0"),
        Expect("generated_per_token", "generated is null or len(generated) = n_tokens"),
        Expect("logprobs_per_token", "logprobs is null or len(logprobs) = n_tokens"),
        Expect("logprobs_not_positive", "logprobs is null or list_max(logprobs) <= 0"),
        Expect(
            "sum_of_logprobs", "logprobs is null or abs(sum_logprob - list_sum(logprobs::double[])) <= 1e-4 * n_tokens"
        ),
        Expect("sum_logprob_not_positive", "sum_logprob is null or sum_logprob <= 0"),
        Expect("log_p_z_not_positive", "log_p_z is null or log_p_z <= 0"),
        Expect("margin_not_negative", "min_margin is null or min_margin >= 0"),
        Expect("entropy_not_negative", "completion_entropy is null or completion_entropy >= 0"),
        Measure("logprob_a_token", "coalesce(avg(sum_logprob / n_tokens), 0)", -40, 0),
    ),
)
