from ..table import BOOL, INT, LONGS, TEXT, Column, Expect, Table

TABLE = Table(
    grain="One row is one span of one sequence and one way of counting: how often the text occurs in a corpus.",
    columns=(
        Column("cell", TEXT, "the unit of work that wrote the row"),
        Column("sequence_id", INT, "the sequence"),
        Column("corpus", TEXT, "corpus of the sequence"),
        Column("domain", TEXT, "domain of the sequence"),
        Column("tokenizer", TEXT, "tokenizer of the sequence"),
        Column("counted_corpus", TEXT, "the corpus, or prebuilt index, in which was counted"),
        Column("counted_tokenizer", TEXT, "tokenizer under which was counted, or 'bytes'"),
        Column(
            "span",
            TEXT,
            "'unigrams', 'bigrams' (of the whole window, position by position), 'continuation', 'window' (prefix and"
            " continuation), or 'document': exact copies of the document the sequence was cut from",
        ),
        Column(
            "counts",
            LONGS,
            "occurrences: one entry a position for 'unigrams' and 'bigrams', one entry otherwise; a sequence that lies"
            " in the counted corpus counts itself",
        ),
        Column("tokens_scanned", INT, "tokens (or bytes) of the counted corpus that were read"),
        Column("complete", BOOL, "all of the counted corpus was read, and not a sample that was kept of it"),
    ),
    key=("sequence_id", "span", "counted_corpus", "counted_tokenizer", "complete"),
    partition=("counted_corpus",),
    sort=("counted_tokenizer", "span", "sequence_id"),
    expect=(
        Expect("span_known", "span in ('unigrams', 'bigrams', 'continuation', 'window', 'document')"),
        Expect("counted", "len(counts) > 0 and list_min(counts) >= 0"),
        Expect("one_count_of_a_whole", "span in ('unigrams', 'bigrams') or len(counts) = 1"),
        Expect("not_more_than_scanned", "list_max(counts) <= tokens_scanned"),
        Expect(
            "sequence_known",
            "(sequence_id, corpus, domain, tokenizer) in"
            " (select (sequence_id, corpus, domain, tokenizer) from stored.sequences)",
        ),
    ),
)
