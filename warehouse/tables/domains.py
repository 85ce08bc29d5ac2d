from memlake.warehouse.schema import INT, TEXT, Column, Expect, Reference, Table

TABLE = Table(
    grain="One row is what one cell saw of one domain of a corpus; in SQL, `domains` adds them up to one row a domain.",
    columns=(
        Column("cell", TEXT, "the unit of work that read the documents"),
        Column("corpus", TEXT, "the text collection"),
        Column("domain", TEXT, "its named part"),
        Column("class", TEXT, "'structural' (code, maths, LaTeX, markup, logs) or 'free_text'"),
        Column("n_documents", INT, "documents seen; 0 where the cell keeps what others have seen"),
        Column("n_bytes", INT, "bytes of text seen"),
        Column("kept_documents", INT, "documents that the cell keeps in the lake"),
    ),
    key=("cell", "corpus", "domain"),
    expect=(
        Expect("class_known", "\"class\" in ('structural', 'free_text')"),
        Expect("counts_not_negative", "n_documents >= 0 and kept_documents >= 0"),
        Expect(  # over all cells: of a sample, one cell sees the documents and another keeps them
            "kept_of_seen",
            "kept_documents <= n_documents + (select coalesce(sum(d.n_documents - d.kept_documents), 0)"
            " from stored.domains d"
            " where d.corpus = rows.corpus and d.domain = rows.domain and d.cell <> rows.cell)",
        ),
        Expect("bytes_not_negative", "n_bytes >= 0"),
        Expect("corpus_of_the_cell", "corpus = getvariable('corpus')"),
        Expect(
            "one_class_a_domain",
            "not exists (from stored.domains d where d.corpus = rows.corpus and d.domain = rows.domain"
            ' and d."class" <> rows."class")',
        ),
        # What a cell keeps of documents that others have seen stands on what those saw of the domain
        Reference("kept_was_seen", ("corpus", "domain"), "domains", where="n_documents > 0", unless="n_documents > 0"),
    ),
)
