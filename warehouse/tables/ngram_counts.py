from memlake.warehouse.schema import BOOL, INT, LONGS, TEXT, Column, Expect, Table

from ._measured import TEXT_COLUMNS, TEXT_KNOWN

SAME = "(partition by sequence_id, counted_corpus, counted_tokenizer, complete)"


def other(span: str, value: str) -> str:
    """SQL of a value of the row of another span that belongs to this one; NULL where there is none."""
    return f"max(if(span = '{span}', {value}, null)) over {SAME}"


TOKENS = f"({other('unigrams', 'counts')})"

TABLE = Table(
    grain="One row is one span of one sequence and one way of counting: how often the text occurs in a corpus.",
    columns=(
        *TEXT_COLUMNS,
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
        Column(
            "complete",
            BOOL,
            "all that the lake knows of the counted corpus was read: every file to its end, and no kept sample of it",
        ),
    ),
    key=("sequence_id", "span", "counted_corpus", "counted_tokenizer", "complete"),
    partition=("counted_corpus",),
    sort=("counted_tokenizer", "span", "sequence_id"),
    expect=(
        Expect("span_known", "span in ('unigrams', 'bigrams', 'continuation', 'window', 'document')"),
        Expect("counted", "len(counts) > 0 and list_min(counts) >= 0"),
        Expect("one_count_of_a_whole", "span in ('unigrams', 'bigrams') or len(counts) = 1"),
        Expect("something_scanned", "tokens_scanned > 0"),
        Expect("not_more_than_scanned", "list_max(counts) <= tokens_scanned"),
        Expect(
            "counts_itself",
            "list_min(counts) > 0 or counted_corpus <> corpus or not complete"
            " or sequence_id in (select sequence_id from stored.sequences where document_id is null)",
        ),
        Expect(
            "window_not_more_than_continuation",
            f"span <> 'window' or counts[1] <= coalesce({other('continuation', 'counts[1]')}, counts[1])",
        ),
        Expect(
            "window_not_more_than_pairs",
            f"span <> 'window' or counts[1] <= coalesce({other('bigrams', 'list_min(counts)')}, counts[1])",
        ),
        Expect(
            "continuation_not_more_than_last_token",
            f"span <> 'continuation' or counts[1] <= coalesce({other('unigrams', 'counts[-1]')}, counts[1])",
        ),
        Expect(
            "pair_not_more_than_its_tokens",
            f"span <> 'bigrams' or coalesce(list_bool_and(list_transform("
            f"list_zip(counts, {TOKENS}, {TOKENS}[2:], true), lambda x: x[1] <= x[2] and x[1] <= x[3])), true)",
        ),
        TEXT_KNOWN,
    ),
)
