from memlake.warehouse.schema import INT, TEXT, Column, Expect, Measure, Table

TABLE = Table(
    grain="One row is one document: a text of a corpus, with natural duplicates kept.",
    columns=(
        Column("cell", TEXT, "the unit of work that wrote the row"),
        Column("document_id", INT, "hash63(corpus, source, position): duplicates keep distinct ids"),
        Column("corpus", TEXT, "the text collection"),
        Column("domain", TEXT, "its named part"),
        Column("text", TEXT, "the text itself, valid UTF-8"),
        Column("text_hash", INT, "hash63(text): equal for exact duplicates"),
        Column("n_bytes", INT, "bytes of the text in UTF-8"),
        Column("source", TEXT, "file it came from, relative to the root that was read"),
        Column("position", INT, "place within the source, from 0"),
    ),
    key=("document_id",),
    partition=("corpus", "domain"),
    sort=("source", "position"),
    expect=(
        Expect("id_in_63_bits", "document_id >= 0"),
        Expect("n_bytes_of_text", "n_bytes = strlen(text)"),
        Expect("text_not_empty", "n_bytes > 0"),
        Expect("position_from_0", "position >= 0"),
        Expect("corpus_of_the_cell", "corpus = getvariable('corpus')"),
        # By DuckDB's own 64-bit hash of the text: the texts of a file may be more than memory holds.
        Expect("equal_text_equal_hash", "count(distinct text_hash) over (partition by hash(text)) = 1"),
        Measure("hashes_spread", "count(distinct text_hash) - count(distinct hash(text))", 0, 0),
    ),
)
