-- What models are asked about: domains, documents, and the sequences cut from them.

-- One row is one domain of a corpus; `class` is 'structural' or 'free_text', counts are over all that was read.
create or replace view domains as
    select corpus, domain, any_value("class") as "class", sum(n_documents)::bigint as n_documents,
        sum(n_bytes)::bigint as n_bytes, sum(kept_documents)::bigint as kept_documents
    from stored.domains
    group by corpus, domain;

-- One row is one sequence and the text it was cut from, which documents that are exact copies share: what intervals
-- count as independent. A sequence whose document is not known is a text of its own.
create or replace view sequence_texts as
    select sequence_id, corpus, domain, coalesce(text_hash, document_id, sequence_id) as text
    from stored.sequences
    left join (select document_id, corpus, domain, text_hash from stored.documents)
        using (document_id, corpus, domain);

-- with_text(measured): the rows of a table, view or CTE of that name, which has a sequence_id, and of each the text of
-- its sequence (see sequence_texts).
--     select model, text, count(*) as n, count(*) filter (memorized) as m from with_text(matches) group by all
create or replace macro with_text(measured) as table
    select m.*, coalesce(text, sequence_id) as text
    from query_table(measured) m
    left join (select sequence_id, text from sequence_texts) using (sequence_id);

-- One row is one token of one sequence. position: from 0 at the first token of the continuation, as in
-- `match_positions`, negative in the prefix; byte_end: byte of the document after the token.
create or replace view sequence_tokens as
    select sequence_id, anchor_id, document_id, corpus, domain, sample_rule, sample_window, tokenizer,
        unnest(range(-prefix_tokens, n_tokens)) as position,
        tokens[prefix_tokens + position + 1] as token,
        byte_ends[prefix_tokens + position + 1] as byte_end
    from sequences
    where len(tokens) > 0;
